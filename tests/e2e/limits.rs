//! The limits of one address, and what a client over them sees.
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::capture::{Capture, Segment};
use crate::kit::client::{Client, End};
use crate::kit::hello::{hello, hello_of};
use crate::kit::namespace::{ON_LB, add_ipv6, in_namespace, inside, two_networks};
use crate::kit::origin::{Expect, Origin, hold};
use crate::kit::places::{free_address, free_address_of};
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

/// Without this, the deployment's rule of 50 connections in 5 s does not hold. The period is longer here, as a busy
/// machine may need more than 5 s for 51 connections.
#[test]
fn fifty_in_a_period_are_let_in_and_the_next_is_not() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, &json!({ "rate": 50, "period": "1h" }));
    for n in 0..50 {
        assert_eq!(proxy.connect().hello("a.test").greeting(), "a", "{n}");
    }
    assert!(is_refused(&proxy, "127.0.0.1"), "the 51st is let in");
    assert!(!is_refused(&proxy, "127.0.0.2"), "another address is refused as well");
}

/// Without this, a monitoring host in `exempt` is refused.
#[test]
fn exempt_networks_have_no_limit() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, &json!({ "rate": 1, "period": "60s", "exempt": ["127.0.0.0/31"] }));
    for _ in 0..5 {
        assert!(!is_refused(&proxy, "127.0.0.1"));
    }
    assert!(!is_refused(&proxy, "127.0.0.2"));
    assert!(is_refused(&proxy, "127.0.0.2"));
}

/// Without this, a client evades its limit with the 2^64 addresses of its /64.
#[test]
fn ipv6_counts_by_prefix() {
    in_namespace(concat!(module_path!(), "::ipv6_counts_by_prefix"), || {
        let clients = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"];
        add_ipv6(&clients);
        let origin = Origin::echo("a");
        let mut config = config(&origin, &json!({ "rate": 1, "period": "60s" }));
        config["listen"] = json!([free_address_of("::1".parse().unwrap())]);
        let proxy = Proxy::start(config);
        assert_eq!(clients.map(|client| is_refused(&proxy, client)), [false, true, false]);
        assert_eq!(clients.map(|client| is_refused(&proxy, client)), [true, true, true]);
    });
}

/// Without this, a connection is not counted off when it ends, or is counted off twice.
#[test]
fn open_connections_are_counted_and_counted_off() {
    let origin = Origin::echo("a");
    let mut proxy_config = config(&origin, &json!({ "concurrent": 3 }));
    proxy_config["routes"]["down"] = json!({ "sni": ["down.test"], "servers": [free_address()] });
    proxy_config["retries"] = json!(0);
    let proxy = Proxy::start(proxy_config);
    // Every kind of end, more often than there are places.
    for n in 0..4 {
        let mut clients = [proxy.connect(), proxy.connect(), proxy.connect()];
        assert_eq!(clients[0].hello("a.test").greeting(), "a", "round {n}");
        clients[0].finish().end();
        clients[1].hello("nobody.test").end();
        clients[2].hello("down.test").end();
        let reset = { clients }.map(|client| proxy.close_of(client.address).number("ac"));
        assert!(reset.iter().all(|count| (1..=3).contains(count)), "{reset:?}");
        let mut client = proxy.connect();
        assert_eq!(client.hello("a.test").greeting(), "a", "round {n}");
        let address = client.address;
        client.reset();
        proxy.close_of(address);
    }
    let mut open: Vec<Client> = (0..3).map(|_| guest(&proxy)).collect();
    for _ in 0..4 {
        assert!(is_refused(&proxy, "127.0.0.1"));
    }
    assert!(!is_refused(&proxy, "127.0.0.2"));
    let mut leaves = open.remove(0);
    leaves.finish().end();
    proxy.close_of(leaves.address);
    open.push(guest(&proxy));
    assert!(is_refused(&proxy, "127.0.0.1"));
}

/// Without this, a reload lets in clients that are at their limit.
#[test]
fn a_reload_keeps_counts() {
    let origin = Origin::echo("a");
    let limits = |concurrent: u32, rate: u32| {
        config(&origin, &json!({ "concurrent": concurrent, "rate": rate, "period": "60s" }))
    };
    let proxy = Proxy::start(limits(2, 1000));
    let _open = [guest(&proxy), guest(&proxy)];
    proxy.reload(limits(2, 1000));
    assert!(is_refused(&proxy, "127.0.0.1"));
    proxy.reload(limits(3, 1000));
    let _third = guest(&proxy);
    assert!(is_refused(&proxy, "127.0.0.1"));

    let proxy = Proxy::start(limits(10, 2));
    let _open = [guest(&proxy), guest(&proxy)];
    proxy.reload(limits(10, 2));
    assert!(is_refused(&proxy, "127.0.0.1"));
    proxy.reload(limits(11, 4));
    let _more = guest(&proxy);
    assert!(is_refused(&proxy, "127.0.0.1"), "two, one refused, one more: that was four");
}

/// Without this, a client over its limit gets no TLS alert with `reject` "alert".
#[test]
fn refused_clients_get_an_alert_where_that_is_asked_for() {
    const INTERNAL_ERROR: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50];
    let origin = Origin::echo("a");
    let mut config = config(&origin, &json!({ "rate": 1, "period": "60s" }));
    config["reject"] = json!("alert");
    let proxy = Proxy::start(config);
    let _guest = guest(&proxy);
    let mut client = proxy.connect();
    sleep(Duration::from_millis(50));
    let (bytes, end) = client.hello("a.test").rest();
    assert_eq!((&bytes[..1], &bytes[3..], end), (&INTERNAL_ERROR[..1], &INTERNAL_ERROR[3..], End::Fin));
}

/// Without this, refused clients that send nothing take all connections: they may take one in eight, for the time of a
/// hello.
#[test]
fn silent_refused_clients_do_not_fill_the_house() {
    let origin = Origin::echo("a");
    let mut config = config(&origin, &json!({ "rate": 1, "period": "60s" }));
    config["limits"]["connections"] = json!(16);
    config["timeouts"] = json!({ "client_hello": "1h" });
    let proxy = Proxy::start(config);
    let _guest = guest(&proxy);
    let silent: Vec<Client> = (0..100).map(|_| proxy.connect()).collect();
    let ends = || proxy.entries().iter().filter(|entry| entry.step == "CLOSE").count();
    wait_until("all but two have been sent away", || ends() >= 98);
    sleep(Duration::from_millis(100));
    assert_eq!(ends(), 98);
    for client in 2..16 {
        assert!(!is_refused(&proxy, &format!("127.0.0.{client}")), "127.0.0.{client}");
    }
    drop(silent);
}

/// Without this, a client beyond `limits.connections` is refused instead of waiting in the backlog.
#[test]
fn more_clients_than_there_may_be_wait() {
    let origin = Origin::serve(Expect::Header, hold());
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "limits": { "connections": 10 }
    }));
    let mut clients: Vec<Client> = (0..50).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.hello("a.test");
    }
    let mut served = 0;
    while let Some(mut first) = (!clients.is_empty()).then(|| clients.remove(0)) {
        wait_until("as many are served as may be", || origin.clients().len() == 50.min(served + 10));
        assert_eq!(first.end_within(Duration::from_millis(1)), End::Silence);
        let address = first.address;
        first.reset();
        proxy.close_of(address);
        served += 1;
    }
    assert!(proxy.entries().iter().all(|entry| entry.step != "CLOSE" || entry.ts() == "CD"));
    assert!(proxy.entries().iter().filter(|e| e.step == "CLOSE").all(|close| close.number("fc") <= 10));
}

/// Without this, a dropped client sees a FIN or RST beyond the first router, over IPv4, IPv6, or IPv4 on a socket for
/// both.
#[test]
fn dropped_clients_see_no_end() {
    in_namespace(concat!(module_path!(), "::dropped_clients_see_no_end"), || {
        two_networks();
        let both = free_address_of("::".parse().unwrap());
        let v4: SocketAddr = "203.0.113.2:443".parse().unwrap();
        let v6: SocketAddr = "[2001:db8:2::2]:443".parse().unwrap();
        let mapped = SocketAddr::new(v4.ip(), both.port());
        let mut capture = Capture::start();
        for (reject, silent) in [("drop", true), ("close", false)] {
            let config = json!({
                "listen": [v4, v6, both],
                "routes": { "a": { "sni": ["a.test"], "servers": ["203.0.113.2:1"] } },
                "limits": { "per_source": { "rate": 1, "period": "60s" } },
                "reject": reject
            });
            let mut launch = inside("lb", || Launch::with_socket(both));
            launch.within = ON_LB;
            let proxy = Proxy::launch(config, launch);
            for to in [v4, v6, mapped] {
                // An unknown name, which is the one connection there may be from the family's address, then one too many.
                // Its hello comes late, and in two parts.
                if to != mapped {
                    assert_eq!(looks(&mut capture, &proxy, to, "SNI_REJECTED"), silent, "{reject}: {to}");
                }
                assert_eq!(looks(&mut capture, &proxy, to, "RATE_LIMITED"), silent, "{reject}: {to}");
            }
        }
    });
}

/// Connects, sends a hello, and answers whether nothing that crossed the wire since looks like the end of that.
fn looks(capture: &mut Capture, proxy: &Proxy, to: SocketAddr, why: &str) -> bool {
    let mut client = Client::connect(to);
    let bytes = hello_of("b.test", 2_000).build();
    sleep(Duration::from_millis(100));
    client.send(&bytes[..1_000]);
    sleep(Duration::from_millis(50));
    client.send(&bytes[1_000..]);
    let close = proxy.close_of(client.address);
    assert_eq!((close.field("drop"), close.ts()), (why, "PR"));
    sleep(Duration::from_millis(300));
    let seen: Vec<_> =
        capture.segments().into_iter().filter(|s| s.source == to && s.destination == client.address).collect();
    assert!(seen.iter().any(Segment::begins), "the capture misses the handshake: {seen:?}");
    let is_silent = !seen.iter().any(Segment::ends);
    assert_eq!(client.end_within(Duration::from_millis(1)) == End::Silence, is_silent);
    // What the kernel says to the client's own end is of no interest.
    drop(client);
    sleep(Duration::from_millis(50));
    capture.segments();
    is_silent
}

/// Whether a client from that address is refused for its limits; if not, it is served.
fn is_refused(proxy: &Proxy, from: &str) -> bool {
    let from: IpAddr = from.parse().unwrap();
    let mut client = Client::connect_from(from, proxy.address);
    client.hello("a.test");
    if let Ok(greeting) = client.try_greeting() {
        assert_eq!(greeting, "a");
        return false;
    }
    let close = proxy.close_of(client.address);
    assert_eq!((close.field("drop"), close.ts(), close.server()), ("RATE_LIMITED", "PR", "<NOSRV>"));
    true
}

fn guest(proxy: &Proxy) -> Client {
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client.expect(&hello("a.test"));
    client
}

fn start(origin: &Origin, limits: &Value) -> Proxy {
    Proxy::start(config(origin, limits))
}

fn config(origin: &Origin, limits: &Value) -> Value {
    json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "limits": { "per_source": limits },
        "reject": "close"
    })
}
