//! The timeouts of a route.
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::freezer::Freezer;
use crate::kit::hello::hello;
use crate::kit::namespace::tell_skipped;
use crate::kit::origin::{BlackHole, Expect, Origin, hold};
use crate::kit::proxy::Proxy;

/// Without this, the log blames the client for a server that does not answer.
#[test]
fn a_tunnel_where_the_server_owes_an_answer_ends_as_the_server_s() {
    let origin = Origin::serve(Expect::Header, hold());
    let proxy = start(&json!({ "tunnel": "300ms" }), &origin);
    let mut client = proxy.connect();
    client.hello("a.test");
    expect_end(&proxy, &mut client, "sD", 290);
}

/// Without this, the log blames the server for a client that is silent.
#[test]
fn a_tunnel_where_the_client_is_silent_ends_as_the_client_s() {
    let origin = Origin::echo("a");
    let proxy = start(&json!({ "tunnel": "300ms" }), &origin);
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client.expect(&hello("a.test"));
    expect_end(&proxy, &mut client, "cD", 290);
}

/// Without this, a connection ends although bytes pass in one direction, or a route's own timeout does not apply.
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

/// Without this, a process that was stopped (SIGSTOP) ends clients whose bytes wait to be read.
#[test]
fn a_stopped_process_cuts_nobody_who_spoke_meanwhile() {
    cuts_nobody(200, |proxy, pause| {
        proxy.halt();
        pause();
        proxy.signal(Signal::CONT);
        true
    });
}

/// Without this, a process that a container engine paused ends clients whose bytes wait to be read, if there are more
/// than one poll returns.
#[test]
fn a_frozen_process_cuts_nobody_who_spoke_meanwhile() {
    cuts_nobody(1_100, |proxy, pause| {
        let freezer = Freezer::of(proxy.pid());
        match &freezer {
            Some(freezer) => freezer.while_frozen(pause),
            None => tell_skipped("a_frozen_process_cuts_nobody_who_spoke_meanwhile", "no cgroup can be frozen here"),
        }
        freezer.is_some()
    });
}

/// Holds a process to cutting none of `count` clients whose timeouts come up while `hold` stops it for a pause, which
/// it may not be able to do.
fn cuts_nobody(count: usize, hold: impl Fn(&Proxy, &mut dyn FnMut()) -> bool) {
    let origin = Origin::echo("a");
    // Where it takes long to bring them in, some have been silent for too long before.
    let is_shown = [2, 8, 32].into_iter().any(|seconds| {
        let timeout = format!("{seconds}s");
        let proxy = start(&json!({ "tunnel": timeout, "client_hello": timeout }), &origin);
        let begin = Instant::now();
        let mut clients: Vec<Client> = (0..count).map(|_| proxy.connect()).collect();
        for client in &mut clients {
            client.hello("a.test");
        }
        let mut late: Vec<Client> = (0..10).map(|_| proxy.connect()).collect();
        if !clients.iter_mut().all(|client| client.try_greeting().is_ok_and(|name| name == "a")) {
            return false;
        }
        for client in &late {
            proxy.entry(client.address, "ACCEPT");
        }
        let timeout = Duration::from_secs(seconds);
        if begin.elapsed() > timeout / 2 {
            return false;
        }
        let has_held = hold(&proxy, &mut || {
            sleep(Duration::from_millis(200));
            for client in &mut clients {
                client.send(b"y");
            }
            for client in &mut late {
                client.hello("a.test");
            }
            sleep(timeout + Duration::from_secs(1));
        });
        if !has_held {
            return true;
        }
        for client in &mut clients {
            client.expect(&hello("a.test")).expect(b"y");
        }
        for client in &mut late {
            assert_eq!(client.greeting(), "a");
        }
        true
    });
    assert!(is_shown, "{count} clients do not come in within 16 s");
}

/// Without this, an attempt gets less than the whole connect timeout, or the log has not the last attempt's state.
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

/// Without this, a client is not retried on another server after a connect timeout.
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
