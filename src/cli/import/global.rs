//! The `global` section: settings of the process, most of which are systemd's here.
use super::lex::Line;
use super::output::Output;
use super::report::{NO_EQUIVALENT, Report};
use super::values::{duration, time};

/// Settings that belong to the unit, the sandbox or the kernel here, or to TLS and HTTP, which pass through.
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

/// The default path of the commands' `--socket`; the unit has this folder.
const CONTROL_SOCKET: &str = "/run/fiscalismia-lb/control.sock";

pub(super) fn global(lines: &[Line], output: &mut Output, report: &mut Report) {
    for line in lines {
        match line.word(0) {
            "maxconn" => output.limits.connections = line.word(1).parse().ok().filter(|most| *most != 4096),
            "hard-stop-after" => {
                output.timeouts.drain = time(line.word(1)).map(duration).filter(|drain| drain != "30s");
            }
            "log" => report.note_line(line, "the log goes to standard output, which the journal collects"),
            "stats" if line.word(1) == "socket" => {
                output.control.socket = Some(CONTROL_SOCKET);
                let why = "the control socket serves fiscalismia-lb server, drain, diff, connections and top; it does not know \
                           HAProxy's commands";
                report.note_line(line, why);
            }
            "stats" => {}
            "maxconnrate" => {
                report.lost_line(line, "a rate is limited for each client only: limits.per_source");
            }
            word if word.starts_with("lua-") => report.lost_line(line, "scripts are not supported"),
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
            _ => report.lost_line(line, NO_EQUIVALENT),
        }
    }
}
