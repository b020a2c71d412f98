//! The `global` section: the process, and so mostly systemd's part.
use super::lex::Line;
use super::output::Output;
use super::report::Report;
use super::values::{duration, time};

/// Settings that belong to the unit, the sandbox or the kernel here, or to TLS and HTTP, which are not touched.
const NOTHING: &[&str] = &[
    "user",
    "group",
    "uid",
    "gid",
    "chroot",
    "daemon",
    "pidfile",
    "nbproc",
    "nbthread",
    "cpu-map",
    "numa-cpu-mapping",
    "master-worker",
    "mworker-max-reloads",
    "quiet",
    "ulimit-n",
    "node",
    "description",
    "localpeer",
    "ca-base",
    "crt-base",
    "maxsslconn",
    "maxsslrate",
    "set-dumpable",
    "spread-checks",
    "stats-file",
    "log-send-hostname",
    "log-tag",
    "presetenv",
    "setenv",
    "unsetenv",
    "resetenv",
    "unix-bind",
    "maxpipes",
    "noepoll",
    "nosplice",
    "nogetaddrinfo",
    "noreuseport",
    "insecure-fork-wanted",
    "insecure-setuid-wanted",
    "default-path",
    "strict-limits",
    "busy-polling",
    "harden.reject-privileged-ports.tcp",
    "cluster-secret",
    "expose-experimental-directives",
    "issuers-chain-path",
    "server-state-base",
    "server-state-file",
    "grace",
    "fd-hard-limit",
    "thread-groups",
    "no-quic",
    "zero-warning",
    "h1-case-adjust",
    "h1-case-adjust-file",
    "close-spread-time",
    "limited-quic",
    "maxcomprate",
    "maxcompcpuusage",
    "maxzlibmem",
    "51degrees-data-file",
    "external-check",
    "wurfl-data-file",
    "profiling.tasks",
    "no",
    "set-var",
    "set-var-fmt",
    "maxsessrate",
    "dns-accept-family",
    "warn-blocked-traffic-after",
];

/// Where the commands look for the socket, and where the unit has a folder for it.
const CONTROL_SOCKET: &str = "/run/fiscalismia-lb/control.sock";

pub(super) fn global(lines: &[Line], output: &mut Output, report: &mut Report) {
    for line in lines {
        let what = line.words.join(" ");
        match line.word(0) {
            "maxconn" => output.limits.connections = line.word(1).parse().ok().filter(|most| *most != 4096),
            "hard-stop-after" => {
                output.timeouts.drain = time(line.word(1)).map(duration).filter(|drain| drain != "30s");
            }
            "log" => report.note(line.number, &what, "the log goes to standard output, so to the journal"),
            "stats" if line.word(1) == "socket" => {
                output.control.socket = Some(CONTROL_SOCKET);
                let why = "fiscalismia-lb server, drain, connections and top speak to the control socket; it does not know \
                           HAProxy's commands";
                report.note(line.number, &what, why);
            }
            "stats" => {}
            "maxconnrate" => report.lost(line.number, &what, "clients are limited one by one: limits.per_source"),
            word if word.starts_with("lua-") => report.lost(line.number, &what, "no scripts are run"),
            word if NOTHING.contains(&word) => {}
            word if [
                "ssl-",
                "tune.",
                "prealloc",
                "no-memory",
                "profiling",
                "httpclient",
                "quic",
                "harden",
                "shm-",
                "51deg",
                "deviceatlas",
                "wurfl",
            ]
            .iter()
            .any(|start| word.starts_with(start)) => {}
            _ => report.lost(line.number, &what, "there is nothing like it"),
        }
    }
}
