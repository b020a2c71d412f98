//! Timeouts of a route, on their configured clock.
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::origin::{BlackHole, Expect, Origin, hold};
use crate::kit::proxy::Proxy;

#[test]
fn a_tunnel_where_the_server_owes_an_answer_ends_as_the_server_s() {
    let origin = Origin::serve(Expect::Header, hold());
    let proxy = start(&json!({ "tunnel": "300ms" }), &origin);
    let mut client = proxy.connect();
    client.hello("a.test");
    expect_end(&proxy, &mut client, "sD", 290);
}

#[test]
fn a_tunnel_where_the_client_is_silent_ends_as_the_client_s() {
    let origin = Origin::echo("a");
    let proxy = start(&json!({ "tunnel": "300ms" }), &origin);
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client.expect(&hello("a.test"));
    expect_end(&proxy, &mut client, "cD", 290);
}

/// Bytes either way keep a tunnel open, and a route's own timeout counts instead of the file's.
#[test]
fn bytes_keep_a_tunnel_open() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()], "timeouts": { "tunnel": "3s" } } },
        "timeouts": { "tunnel": "100ms" }
    }));
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client.expect(&hello("a.test"));
    for _ in 0..7 {
        sleep(Duration::from_millis(500));
        client.send(b"x").expect(b"x");
    }
    expect_end(&proxy, &mut client, "cD", 6_400);
}

/// While the process is stopped, by SIGSTOP or a frozen cgroup, its clients go on speaking. What they said is there when it
/// goes on, and none of them is cut for a silence that was the process's.
#[test]
fn a_stopped_process_cuts_nobody_who_spoke_meanwhile() {
    let origin = Origin::echo("a");
    let proxy = start(&json!({ "tunnel": "2s", "client_hello": "2s" }), &origin);
    let mut clients: Vec<Client> = (0..200).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.hello("a.test").greeting(), "a");
        client.expect(&hello("a.test"));
        client.send(b"x").expect(b"x");
    }
    let mut late: Vec<Client> = (0..10).map(|_| proxy.connect()).collect();
    for client in &late {
        proxy.entry(client.address, "ACCEPT");
    }
    proxy.signal(Signal::STOP);
    sleep(Duration::from_millis(200));
    for client in &mut clients {
        client.send(b"y");
    }
    for client in &mut late {
        client.hello("a.test");
    }
    sleep(Duration::from_secs(3));
    proxy.signal(Signal::CONT);
    for client in &mut clients {
        client.expect(b"y");
    }
    for client in &mut late {
        assert_eq!(client.greeting(), "a");
    }
}

/// Each try gets the whole timeout; what comes of the last one is the state.
#[test]
fn a_server_that_does_not_answer() {
    let hole = BlackHole::new();
    let proxy = Proxy::start(json!({
        "routes": { "a": {
            "sni": ["a.test"], "servers": [hole.address], "health_check": { "type": "off" }
        } },
        "timeouts": { "connect": "200ms" },
        "retries": 2
    }));
    let mut client = proxy.connect();
    client.hello("a.test");
    expect_end(&proxy, &mut client, "sC", 590);
    let close = proxy.close_of(client.address);
    assert_eq!((close.number("Tc"), close.server()), (-1, hole.address.to_string().as_str()));
}

#[test]
fn another_server_answers_in_its_place() {
    let (hole, origin) = (BlackHole::new(), Origin::echo("a"));
    let proxy = Proxy::start(json!({
        "routes": { "a": {
            "sni": ["a.test"], "servers": [hole.address, origin.address], "health_check": { "type": "off" },
            "timeouts": { "connect": "200ms" }
        } }
    }));
    for _ in 0..4 {
        let mut client = proxy.connect();
        assert_eq!(client.hello("a.test").greeting(), "a");
        client.expect(&hello("a.test"));
    }
}

fn start(timeouts: &Value, origin: &Origin) -> Proxy {
    Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "timeouts": timeouts
    }))
}

/// It ends after `lived` ms or more: how late a timer is noticed is the machine's business.
fn expect_end(proxy: &Proxy, client: &mut Client, ts: &str, lived: i64) {
    assert_ne!(client.end(), End::Silence);
    let close = proxy.close_of(client.address);
    assert_eq!(close.ts(), ts);
    assert!(close.number("Tt") >= lived, "{close:?}");
}
