//! The server that a connection gets.
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::origin::{Expect, Origin, echo};
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::sockets;
use crate::kit::{PATIENCE, wait_until};

/// Without this, a server of weight 3 beside one of weight 1 gets other than three of four connections, or six in a
/// row.
#[test]
fn round_robin_is_weighted_and_smooth() {
    let (three, one, none) = (Origin::echo("three"), Origin::echo("one"), Origin::echo("none"));
    let proxy = start(json!({ "servers": [
        three.server_with(json!({ "weight": 3 })),
        one.server_with(json!({ "weight": 1 })),
        none.server_with(json!({ "weight": 0 }))
    ] }));
    let names: Vec<String> = (0..40).map(|_| name_of(&mut proxy.connect())).collect();
    for round in names.chunks(4) {
        assert_eq!(round.iter().filter(|name| *name == "three").count(), 3, "{names:?}");
        assert_eq!(round.iter().filter(|name| *name == "one").count(), 1, "{names:?}");
    }
}

/// Without this, a new connection goes to a busier server, or weights do not count.
#[test]
fn least_connections_counts_open_ones_by_weight() {
    let (two, one) = (Origin::echo("two"), Origin::echo("one"));
    let proxy = start(json!({
        "balance": "least_connections",
        "servers": [two.server_with(json!({ "weight": 2 })), one.server()]
    }));
    let mut open: Vec<(String, Client)> = (0..9).map(|_| guest(&proxy)).collect();
    assert_eq!(open.iter().filter(|(name, _)| name == "two").count(), 6);
    for (_, mut client) in open.extract_if(.., |(name, _)| name == "one").collect::<Vec<_>>() {
        client.finish();
        // Over for the proxy too: it says so before the client may count on it.
        client.end();
        proxy.close_of(client.address);
    }
    open.extend((0..3).map(|_| guest(&proxy)));
    assert_eq!(open.iter().filter(|(name, _)| name == "one").count(), 3);
}

/// Without this, a client changes servers between connections, or when another client's server goes.
#[test]
fn source_is_consistent() {
    let origins = ["a", "b", "c", "d"].map(Origin::echo);
    let proxy = start(json!({
        "balance": "source",
        "servers": origins.each_ref().map(Origin::server),
        "health_check": { "interval": "100ms" }
    }));
    let servers = || -> BTreeMap<u8, String> {
        (1..=80).map(|host| (host, name_of(&mut Client::connect_from(loopback(host), proxy.address)))).collect()
    };
    let before = servers();
    assert_eq!(before, servers(), "the same address, another server");
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 4, "{before:?}");
    let [_a, b, _c, _d] = origins;
    drop(b);
    proxy.wait_for_notice("is DOWN");
    let after = servers();
    for (host, name) in &before {
        if name == "b" {
            assert_ne!(after[host], "b");
        } else {
            assert_eq!(&after[host], name, "a client of another server has moved");
        }
    }
}

/// Without this, a backup gets connections while another server is up, or none while no other is.
#[test]
fn backup() {
    let backup = Origin::echo("backup");
    let main = Origin::echo("main");
    let address = main.address;
    let proxy = start(json!({
        "servers": [{ "address": address, "name": "main" }, backup.server_with(json!({ "backup": true }))],
        "health_check": { "interval": "100ms" }
    }));
    assert!((0..6).all(|_| name_of(&mut proxy.connect()) == "main"));
    drop(main);
    proxy.wait_for_notice("Server r/main is DOWN");
    assert!((0..6).all(|_| name_of(&mut proxy.connect()) == "backup"));
    let _main = Origin::serve_at(address, Expect::Header, echo("main"));
    proxy.wait_for_notice("Server r/main is UP");
    assert!((0..6).all(|_| name_of(&mut proxy.connect()) == "main"));
}

/// Without this, a server gets more than its `max_connections`, or a client waits while another server has room.
#[test]
fn a_full_server_s_connections_go_to_another() {
    let (small, large) = (Origin::echo("small"), Origin::echo("large"));
    let proxy = start(json!({ "servers": [small.server_with(json!({ "max_connections": 2 })), large.server()] }));
    let open: Vec<(String, Client)> = (0..10).map(|_| guest(&proxy)).collect();
    assert_eq!(open.iter().filter(|(name, _)| name == "small").count(), 2);
}

/// Without this, clients are refused while all servers are full, or are not served first come, first served.
#[test]
fn when_all_are_full_connections_wait() {
    let origin = Origin::echo("a");
    let proxy = start(json!({ "servers": [origin.server_with(json!({ "max_connections": 1 }))] }));
    let (_, mut first) = guest(&proxy);
    let mut waiting: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = proxy.connect();
            client.hello("r.test");
            assert_eq!(client.end_within(Duration::from_millis(100)), End::Silence);
            client
        })
        .collect();
    first.finish().end();
    for client in &mut waiting {
        client.stream.set_read_timeout(Some(crate::kit::PATIENCE)).unwrap();
        assert_eq!(client.greeting(), "a");
        client.finish().end();
        assert!(proxy.close_of(client.address).number("Tw") >= 100, "it waited");
    }
    assert_eq!(proxy.close_of(first.address).number("Tw"), 0);
}

/// Without this, a client that comes at the moment a server gets room overtakes those in the queue.
#[test]
fn nobody_overtakes_those_who_wait() {
    let origin = Origin::echo("a");
    let proxy = start(json!({ "servers": [origin.server_with(json!({ "max_connections": 1 }))] }));
    let (_, first) = guest(&proxy);
    let mut second = proxy.connect();
    second.hello("r.test");
    wait_until("the second hello is read", || sockets::unread(proxy.address) == [0, 0]);
    proxy.halt();
    first.reset();
    let mut third = proxy.connect();
    third.hello("r.test");
    proxy.signal(Signal::CONT);
    for (client, ahead) in [(&mut second, 0), (&mut third, 1)] {
        assert_eq!(client.greeting(), "a");
        client.finish().end();
        assert_eq!(proxy.close_of(client.address).number("bq"), ahead);
    }
}

/// Without this, a change that brings no room restarts a client's wait, or a client that has left holds up the queue.
#[test]
fn a_wait_in_vain_is_not_prolonged() {
    let origin = Origin::echo("a");
    let config = json!({ "routes": { "r": {
        "sni": ["r.test"], "servers": [origin.server_with(json!({ "max_connections": 1 }))],
        "timeouts": { "connect": "2s" }
    } } });
    let proxy = Proxy::start(config.clone());
    let (_, mut first) = guest(&proxy);
    let begun = Instant::now();
    let [mut second, third] = [proxy.connect(), proxy.connect()];
    second.hello("r.test");
    let gone = third.address;
    { third }.hello("r.test");
    // A reload every half a second, each a change that might mean room: the wait ends all the same.
    second.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    while second.stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        assert!(begun.elapsed() < PATIENCE, "each reload prolongs it");
        proxy.reload(config.clone());
    }
    let close = proxy.close_of(second.address);
    assert_eq!((close.ts(), proxy.close_of(gone).ts()), ("PC", "PC"));
    assert!(close.number("Tt") >= 1_990, "{close:?}");
    first.finish().end();
    let (_, mut next) = guest(&proxy);
    next.finish().end();
    assert_eq!(proxy.close_of(next.address).number("bq"), 0);
}

/// Without this, queued clients wait although no server is left.
#[test]
fn who_waits_is_refused_when_the_last_server_goes_down() {
    let mut origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "r": {
            "sni": ["r.test"], "servers": [origin.server_with(json!({ "max_connections": 1 }))],
            "timeouts": { "connect": "1h" }, "health_check": { "interval": "100ms", "fall": 1 }
        } }
    }));
    let (_, _first) = guest(&proxy);
    let mut second = proxy.connect();
    second.hello("r.test");
    origin.stop_listening();
    assert_ne!(second.end(), End::Silence);
    assert_eq!(proxy.close_of(second.address).ts(), "SC");
}

/// Without this, a client waits for ever while all servers stay full.
#[test]
fn when_all_stay_full_the_wait_ends_with_the_connect_timeout() {
    let origin = Origin::echo("a");
    let proxy = start(json!({
        "servers": [origin.server_with(json!({ "max_connections": 1 }))],
        "timeouts": { "connect": "300ms" }
    }));
    let (_, _first) = guest(&proxy);
    let mut second = proxy.connect();
    assert_ne!(second.hello("r.test").end(), End::Silence);
    let close = proxy.close_of(second.address);
    assert_eq!((close.ts(), close.server()), ("PC", "<NOSRV>"));
    assert!(close.number("Tt") >= 290, "{close:?}");
}

/// Without this, connections leave by another address or device than the server's `source` and `interface`.
#[test]
fn source_and_interface_say_where_connections_come_from() {
    let origin = Origin::echo("a");
    let from = loopback(77);
    let proxy = start(json!({ "servers": [origin.server_with(json!({ "source": from, "interface": "lo" }))] }));
    name_of(&mut proxy.connect());
    wait_until("a probe", || origin.probes() > 0);
    assert!(origin.seen().iter().all(|seen| seen.peer.ip() == from), "{:?}", origin.seen());
}

/// Without this, a missing network device ends the process instead of making the server unusable.
#[test]
fn an_interface_that_is_not_there() {
    let (good, bad) = (Origin::echo("good"), Origin::echo("bad"));
    let proxy = start(json!({ "servers": [bad.server_with(json!({ "interface": "nowhere0" })), good.server()] }));
    assert!((0..6).all(|_| name_of(&mut proxy.connect()) == "good"));
    proxy.wait_for_notice("this host has no device \"nowhere0\", so no connection can reach the server");
}

/// Without this, a refused connect is retried on the same server while another one is up.
#[test]
fn retries_go_to_another_server() {
    let origin = Origin::echo("good");
    let dead = [free_address(), free_address(), free_address()];
    let proxy = start(json!({
        "servers": [dead[0], dead[1], dead[2], origin.address],
        "health_check": { "type": "off" }
    }));
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(name_of(&mut proxy.connect()), "good"));
        }
    });
}

fn start(mut route: Value) -> Proxy {
    route["sni"] = json!(["r.test"]);
    Proxy::start(json!({ "routes": { "r": route } }))
}

fn guest(proxy: &Proxy) -> (String, Client) {
    let mut client = proxy.connect();
    (name_of(&mut client), client)
}

fn name_of(client: &mut Client) -> String {
    client.hello("r.test").greeting()
}

fn loopback(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 7, host))
}
