//! A restart goes on with what the process before has counted.
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::json;

use crate::handover::line;
use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::manager::Manager;
use crate::kit::origin::{Expect, Origin};
use crate::kit::places::free_address;
use crate::kit::wait_until;
use crate::tls_probes::metric;

/// Without this, lines that are written while connections are taken over have a number of connections below zero.
#[test]
fn lines_of_a_take_over_have_the_right_counts() {
    let (origin, plain) = (Origin::echo("a"), free_address());
    let mut manager = Manager::start(json!({
        "reject": "close",
        "redirect": { "listen": [plain] },
        "routes": { "a": { "sni": ["a.test"], "servers": [SocketAddr::new(origin.address.ip(), 1)],
            "health_check": { "type": "off" }, "http": { "port": origin.address.port(), "paths": ["/"] } } }
    }));
    let mut handed_on = Client::connect(plain);
    assert_eq!(handed_on.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").greeting(), "a");
    let mut late = manager.connect();
    let hello = hello("nobody.test");
    late.send(&hello[..20]);
    line(&manager, &late, "ACCEPT");
    manager.signal(Signal::TERM);
    assert!(manager.wait_for_exit());
    late.send(&hello[20..]);
    manager.spawn();
    assert_eq!(late.end(), End::Fin);
    let close = line(&manager, &late, "CLOSE");
    assert_eq!((close.number("ac"), close.number("fc")), (2, 1), "{close:?}");
}

/// Without this, a connection that waits for a server is one more of its route's sessions after each restart.
#[test]
fn who_waits_for_a_server_is_one_session() {
    let (origin, admin) = (Origin::echo("a"), free_address());
    let server = origin.server_with(json!({ "max_connections": 1 }));
    let mut manager = Manager::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [server] } },
        "timeouts": { "connect": "1m" },
        "admin": { "listen": [admin] },
    }));
    let mut first = manager.connect();
    assert_eq!(first.hello("a.test").greeting(), "a");
    let mut queued = manager.connect();
    queued.hello("a.test");
    let sessions = || metric(admin, "haproxy_backend_sessions_total{proxy=\"a\"}");
    wait_until("both have come", || sessions() == 2);
    for _ in 0..3 {
        manager.restart();
    }
    assert_eq!(sessions(), 2);
    drop(first);
    assert_eq!(queued.greeting(), "a");
    assert_eq!(sessions(), 2);
}

/// Without this, processes that follow each other remember routes and servers that have left the file without end.
#[test]
fn restarts_remember_as_many_as_reloads() {
    // The file has other names than before each time.
    let config = |number: u16| {
        let own = format!("r{number}");
        json!({
            "health_check": { "type": "off" },
            "routes": {
                "a": { "sni": ["a.test"], "servers": [format!("127.0.0.1:{}", 2000 + number)] },
                own: { "sni": ["r.test"], "servers": ["127.0.0.1:1"] }
            }
        })
    };
    let mut manager = Manager::start(config(0));
    for number in 1..=33 {
        manager.configure(config(number));
        manager.restart();
    }
    manager.signal(Signal::TERM);
    assert!(manager.wait_for_exit());
    let (mut routes, mut servers) = (0, 0);
    manager.change_state(|state| {
        let all = state["routes"].as_array().unwrap();
        let a = all.iter().find(|route| route["name"] == "a").unwrap();
        (routes, servers) = (all.len(), a["servers"].as_array().unwrap().len());
    });
    assert_eq!((routes, servers), (2 + 32, 1 + 32), "what is there, and 32 that have gone");
}

/// Without this, counters of a server's probes go down when a restart finds the server at another address.
#[test]
fn a_server_that_has_moved_keeps_its_counters() {
    let (admin, empty) = (free_address(), free_address());
    let origin = Origin::serve(Expect::Header, |_| {});
    let config = |at: SocketAddr| {
        json!({
            "admin": { "listen": [admin] },
            "health_check": { "interval": "200ms" },
            "routes": { "a": { "sni": ["a.test"], "servers": [{ "name": "s", "address": at }] } }
        })
    };
    let mut manager = Manager::start(config(empty));
    let counters = || {
        ["failures", "up_down"]
            .map(|what| metric(admin, &format!("haproxy_server_check_{what}_total{{proxy=\"a\",server=\"s\"}}")))
    };
    wait_until("it is down", || counters()[1] >= 1);
    let before = counters();
    // It is up there, so that nothing new is counted.
    manager.configure(config(origin.address));
    manager.restart();
    let after = counters();
    assert!(after[0] >= before[0] && after[1] >= before[1], "{before:?} and then {after:?}");
}
