//! A restart hands over every kind of client: those behind a balancer, those of a route's own addresses, and those of
//! plain HTTP.
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fiscalismia_lb::wire::proxy_header::{MAX_LEN, Tlvs, v2};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::manager::Manager;
use crate::kit::origin::{Expect, Origin};
use crate::kit::places::free_address;
use crate::kit::wait_until;
use crate::tls_probes::get;

/// Without this, a restart forgets the address from a balancer's header, or takes the rest of the header for a hello.
#[test]
fn balancers_clients_stay_who_they_are() {
    let origin = Origin::echo("a");
    let mut manager = Manager::start(json!({
        "accept_proxy": { "from": ["127.9.0.1/32"] },
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
    }));
    let whole = |port: u16| [header(told(port)), hello("a.test")].concat();
    let cuts = [10, header(told(1)).len(), header(told(1)).len() + 100, whole(1).len()];
    let mut clients: Vec<Client> = cuts.iter().map(|_| balancer(manager.address)).collect();
    for ((client, cut), port) in clients.iter_mut().zip(cuts).zip(1..) {
        client.send(&whole(port)[..cut]);
    }
    assert_eq!(clients[3].greeting(), "a");
    manager.restart();
    manager.restart();
    for ((client, cut), port) in clients.iter_mut().zip(cuts).zip(1..) {
        client.send(&whole(port)[cut..]);
        if cut < whole(port).len() {
            assert_eq!(client.greeting(), "a");
        }
        client.expect(&hello("a.test")).send(b"x").expect(b"x");
        assert_eq!(client.finish().end(), End::Fin);
        assert_eq!(origin.header_of(told(port)).source, Some(told(port)));
        let close = close_of(&manager, told(port));
        assert_eq!((close.ts(), close.backend()), ("--", "a"));
    }
}

fn told(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 77], port))
}

fn header(source: SocketAddr) -> Vec<u8> {
    let mut room = [0; MAX_LEN];
    v2(&mut room, source, SocketAddr::from(([198, 51, 100, 7], 443)), &Tlvs::default()).to_vec()
}

fn balancer(to: SocketAddr) -> Client {
    Client::connect_from("127.9.0.1".parse().unwrap(), to)
}

fn close_of(manager: &Manager, client: SocketAddr) -> Entry {
    manager.lines.wait(0, |from, line| {
        let entry = (from == From::Stdout).then(|| Entry::parse(line))??;
        (entry.client == client && entry.step == "CLOSE").then_some(entry)
    })
}

/// Without this, a restart cuts off plain TCP clients, makes them wait for a hello, or counts them at another frontend.
#[test]
fn a_routes_own_clients_go_on() {
    let (origin, admin, own) = (Origin::echo("a"), free_address(), free_address());
    let servers = json!([origin.server_with(json!({ "max_connections": 1 }))]);
    let mut manager = Manager::start(json!({
        "routes": { "a": { "listen": [own], "servers": servers }, "b": { "sni": ["b.test"], "servers": [origin.server()] } },
        "timeouts": { "connect": "1m" },
        "admin": { "listen": [admin] },
    }));
    let mut first = Client::connect(own);
    assert_eq!(first.greeting(), "a");
    let mut queued = Client::connect(own);
    let counted = |open: u32| {
        let page = get(admin, "/metrics");
        [
            format!("haproxy_frontend_current_sessions{{proxy=\"a\"}} {open}"),
            "haproxy_frontend_connections_total{proxy=\"a\"} 2".to_owned(),
        ]
        .iter()
        .all(|wanted| page.lines().any(|line| line == wanted))
    };
    wait_until("both have come in", || counted(2));
    for _ in 0..3 {
        manager.restart();
        first.send(b"x").expect(b"x");
        assert!(counted(2), "{}", get(admin, "/metrics"));
    }
    first.finish();
    assert_eq!(queued.greeting(), "a");
    queued.send(b"x").expect(b"x");
    assert_eq!(queued.finish().end(), End::Fin);
    wait_until("both have left", || counted(0));
}

/// Without this, a restart that makes a route take every client at its address loses what one has sent of a hello.
#[test]
fn a_hello_on_its_way_is_not_lost_when_the_next_process_expects_none() {
    let (origin, own) = (Origin::echo("a"), free_address());
    let config =
        |route: Value| json!({ "routes": { "a": route, "b": { "sni": ["b.test"], "servers": [origin.server()] } } });
    let mut manager =
        Manager::start(config(json!({ "listen": [own], "sni": ["a.test"], "servers": [origin.server()] })));
    let mut client = Client::connect(own);
    let hello = hello("a.test");
    client.send(&hello[..50]);
    let came = |line: &str| line.starts_with(&format!("{} [", client.address)) && line.contains(" ACCEPT ");
    manager.lines.wait(0, |_, line| came(line).then_some(()));
    manager.configure(config(json!({ "listen": [own], "servers": [origin.server()] })));
    manager.restart();
    client.send(&hello[50..]);
    assert_eq!(client.greeting(), "a");
    client.expect(&hello);
}

/// Without this, a restart loses a plain HTTP request, or sends it to another route.
#[test]
fn requests_over_plain_http_go_on() {
    let answers = Arc::new(AtomicBool::new(false));
    let may_answer = Arc::clone(&answers);
    let origin = Origin::serve(Expect::Header, move |mut visit| {
        let mut room = [0; 4096];
        let length = visit.stream.read(&mut room).unwrap_or(0);
        wait_until("it may answer", || may_answer.load(Ordering::Relaxed));
        let _ = visit.stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        let _ = visit.stream.write_all(&room[..length]);
    });
    let plain = free_address();
    let server = SocketAddr::new(origin.address.ip(), 1);
    let mut manager = Manager::start(json!({
        "redirect": { "listen": [plain] },
        "routes": { "a": {
            "sni": ["a.test"], "servers": [{ "address": server, "max_connections": 1 }], "health_check": { "type": "off" },
            "http": { "port": origin.address.port(), "paths": ["/.well-known/"] }
        } },
        "timeouts": { "connect": "1m" },
    }));
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").into_bytes();
    let asked = request("/.well-known/x");
    let [mut answered, mut queued, mut late, mut redirected] = [(); 4].map(|()| Client::connect(plain));
    answered.send(&asked);
    wait_until("the first is with its server", || origin.clients().len() == 1);
    queued.send(&asked);
    late.send(&asked[..20]);
    redirected.send(&request("/")[..20]);
    manager.restart();
    late.send(&asked[20..30]);
    manager.restart();
    late.send(&asked[30..]);
    redirected.send(&request("/")[20..]).expect(b"HTTP/1.1 301");
    answers.store(true, Ordering::Relaxed);
    for (name, mut client) in [("answered", answered), ("queued", queued), ("late", late)] {
        let (answer, end) = client.rest();
        assert!(
            answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(&asked),
            "{name}: {}",
            String::from_utf8_lossy(&answer)
        );
        assert_eq!(end, End::Fin);
    }
    manager.signal(Signal::TERM);
    assert!(manager.wait_for_exit());
}
