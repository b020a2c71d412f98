//! Runs tests that need several hosts as root of a new network namespace.
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::places::Folder;
use super::wait_until;

const MARK: &str = "LB_E2E_NAMESPACE";
/// The folder with a file for each host, which holds its network namespace. `ip netns` would have them below /run,
/// which a build's sandbox does not have.
const HOSTS: &str = "LB_E2E_HOSTS";
/// Runs a program on the host `lb`, for [`super::proxy::Launch::within`].
pub(crate) const ON_LB: &str = "nsenter --net=\"$LB_E2E_HOSTS/lb\"";
/// Words of shell: `new HOST`, and `at HOST PROGRAM...`.
const WORDS: &str = r#"
    new() { touch "$LB_E2E_HOSTS/$1"; unshare --net="$LB_E2E_HOSTS/$1" ip link set dev lo up; }
    at() { host=$1; shift; nsenter --net="$LB_E2E_HOSTS/$host" "$@"; }
"#;

/// Runs `body` in a namespace with a loopback device of its own, by starting this test program again for the one test
/// `name`, which is `concat!(module_path!(), "::function")`.
pub(crate) fn in_namespace(name: &str, body: impl FnOnce()) {
    let (_, name) = name.split_once("::").unwrap();
    if std::env::var(MARK).is_ok_and(|mark| mark == name) {
        return body();
    }
    if !run_quietly("unshare", &["--user", "--map-root-user", "--net", "--mount", "ip", "link", "set", "lo", "up"]) {
        return skip(name, "this user may not make network namespaces");
    }
    let hosts = Folder::new();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs none \"$LB_E2E_HOSTS\" && ip link set dev lo up && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .env(HOSTS, hosts.path())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in a namespace of its own:\n{text}");
    assert!(text.contains("1 passed"), "there is no test {name}:\n{text}");
}

/// Says loudly that a test was left out; fails it where `REQUIRE_PEERS=1` says that nothing may be missing.
pub(crate) fn skip(what: &str, why: &str) {
    assert!(std::env::var("REQUIRE_PEERS").as_deref() != Ok("1"), "{what} must run, but {why}");
    tell_skipped(what, why);
}

/// Says loudly that a test was left out which a whole run may be without: what it needs is this machine's, and no
/// program's.
pub(crate) fn tell_skipped(what: &str, why: &str) {
    // Not eprintln: the test harness would keep that to itself.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "\n!!! SKIPPED {what}: {why}\n").unwrap();
}

/// Does `work` on a host: a socket belongs to the namespace where it was made.
pub(crate) fn inside<T: Send>(host: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(Path::new(&std::env::var_os(HOSTS).unwrap()).join(host)).unwrap();
    let there = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(there).join().unwrap())
}

/// Runs lines of shell that must work.
pub(crate) fn sh(script: &str) {
    let output = Command::new("sh").args(["-e", "-c", &format!("{WORDS}{script}")]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// This namespace and `lb`, with `router` between them.
pub(crate) fn two_networks() {
    sh("
        new router; new lb
        ip link add c type veth peer name r0 netns $LB_E2E_HOSTS/router
        at router ip link add r1 type veth peer name b netns $LB_E2E_HOSTS/lb
        ip addr add 198.51.100.2/24 dev c; ip addr add 2001:db8:1::2/64 dev c nodad
        at router ip addr add 198.51.100.1/24 dev r0; at router ip addr add 2001:db8:1::1/64 dev r0 nodad
        at router ip addr add 203.0.113.1/24 dev r1; at router ip addr add 2001:db8:2::1/64 dev r1 nodad
        at lb ip addr add 203.0.113.2/24 dev b; at lb ip addr add 2001:db8:2::2/64 dev b nodad
        ip link set dev c up; at router ip link set dev r0 up; at router ip link set dev r1 up; at lb ip link set dev b up
        for forwards in ipv4/ip_forward ipv6/conf/all/forwarding; do
            at router sh -c 'echo 1 >/proc/sys/net/$0' $forwards
        done
        ip route add default via 198.51.100.1; ip -6 route add default via 2001:db8:1::1
        at lb ip route add default via 203.0.113.1; at lb ip -6 route add default via 2001:db8:2::1
    ");
}

/// Gives the namespace IPv6 addresses. The kernel adds the routes by which they are its own a moment later, in a work
/// queue.
pub(crate) fn add_ipv6(addresses: &[&str]) {
    for address in addresses {
        sh(&format!("ip -6 addr add {address}/128 dev lo nodad"));
        wait_until("the address is the namespace's own", || {
            let output = Command::new("ip").args(["-6", "route", "get", address]).output().unwrap();
            output.stdout.starts_with(b"local ")
        });
    }
}

fn run_quietly(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
