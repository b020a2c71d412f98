//! The metrics that HAProxy does not have: each exists, and moves when it should.
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::http::{get, json, start};
use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::origin::{BlackHole, Expect, Origin};
use crate::kit::places::{Folder, free_address};
use crate::kit::program::program;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;
use crate::prometheus::Exposition;

/// Without this, the gauges do not tell in which phase connections are.
#[test]
fn connections_stand_in_their_phase() {
    let (origin, hole) = (Origin::echo("here"), BlackHole::new());
    let one = origin.server_with(json!({ "max_connections": 1 }));
    let (proxy, admin) = start(json!({
        "health_check": { "type": "off" },
        "timeouts": { "client_hello": "1m", "connect": "1m" },
        "routes": {
            "echo": { "sni": ["echo.test"], "servers": [one] },
            "hole": { "sni": ["hole.test"], "servers": [hole.address] } } }));
    let phase = |name: &str| value(admin, &format!("connections{{phase=\"{name}\"}}"));
    let phases = || ["hello", "queue", "connect", "relay"].map(phase);
    assert_eq!(phases(), [0, 0, 0, 0]);
    let silent = proxy.connect();
    let mut relayed = greeted(&proxy, "echo.test");
    let mut queued = proxy.connect();
    queued.hello("echo.test");
    let mut connecting = proxy.connect();
    connecting.hello("hole.test");
    wait_until("each has come to its phase", || phases() == [1, 1, 1, 1]);
    assert_eq!(value(admin, "half_closed_connections"), 0);
    relayed.finish();
    // Who waits in the queue is served next.
    assert_eq!(queued.greeting(), "here");
    // A FIN alone would let it wait on: what it said may still be answered.
    connecting.reset();
    drop((silent, queued, relayed));
    wait_until("all have gone", || phases() == [0, 0, 0, 0]);
}

/// Without this, a connection with one silent side looks like any other.
#[test]
fn half_closed_connections_are_counted() {
    let origin = Origin::serve(Expect::Header, crate::kit::origin::hold());
    let (proxy, admin) = start(routed(&origin));
    let mut client = proxy.connect();
    client.hello("a.test").finish();
    wait_until("a side has ended", || value(admin, "half_closed_connections") == 1);
    client.reset();
    wait_until("it has gone", || value(admin, "half_closed_connections") == 0);
}

/// Without this, nothing tells that clients wait in the backlog while accepting pauses.
#[test]
fn pauses_of_accepting_are_counted() {
    let origin = Origin::echo("here");
    let mut config = routed(&origin);
    config["limits"] = json!({ "connections": 1 });
    let (proxy, admin) = start(config);
    assert_eq!(value(admin, "accept_pauses_total"), 0);
    let mut first = greeted(&proxy, "a.test");
    let mut second = proxy.connect();
    second.hello("a.test");
    wait_until("the second has to wait", || value(admin, "accept_pauses_total") == 1);
    first.finish();
    assert_eq!(second.greeting(), "here");
}

/// Without this, nothing tells that probes or the loop are stuck, or how many sources are tracked.
#[test]
fn probes_turns_and_sources_move() {
    let origin = Origin::echo("here");
    let mut config = routed(&origin);
    config["health_check"] = json!({ "interval": "250ms" });
    config["limits"] = json!({ "per_source": { "rate": 10 } });
    let (proxy, admin) = start(config);
    let probed = || metrics(admin).value("fiscalismia_lb_last_probe_timestamp_seconds");
    wait_until("a probe has finished", || !probed().is_nan());
    let first = probed();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - first).abs() < 60.0, "{first} is no time of now");
    wait_until("another has", || probed() > first);
    let interval = metrics(admin).value("fiscalismia_lb_probe_interval_seconds");
    assert_eq!(interval.to_string(), "0.25");
    let turns = value(admin, "turn_duration_seconds_count");
    assert_eq!(value(admin, "rate_limit_sources"), 0);
    greeted(&proxy, "a.test").finish();
    assert_eq!(value(admin, "rate_limit_sources"), 1);
    assert!(value(admin, "turn_duration_seconds_count") > turns);
}

/// Without this, a busy thread, a leak or a full table of connections goes unseen.
#[test]
fn what_the_process_takes_is_told() {
    let origin = Origin::echo("here");
    let (proxy, admin) = start(routed(&origin));
    let before = metrics(admin);
    let fds = before.value("process_open_fds");
    if !fds.is_nan() {
        assert!((fds - proxy.open_fds() as f64).abs() < 3.0, "{fds}");
        let held: Vec<Client> = (0..20).map(|_| greeted(&proxy, "a.test")).collect();
        assert!(metrics(admin).value("process_open_fds") >= fds + 30.0);
        drop(held);
    }
    assert!(before.value("process_max_fds") >= 20.0);
    let resident = before.value("process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&resident), "{resident}");
    let busy = proxy.cpu_time().as_secs_f64();
    assert!(metrics(admin).value("process_cpu_seconds_total") >= busy - 0.01);
    let conntrack = |what: &str| std::fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{what}"));
    assert_eq!(before.value("fiscalismia_lb_conntrack_max").is_nan(), conntrack("max").is_err());
    assert_eq!(before.value("fiscalismia_lb_conntrack_entries").is_nan(), conntrack("count").is_err());
}

/// Without this, an alert on lines that are lost never fires.
#[test]
fn lost_lines_are_counted() {
    let (origin, admin) = (Origin::echo("here"), free_address());
    let mut config = routed(&origin);
    config["admin"] = json!({ "listen": [admin] });
    let mut proxy = Proxy::launch(config, Launch { deaf: true, ..Launch::default() });
    // A pipe whose reader has gone takes none.
    drop(proxy.unread.take());
    let mut client = greeted(&proxy, "a.test");
    client.finish();
    assert_eq!(client.end(), End::Fin);
    wait_until("its three lines are lost", || value(admin, "log_lines_lost_total") >= 3);
    let metrics = metrics(admin);
    let lost = metrics.value("fiscalismia_lb_log_lines_lost_total").to_string();
    assert_eq!(metrics.value("haproxy_process_dropped_logs_total").to_string(), lost);
}

/// Without this, a server that takes the PROXY header for a broken request looks healthy: its probes pass.
#[test]
fn answers_that_are_no_tls_are_told_and_counted() {
    // Enough to be spliced.
    let plain = Origin::serve(Expect::Header, |mut visit| {
        let _ = visit.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = visit.stream.write_all(&vec![b'x'; 4 << 20]);
    });
    let tls = Origin::serve(Expect::Header, |mut visit| {
        let _ = visit.stream.write_all(b"\x16\x03\x03\x00\x02ok");
        let _ = visit.stream.read(&mut [0; 1]);
    });
    let ssh = free_address();
    let (proxy, admin) = start(json!({ "routes": {
        "plain": { "sni": ["plain.test"], "servers": [plain.server_with(json!({ "name": "s" }))] },
        "tls": { "sni": ["tls.test"], "servers": [tls.server_with(json!({ "name": "s" }))] },
        "ssh": { "listen": [ssh], "servers": [plain.server_with(json!({ "name": "s" }))] }
    } }));
    for _ in 0..3 {
        assert!(proxy.connect().hello("plain.test").rest().0.starts_with(b"HTTP/1.1 400"));
    }
    let mut client = proxy.connect();
    client.hello("tls.test").expect(b"\x16\x03\x03\x00\x02ok");
    assert!(Client::connect(ssh).rest().0.starts_with(b"HTTP/1.1 400"));
    for (route, count) in [("plain", 3), ("tls", 0), ("ssh", 0)] {
        assert_eq!(value(admin, &format!("server_not_tls_total{{proxy=\"{route}\",server=\"s\"}}")), count, "{route}");
    }
    let no_tls = |line: &String| line.contains("answers a hello with bytes that are not TLS");
    wait_until("the server's line is there", || proxy.lines.of(From::Stdout).iter().any(no_tls));
    let told = proxy.lines.of(From::Stdout).into_iter().filter(no_tls).collect::<Vec<_>>();
    assert!(
        told.len() == 1 && told[0].contains("Server plain/s answers") && told[0].contains("(the first is H)"),
        "{told:?}"
    );
    assert_eq!(json(admin)["routes"][0]["servers"][0]["not_tls"], 3);
    let page = get(admin, "/stats").body;
    assert!(page.contains("3 answers are not TLS") && page.contains("plain/s</a> answers hellos"), "{page}");
}

/// Without this, an operator does not see that another operator has drained a server.
#[test]
fn what_an_operator_has_set_is_shown() {
    let (origin, folder) = (Origin::echo("here"), Folder::new());
    let socket = folder.path().join("control.sock");
    let servers =
        json!([{ "name": "s", "address": origin.address, "weight": 2 }, { "name": "t", "address": origin.address }]);
    let (_proxy, admin) = start(json!({
        "control": { "socket": socket }, "routes": { "a": { "sni": ["a.test"], "servers": servers } }
    }));
    let order = |state: &[&str]| {
        let mut command = Command::new(program());
        let status = command.args(["server", "a/s"]).args(state).arg("--socket").arg(&socket).status();
        assert!(status.unwrap().success());
    };
    assert!(json(admin)["routes"][0]["servers"][0]["set"].is_null());
    order(&["drain", "--until", "30m"]);
    let page = get(admin, "/stats").body;
    let uid = rustix::process::getuid().as_raw();
    let (before, after) = page.split_once("the file says weight 2; drained since ").unwrap();
    assert!(after.contains(&format!(" by uid {uid}, until ")) && before.contains("UP 1/2"), "{after}");
    assert!(page.contains("1 of 2 servers up, 1 drained"));
    let server = &json(admin)["routes"][0]["servers"][0];
    let set = &server["set"];
    assert_eq!([&set["mode"], &set["by_uid"], &set["weight"]], [&json!("drain"), &json!(uid), &json!(null)]);
    assert!(set["until"].as_f64().unwrap() - set["since"].as_f64().unwrap() >= 1799.0, "{set}");
    order(&["ready"]);
    order(&["weight", "7"]);
    assert!(get(admin, "/stats").body.contains("the file says weight 2; weight set since "));
}

fn routed(origin: &Origin) -> Value {
    json!({ "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } } })
}

fn greeted(proxy: &Proxy, name: &str) -> Client {
    let mut client = proxy.connect();
    client.hello(name);
    assert_eq!(client.greeting(), "here");
    client.expect(&hello(name));
    client
}

fn metrics(admin: SocketAddr) -> Exposition {
    Exposition::parse(&get(admin, "/metrics").body)
}

/// A whole number under one of our own names.
fn value(admin: SocketAddr, name: &str) -> u64 {
    metrics(admin).value(&format!("fiscalismia_lb_{name}")) as u64
}
