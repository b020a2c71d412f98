//! Connection lines: their grammar, and a termination state for every kind of end.
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::origin::{BlackHole, Expect, Origin, hold};
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::{sockets, wait_until};

/// Without this, a field of the three lines of a connection is wrong, or counts another open connection wrongly.
#[test]
fn accept_connect_close() {
    let origin = Origin::echo("greeting");
    let proxy = start(&origin, json!({}));
    let mut other = proxy.connect();
    assert_eq!(other.hello("a.test").greeting(), "greeting");
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "greeting");
    client.expect(&hello("a.test")).send(b"12345").expect(b"12345").finish();
    assert_eq!(client.end(), End::Fin);
    proxy.close_of(client.address);
    let entries: Vec<Entry> = proxy.entries().into_iter().filter(|e| e.client == client.address).collect();
    let [accept, connect, close] = &entries[..] else { panic!("{entries:#?}") };
    assert_eq!((accept.step.as_str(), accept.place.as_str()), ("ACCEPT", ""));
    assert_eq!((accept.field("ac"), accept.field("fc")), ("2", "2"));
    let sent_down = "greeting\n".len() + hello("a.test").len() + 5;
    for (entry, step, bytes) in [(connect, "CONNECT", 0), (close, "CLOSE", sent_down)] {
        assert_eq!((entry.step.as_str(), entry.place.as_str()), (step, "a/s"));
        assert_eq!(entry.field("B"), bytes.to_string());
        assert_eq!(["ts", "Tw", "sq", "bq"].map(|name| entry.field(name)), ["--", "0", "0", "0"]);
        assert_eq!(["ac", "fc", "bc", "sc"].map(|name| entry.field(name)), ["2"; 4]);
        assert_eq!(entry.field("sni"), "\"a.test\"");
        assert!((0..10_000).contains(&entry.number("Tc")));
        assert!(entry.number("Tt") >= entry.number("Tc"));
    }
    assert_eq!(close.field("drop"), "-");
}

/// Without this, `log.connections` "close" writes other lines too, or none.
#[test]
fn only_close_lines() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({ "log": { "connections": "close" } }));
    let client = one_connection(&proxy);
    proxy.close_of(client);
    assert!(proxy.entries().iter().all(|entry| entry.step == "CLOSE"), "{:?}", proxy.lines);
}

/// Without this, `log.connections` "off" writes lines for connections.
#[test]
fn no_connection_lines() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({ "log": { "connections": "off" } }));
    one_connection(&proxy);
    proxy.signal(rustix::process::Signal::TERM);
    let (_, lines) = proxy.wait_for_exit();
    assert!(!lines.of(From::Stdout).iter().any(|line| Entry::parse(line).is_some()), "{lines:?}");
}

/// Without this, `log.empty` false still logs port scanners and checks, or hides refused clients.
#[test]
fn no_lines_of_clients_that_say_nothing() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({ "log": { "empty": false }, "reject": "close" }));
    let silent = ended(&proxy, |client| _ = client.finish().end());
    let unknown = ended(&proxy, |client| _ = client.hello("b.test").end());
    assert_eq!(proxy.close_of(unknown).field("sni"), "\"b.test\"");
    let entries = proxy.entries();
    assert!(entries.iter().all(|entry| entry.client != silent), "{entries:#?}");
    assert!(entries.iter().any(|entry| (entry.client, &*entry.step) == (unknown, "ACCEPT")), "{entries:#?}");
}

/// Without this, refused clients have another state than `PR`, which operators search for.
#[test]
fn pr_for_what_is_refused() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({ "timeouts": { "client_hello": "200ms" }, "reject": "close" }));
    let unknown = ended(&proxy, |client| _ = client.hello("b.test").end());
    let not_tls = ended(&proxy, |client| _ = client.send(b"GET / HTTP/1.1\r\n\r\n").end());
    let too_late = ended(&proxy, |client| _ = client.send(&hello("a.test")[..50]).end());
    let left_early = ended(&proxy, |client| _ = client.send(&hello("a.test")[..50]).finish().end());
    for (client, sni) in [(unknown, "\"b.test\""), (not_tls, "\"-\""), (too_late, "\"-\""), (left_early, "\"-\"")] {
        let close = proxy.close_of(client);
        assert_eq!((close.field("sni"), close.field("reason")), (sni, "dropped"));
        assert_eq!((close.ts(), close.field("drop"), close.server()), ("PR", "SNI_REJECTED", "<NOSRV>"));
        assert_eq!(["Tw", "Tc"].map(|name| close.number(name)), [-1, -1]);
    }
}

/// Without this, a client that leaves during the connect counts as a server's failure.
#[test]
fn cc_for_a_client_that_leaves_while_a_server_is_connected_to() {
    let hole = BlackHole::new();
    let proxy = start_at(hole.address, json!({}));
    let before = sockets::connecting(hole.address);
    let mut client = proxy.connect();
    client.hello("a.test");
    wait_until("a server is connected to", || sockets::connecting(hole.address) > before);
    let address = client.address;
    client.reset();
    let close = proxy.close_of(address);
    assert_eq!((close.ts(), close.number("Tc")), ("CC", -1));
}

/// Without this, a server that refuses has another state than `SC`.
#[test]
fn sc_for_a_server_that_refuses() {
    let proxy = start_at(free_address(), json!({ "retries": 1, "timeouts": { "connect": "200ms" } }));
    let client = ended(&proxy, |client| _ = client.hello("a.test").end());
    let close = proxy.close_of(client);
    assert_eq!((close.ts(), close.place.as_str(), close.number("Tc")), ("SC", "a/s", -1));
    assert_eq!((close.field("sni"), close.field("reason")), ("\"a.test\"", "server_refused"));
    let errors: Vec<Entry> = proxy.entries().into_iter().filter(|entry| entry.step == "ERROR").collect();
    assert_eq!(errors.iter().map(|entry| entry.place.as_str()).collect::<Vec<_>>(), ["a/s"; 2]);
}

/// Without this, a route without a server does not log `SC` and `<NOSRV>`.
#[test]
fn sc_and_nosrv_where_no_server_is_up() {
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [{ "address": free_address(), "name": "s" }] } }
    }));
    proxy.wait_for_notice("Server a/s is DOWN");
    let client = ended(&proxy, |client| _ = client.hello("a.test").end());
    let close = proxy.close_of(client);
    assert_eq!((close.ts(), close.place.as_str()), ("SC", "a/<NOSRV>"));
}

/// Without this, a client without an fd for its server waits although no fd is about to be freed, or has another state
/// than `RC`.
#[test]
fn rc_out_of_fds() {
    let hole = Origin::serve(Expect::Header, hold());
    let proxy = start_at(hole.address, json!({ "retries": 0 }));
    let mut client = proxy.connect();
    proxy.entry(client.address, "ACCEPT");
    // A limit that is lowered while it runs takes effect at the next fd: prlimit(2).
    let used = proxy.open_fds() as u64;
    let limit = rustix::process::Rlimit { current: Some(used - 1), maximum: Some(used - 1) };
    rustix::process::prlimit(Some(proxy.pid()), rustix::process::Resource::Nofile, limit).unwrap();
    client.hello("a.test");
    assert_eq!(proxy.close_of(client.address).ts(), "RC");
}

/// Without this, `on_down` "close" leaves connections open, or logs another state than `KD`.
#[test]
fn kd_for_what_on_down_closes() {
    let mut origin = Origin::serve(Expect::Header, hold());
    let proxy = Proxy::start(json!({
        "routes": { "a": {
            "sni": ["a.test"], "on_down": "close", "servers": [{ "address": origin.address, "name": "s" }]
        } },
        "health_check": { "interval": "100ms" }
    }));
    let mut client = proxy.connect();
    client.hello("a.test");
    proxy.entry(client.address, "CONNECT");
    origin.stop_listening();
    assert_ne!(client.end(), End::Silence);
    assert_eq!(proxy.close_of(client.address).ts(), "KD");
}

/// Without this, `on_down` "keep" ends connections of a server that goes down.
#[test]
fn on_down_keep() {
    let mut origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [{ "address": origin.address, "name": "s" }] } },
        "health_check": { "interval": "100ms" }
    }));
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    origin.stop_listening();
    proxy.wait_for_notice("Server a/s is DOWN");
    client.expect(&hello("a.test")).send(b"still").expect(b"still");
}

fn start(origin: &Origin, more: Value) -> Proxy {
    start_at(origin.address, more)
}

fn start_at(address: SocketAddr, more: Value) -> Proxy {
    Proxy::start(config(address, more))
}

fn config(address: SocketAddr, mut more: Value) -> Value {
    more["routes"] = json!({ "a": {
        "sni": ["a.test"], "servers": [{ "address": address, "name": "s" }], "health_check": { "type": "off" }
    } });
    more
}

fn one_connection(proxy: &Proxy) -> SocketAddr {
    ended(proxy, |client| {
        assert_eq!(client.hello("a.test").greeting(), "a");
        client.finish().end();
    })
}

fn ended(proxy: &Proxy, act: impl FnOnce(&mut Client)) -> SocketAddr {
    let mut client = proxy.connect();
    act(&mut client);
    client.address
}
