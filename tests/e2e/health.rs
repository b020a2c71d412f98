//! Probes of every kind, and their effect.
use std::io::{Read, Write};
use std::net::SocketAddrV6;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use fiscalismia_lb::wire::client_hello::{Reader, Verdict};
use serde_json::{Value, json};

use crate::kit::PATIENCE;
use crate::kit::client::End;
use crate::kit::header;
use crate::kit::namespace::{add_ipv6, in_namespace};
use crate::kit::origin::{BlackHole, Expect, Origin, Visit, echo};
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

/// Without this, a probe of type `tls` passes on an alert, or asks for another name than the route's first exact one.
#[test]
fn tls() {
    let alert = Arc::new(AtomicBool::new(false));
    let origin = {
        let alert = alert.clone();
        Origin::serve(Expect::Nothing, move |mut visit| {
            if let Some(sni) = probe_hello(&mut visit) {
                assert_eq!(sni, "exact.test");
                let answer = if alert.load(Ordering::Relaxed) { ALERT } else { SERVER_HELLO };
                drop(visit.stream.write_all(answer));
                drop(visit.stream.read(&mut [0; 100]));
            }
        })
    };
    let proxy = start(json!(origin.address), json!({ "type": "tls", "timeout": "1m" }));
    assert_changes(&proxy, &alert);
}

/// Without this, a link-local server, or a link-local `source`, is not reached: its address needs its zone.
#[test]
fn a_server_in_a_zone() {
    in_namespace(concat!(module_path!(), "::a_server_in_a_zone"), || {
        add_ipv6(&["fe80::1", "fe80::2"]);
        let zone = |port| SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, 1).into();
        let origin = Origin::serve_at(zone(free_address().port()), Expect::Header, echo("a"));
        for server in [json!({}), json!({ "source": "fe80::2" })] {
            let before = origin.probes();
            let proxy = start(origin.server_with(server), json!({ "type": "tcp" }));
            wait_until("a probe", || origin.probes() > before);
            assert_eq!(proxy.connect().hello("exact.test").greeting(), "a");
        }
    });
}

/// Without this, a server that accepts and stays silent passes for up.
#[test]
fn tls_without_an_answer() {
    let origin = Origin::serve(Expect::Nothing, |mut visit| {
        drop(probe_hello(&mut visit));
        drop(visit.stream.read(&mut [0; 100]));
    });
    let proxy = start(json!(origin.address), json!({ "type": "tls", "timeout": "100ms" }));
    proxy.wait_for_notice("Server r/s is DOWN");
}

/// Without this, a probe of type `http` passes on a status outside `expect`.
#[test]
fn http_by_its_status() {
    let status = Arc::new(AtomicU16::new(200));
    let (origin, requests) = http(&status);
    let check = json!({ "type": "http", "path": "/healthz?deep=1", "expect": [200, 204] });
    let proxy = start(json!(origin.address), check);
    for bad in [500, 205, 199] {
        let start = proxy.lines.len();
        status.store(bad, Ordering::Relaxed);
        wait_for(&proxy, start, "Server r/s is DOWN");
        status.store(204, Ordering::Relaxed);
        wait_for(&proxy, start, "Server r/s is UP");
    }
    let request = requests.recv_timeout(PATIENCE).unwrap();
    let mut lines = request.split("\r\n");
    assert!(lines.next().is_some_and(|line| line.starts_with("GET /healthz?deep=1 HTTP/1.")), "{request}");
    assert!(lines.any(|line| line.eq_ignore_ascii_case("host: exact.test")), "{request}");
}

/// Without this, a server goes down before `fall` failures in a row, or comes up before `rise` passes in a row.
#[test]
fn rise_and_fall() {
    let plan = "+ -- ++ - + --- + - + - ++ +";
    let results: Vec<bool> = plan.chars().filter(|c| *c != ' ').map(|c| c == '+').collect();
    let wanted = "+ -- ++ - + --D + - + - +U +";
    let (sender, answers) = std::sync::mpsc::channel::<usize>();
    let count = AtomicU16::new(0);
    let origin = Origin::serve(Expect::Header, |_| ());
    let port = Origin::serve(Expect::Nothing, move |mut visit| {
        header::read(&mut visit.stream).unwrap();
        let n = usize::from(count.fetch_add(1, Ordering::Relaxed));
        let passes = results.get(n).copied().unwrap_or(true);
        let status = if passes { 200 } else { 503 };
        answer(&mut visit, status);
        sender.send(n).unwrap();
    });
    let check = json!({ "type": "http", "fall": 3, "rise": 2, "interval": "50ms", "timeout": "1m", "port": port.address.port() });
    let server = json!({ "address": origin.address, "name": "s" });
    let proxy = start(server, check);
    let last = wanted.chars().filter(|c| *c != ' ').count();
    while answers.recv_timeout(PATIENCE).unwrap() != last {}
    proxy.wait_for_notice("Server r/s is UP");
    let changes: Vec<String> = proxy.other_lines().into_iter().filter(|line| line.contains("Server r/s is")).collect();
    assert_eq!(changes.len(), 2, "{changes:#?}");
    assert!(changes[0].contains("DOWN") && changes[1].contains("UP"), "{changes:#?}");
}

/// Without this, a server that was dead from the start gets clients until `fall` probes have failed.
#[test]
fn the_first_failure_counts_alone() {
    let hole = BlackHole::new();
    let proxy = start(json!(hole.address), json!({ "type": "tcp", "interval": "60s", "timeout": "100ms", "fall": 10 }));
    proxy.wait_for_notice("Server r/s is DOWN");
}

/// Without this, a server with `health_check.type` "off" is probed, or does not count as up.
#[test]
fn off() {
    let origin = Origin::echo("a");
    let proxy = start(json!(origin.address), json!({ "type": "off" }));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(origin.seen().len(), 0);
    assert_eq!(proxy.connect().hello("exact.test").greeting(), "a");
}

/// Without this, the log lacks HAProxy's words for a failed check, which operators search for.
#[test]
fn the_log_says_why() {
    let proxy = start(json!(crate::kit::places::free_address()), json!({}));
    let line = proxy.wait_for_notice("Server r/s is DOWN");
    let (before, after) = line.split_once("check duration: ").unwrap();
    assert!(
        before.ends_with("Server r/s is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", "),
        "{line}"
    );
    let (duration, after) = after.split_once("ms. ").unwrap();
    assert!(duration.parse::<u32>().is_ok(), "{line}");
    assert!(after.starts_with("0 active and 0 backup servers left. It was up for "), "{line}");
}

/// Without this, the log does not say which servers are backups, or that a route runs on them.
#[test]
fn the_log_tells_of_backups() {
    let mut backup = Origin::echo("b");
    let entry = backup.server_with(json!({ "name": "b", "backup": true }));
    let server = json!({ "name": "s", "address": crate::kit::places::free_address() });
    let proxy = Proxy::start(json!({
        "routes": { "r": { "sni": ["exact.test"], "servers": [server, entry] } },
        "health_check": { "interval": "200ms" }
    }));
    let first = proxy.wait_for_notice("Server r/s is DOWN");
    backup.stop_listening();
    let second = proxy.wait_for_notice("Backup Server r/b is DOWN");
    let (stood_in, none) =
        ("0 active and 1 backup servers left. Running on backup.", "0 active and 0 backup servers left.");
    assert!(first.contains(stood_in) && second.contains(none), "{first}\n{second}");
    proxy.wait_for_notice("backend r has no server available!");
}

const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x06\x02\x00\x00\x02\x03\x03";
const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";

fn assert_changes(proxy: &Proxy, fails: &AtomicBool) {
    wait_until("a probe passes", || proxy.connect().hello("exact.test").end() != End::Silence);
    fails.store(true, Ordering::Relaxed);
    proxy.wait_for_notice("Server r/s is DOWN");
    let start = proxy.lines.len();
    fails.store(false, Ordering::Relaxed);
    wait_for(proxy, start, "Server r/s is UP");
}

fn wait_for(proxy: &Proxy, start: usize, words: &str) {
    proxy.lines.wait(start, |_, line| line.contains(words).then_some(()));
}

/// Reads header and hello; `None` for the connection of a client. Answers the name that the probe asks for.
fn probe_hello(visit: &mut Visit) -> Option<String> {
    let header = header::read(&mut visit.stream).unwrap();
    let (mut reader, mut bytes) = (Reader::default(), Vec::new());
    while header.source.is_none() {
        let mut more = [0; 2048];
        let n = visit.stream.read(&mut more).unwrap();
        assert!(n > 0, "the probe ended within its hello");
        bytes.extend_from_slice(&more[..n]);
        match reader.read(&bytes) {
            Verdict::Incomplete => {}
            Verdict::Hello(hello) => return hello.sni.map(|sni| String::from_utf8(sni.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    None
}

fn http(status: &Arc<AtomicU16>) -> (Origin, std::sync::mpsc::Receiver<String>) {
    let (sender, requests) = std::sync::mpsc::channel();
    let status = status.clone();
    let origin = Origin::serve(Expect::Nothing, move |mut visit| {
        assert!(header::read(&mut visit.stream).unwrap().source.is_none());
        let request = answer(&mut visit, status.load(Ordering::Relaxed));
        drop(sender.send(request));
    });
    (origin, requests)
}

/// Reads a request and answers with `status`, in pieces.
fn answer(visit: &mut Visit, status: u16) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        visit.stream.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    for piece in ["HTT", "P/1.1 ", &status.to_string(), " Whatever\r\n", "Content-Length: 0\r\n\r\n"] {
        // The probe may have seen enough.
        drop(visit.stream.write_all(piece.as_bytes()));
    }
    String::from_utf8(request).unwrap()
}

fn start(server: Value, mut check: Value) -> Proxy {
    let server = if server.is_object() { server } else { json!({ "address": server, "name": "s" }) };
    if check["interval"].is_null() {
        check["interval"] = json!("100ms");
    }
    Proxy::start(json!({
        "routes": { "r": { "sni": ["*.exact.test", "exact.test"], "servers": [server], "health_check": check } },
        "reject": "close"
    }))
}
