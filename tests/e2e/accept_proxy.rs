//! A balancer in front that sends the client's address in a PROXY header.
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fiscalismia_lb::wire::proxy_header::{self, LOCAL, MAX_LEN, Tlvs};
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;
use crate::tls_probes::metric;

/// A balancer's address, which is listed, and one that is not.
const BALANCER: &str = "127.9.0.1";
const STRANGER: &str = "127.8.0.1";

/// Without this, log, server and limits have the balancer's address instead of the client's.
#[test]
fn the_told_address_is_the_client_s() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}), &json!({}));
    let destination = addr("198.51.100.7:443");
    for (source, known_as) in [
        ("192.0.2.77:4711", "192.0.2.77:4711"),
        ("[2001:db8::77]:4711", "[2001:db8::77]:4711"),
        ("[::ffff:192.0.2.78]:4711", "192.0.2.78:4711"),
    ] {
        for v1 in [false, true] {
            let mut client = balancer(&proxy);
            client.send(&[header(v1, addr(source), destination, b""), hello("a.test")].concat());
            assert_eq!(client.greeting(), "a");
            client.finish().end();
            let close = proxy.close_of(addr(known_as));
            assert_eq!((close.ts(), close.field("drop")), ("--", "-"), "{close:?}");
            let told = origin.header_of(addr(known_as));
            let wanted = if addr(known_as).is_ipv4() { "198.51.100.7:443" } else { "[::ffff:198.51.100.7]:443" };
            assert_eq!(told.destination, Some(addr(wanted)));
        }
    }
    // One header for each, and what came of the hello behind it.
    assert_eq!(origin.clients().len(), 6);
}

/// Without this, a header that comes in pieces is not read, or the bytes after it are lost.
#[test]
fn a_header_in_pieces() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}), &json!({}));
    for v1 in [false, true] {
        let mut client = balancer(&proxy);
        let source = addr(if v1 { "192.0.2.1:1" } else { "192.0.2.1:2" });
        let all = [header(v1, source, addr("198.51.100.7:443"), b""), hello("a.test")].concat();
        let (first, rest) = all.split_at(40);
        for byte in first {
            client.send(&[*byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
        client.send(rest);
        assert_eq!(client.greeting(), "a");
        assert_eq!(proxy.entry(source, "ACCEPT").client, source);
    }
}

/// Without this, any client can claim any address, or the log does not tell that it tried.
#[test]
fn a_header_from_elsewhere_is_never_read() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}), &json!({}));
    for v1 in [false, true] {
        let mut client = from(STRANGER, &proxy);
        let source = addr("192.0.2.66:4711");
        client.send(&[header(v1, source, addr("198.51.100.7:443"), b""), hello("a.test")].concat());
        assert_ne!(client.end(), End::Silence);
        let refused = proxy.entry(client.address, "TCP-REQ-CONT");
        assert!(says(&refused, "a PROXY header, which is not accepted from here"), "{refused:?}");
        assert_eq!(proxy.close_of(client.address).field("drop"), "SNI_REJECTED");
        assert!(proxy.entries().iter().all(|entry| entry.client != source));
    }
    // What only begins alike is not one.
    let mut client = from(STRANGER, &proxy);
    client.send(b"PROXIMITY");
    client.end();
    assert!(says(&proxy.entry(client.address, "TCP-REQ-CONT"), "not TLS"));
    // Its own hello is served as ever.
    assert_eq!(from(STRANGER, &proxy).hello("a.test").greeting(), "a");
}

/// Without this, a balancer set up without its header counts as the client of every connection.
#[test]
fn from_a_balancer_the_header_is_required_and_whole() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({ "timeouts": { "client_hello": "300ms" } }), &json!({}));
    let unspec = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00";
    let udp = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\x00\x0c";
    let v1 = header(true, addr("192.0.2.1:1"), addr("192.0.2.2:2"), b"");
    for (bytes, why) in [
        (hello("a.test"), "no PROXY header, which must come first from here"),
        (unspec.to_vec(), "the PROXY header tells no address"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "the PROXY header tells no address"),
        (udp.to_vec(), "the PROXY header is for something else than TCP"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 66000\r\n".to_vec(), "an address or port in the PROXY header is malformed"),
    ] {
        let mut client = balancer(&proxy);
        client.send(&bytes);
        assert_ne!(client.end(), End::Silence);
        let refused = proxy.entry(client.address, "TCP-REQ-CONT");
        assert!(says(&refused, why), "{why}: {refused:?}");
        assert_eq!(proxy.close_of(client.address).ts(), "PR");
    }
    // Header and hello have one deadline; half a header has ended early.
    for (bytes, ends) in [(&v1[..10], true), (&v1[..10], false), (&v1, false), (&b""[..], false)] {
        let mut client = balancer(&proxy);
        client.send(bytes);
        if ends {
            client.finish();
        }
        assert_ne!(client.end(), End::Silence);
        let known_as = if bytes.len() == v1.len() { addr("192.0.2.1:1") } else { client.address };
        assert_eq!(proxy.close_of(known_as).ts(), "PR");
    }
    assert_eq!(origin.clients().len(), 0);
}

/// Without this, a balancer's own check is a line in the log every few seconds, and an alert about drops.
#[test]
fn a_balancer_s_own_check_is_quiet() {
    let origin = Origin::echo("a");
    let admin = free_address();
    let proxy = start(&origin, json!({ "admin": { "listen": [admin] } }), &json!({}));
    let mut local = balancer(&proxy);
    local.send(&LOCAL);
    assert_eq!(local.end(), End::Fin);
    let mut with_body = balancer(&proxy);
    with_body.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x11\x00\x0c\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(with_body.end(), End::Fin);
    let mut empty = balancer(&proxy);
    assert_eq!(empty.finish().end(), End::Fin);
    balancer(&proxy).reset();
    let mut client = balancer(&proxy);
    client.send(&[header(false, addr("192.0.2.1:1"), addr("192.0.2.2:2"), b""), hello("a.test")].concat());
    assert_eq!(client.greeting(), "a");
    drop(client);
    proxy.close_of(addr("192.0.2.1:1"));
    let others: Vec<Entry> = proxy.entries().into_iter().filter(|entry| entry.client != addr("192.0.2.1:1")).collect();
    assert!(others.is_empty(), "{others:?}");
    let metrics = super::tls_probes::get(admin, "/metrics");
    for line in [
        "haproxy_frontend_requests_denied_total{proxy=\"https_ingress\"} 0",
        "fiscalismia_lb_closes_total{reason=\"answered\"} 4",
        "fiscalismia_lb_drops_total{reason=\"closed_early\"} 0",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line}\n{metrics}");
    }
}

/// Without this, one client's limit applies to all clients of the balancer.
#[test]
fn limits_are_the_client_s_and_never_the_balancer_s() {
    let origin = Origin::echo("a");
    let limits = json!({ "limits": { "per_source": { "concurrent": 2 } }, "reject": "close" });
    let proxy = start(&origin, limits, &json!({}));
    let come = |source: &str| {
        let mut client = balancer(&proxy);
        client.send(&[header(false, addr(source), addr("192.0.2.2:2"), b""), hello("a.test")].concat());
        client
    };
    let mut held: Vec<Client> = (1..=9).map(|n| come(&format!("192.0.2.{n}:1"))).collect();
    for client in &mut held {
        assert_eq!(client.greeting(), "a");
    }
    let mut second = come("192.0.2.1:2");
    assert_eq!(second.greeting(), "a");
    assert_ne!(come("192.0.2.1:3").end(), End::Silence);
    assert_eq!(proxy.close_of(addr("192.0.2.1:3")).field("drop"), "RATE_LIMITED");
    // Checks and refused headers of the balancer count for nobody.
    for _ in 0..9 {
        balancer(&proxy).send(&LOCAL).end();
        balancer(&proxy).send(b"GET / HTTP/1.0\r\n\r\n").end();
    }
    drop(second);
    proxy.close_of(addr("192.0.2.1:2"));
    assert_eq!(come("192.0.2.1:4").greeting(), "a");
}

/// Without this, the number of sessions goes down when a balancer's client turns out to be over its limit.
#[test]
fn sessions_of_refused_clients_stay_counted() {
    let (origin, admin, plain) = (Origin::echo("a"), free_address(), free_address());
    let more = json!({
        "admin": { "listen": [admin] },
        "redirect": { "listen": [plain] },
        "limits": { "per_source": { "rate": 1, "period": "1h" } }
    });
    let proxy = start(&origin, more, &json!({ "http": { "port": origin.address.port(), "paths": ["/"] } }));
    let header = header(false, addr("192.0.2.1:1"), addr("198.51.100.7:443"), b"");
    let sessions = || {
        ["https_ingress", "http_ingress"]
            .map(|frontend| metric(admin, &format!("haproxy_frontend_sessions_total{{proxy=\"{frontend}\"}}")))
    };
    assert_eq!(balancer(&proxy).send(&header).hello("a.test").greeting(), "a");
    let (mut over, mut over_plain) = (balancer(&proxy), Client::connect_from(BALANCER.parse().unwrap(), plain));
    wait_until("they have come", || sessions() == [2, 1]);
    assert_eq!(over.send(&header).hello("a.test").end(), End::Fin);
    assert_ne!(over_plain.send(&header).send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").end(), End::Silence);
    assert_eq!(sessions(), [2, 1]);
}

/// Without this, every client of a balancer gets the same server.
#[test]
fn balance_by_source_takes_the_told_address() {
    let origins: Vec<Origin> = (0..4).map(|n| Origin::echo(&n.to_string())).collect();
    let servers: Vec<Value> = origins.iter().map(Origin::server).collect();
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": servers, "balance": "source" } },
        "accept_proxy": { "from": ["127.9.0.0/16"] }
    }));
    let served = |n: u8| {
        let mut client = balancer(&proxy);
        let source = SocketAddr::from(([192, 0, 2, n], 1));
        client.send(&[header(false, source, addr("192.0.2.2:2"), b""), hello("a.test")].concat());
        client.greeting()
    };
    let first: Vec<String> = (0..32).map(served).collect();
    assert!(first.iter().any(|name| *name != first[0]));
    assert_eq!((0..32).map(served).collect::<Vec<_>>(), first);
}

/// Without this, a server behind a cloud's balancer does not get the balancer's TLVs, or gets two that disagree.
#[test]
fn what_was_received_goes_on_where_a_route_says_so() {
    let received = b"\x02\x00\x05front\x05\x00\x02id\xea\x00\x04\x01vpc\xee\x00\x01x";
    let origin = Origin::echo("a");
    for (tlvs, wanted) in [
        (json!(["received"]), &received[..]),
        (json!([]), b""),
        (json!(["received", "authority"]), b"\x02\x00\x06a.test\x05\x00\x02id\xea\x00\x04\x01vpc\xee\x00\x01x"),
    ] {
        let proxy = start(&origin, json!({}), &json!({ "proxy_tlvs": tlvs }));
        let source = SocketAddr::from(([192, 0, 2, wanted.len() as u8], 1));
        let mut client = balancer(&proxy);
        client.send(&[header(false, source, addr("192.0.2.2:2"), received), hello("a.test")].concat());
        assert_eq!(client.greeting(), "a");
        assert_eq!(&origin.header_of(source).raw[28..], wanted, "{tlvs}");
    }
}

/// Without this, the redirect takes a balancer's header for a broken request.
#[test]
fn the_redirect_likewise() {
    let origin = Origin::echo("a");
    let plain = free_address();
    let proxy = start(&origin, json!({ "redirect": { "listen": [plain] } }), &json!({}));
    let request = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for v1 in [false, true] {
        let mut client = Client::connect_from(BALANCER.parse().unwrap(), plain);
        let source = addr(if v1 { "192.0.2.1:1" } else { "192.0.2.1:2" });
        let header = header(v1, source, addr("192.0.2.2:80"), b"");
        client.send(&header[..20]);
        std::thread::sleep(Duration::from_millis(20));
        client.send(&header[20..]).send(request);
        let answer = String::from_utf8(client.finish().rest().0).unwrap();
        assert!(answer.starts_with("HTTP/1.1 301 ") && answer.contains("https://a.test/x"), "{answer}");
        line(&proxy, source, "CLOSE drop=- ", "ts=LR");
    }
    let mut without = Client::connect_from(BALANCER.parse().unwrap(), plain);
    without.send(request);
    without.end();
    line(&proxy, without.address, "TCP-REQ-CONT", "no PROXY header, which must come first from here");
    line(&proxy, without.address, "CLOSE drop=SNI_REJECTED", "ts=PR");
    let mut local = Client::connect_from(BALANCER.parse().unwrap(), plain);
    local.send(&LOCAL);
    assert_eq!(local.end(), End::Fin);
    let mut stranger = Client::connect_from(STRANGER.parse().unwrap(), plain);
    stranger.send(request);
    assert!(stranger.finish().rest().0.starts_with(b"HTTP/1.1 301 "));
    line(&proxy, stranger.address, "CLOSE drop=- ", "ts=LR");
    let of_it = format!("{} ", local.address);
    assert!(proxy.lines.of(From::Stdout).iter().all(|line| !line.starts_with(&of_it)));
}

/// Without this, a server that answers ACME requests logs the balancer's address instead of the client's.
#[test]
fn a_request_that_goes_on_to_a_server_likewise() {
    let (origin, plain) = (Origin::echo("web"), free_address());
    let route = json!({ "http": { "port": origin.address.port(), "paths": ["/.well-known/acme-challenge/"] } });
    let proxy = start(&origin, json!({ "redirect": { "listen": [plain] } }), &route);
    let mut client = Client::connect_from(BALANCER.parse().unwrap(), plain);
    client.send(&header(false, addr("192.0.2.1:1"), addr("198.51.100.7:80"), b""));
    client.send(b"GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.greeting(), "web");
    assert_eq!(origin.header_of(addr("192.0.2.1:1")).destination, Some(addr("198.51.100.7:80")));
    drop(proxy);
}

/// Without this, a plain TCP route passes the balancer's header on to its server, or takes the balancer for the client.
#[test]
fn a_route_s_own_listener_likewise() {
    let origin = Origin::echo("mail");
    let own = free_address();
    let proxy = Proxy::start(json!({
        "routes": { "mail": { "listen": [own], "servers": [origin.server()] } },
        "listen": [free_address()],
        "accept_proxy": { "from": ["127.9.0.0/16"] }
    }));
    let mut client = Client::connect_from(BALANCER.parse().unwrap(), own);
    client.send(&header(false, addr("192.0.2.1:1"), addr("192.0.2.2:25"), b""));
    // The server speaks first.
    assert_eq!(client.greeting(), "mail");
    client.send(b"EHLO a.test\r\n").expect(b"EHLO a.test\r\n");
    assert_eq!(origin.header_of(addr("192.0.2.1:1")).destination, Some(addr("192.0.2.2:25")));
    let mut local = Client::connect_from(BALANCER.parse().unwrap(), own);
    local.send(&LOCAL);
    assert_eq!(local.end(), End::Fin);
    let mut stranger = Client::connect_from(STRANGER.parse().unwrap(), own);
    assert_eq!(stranger.greeting(), "mail");
    assert_eq!(origin.clients().len(), 2);
    drop(proxy);
}

/// Without this, a new balancer in front needs a restart instead of a reload.
#[test]
fn a_reload_changes_who_is_believed() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}), &json!({}));
    let mut config = config(&origin, json!({}), &json!({}));
    config["accept_proxy"] = Value::Null;
    proxy.reload(config);
    assert_eq!(balancer(&proxy).hello("a.test").greeting(), "a");
}

/// Waits for a line about a client of the redirect that has both.
fn line(proxy: &Proxy, client: SocketAddr, step: &str, words: &str) {
    let start = format!("{client} [");
    let is_it = |line: &str| line.starts_with(&start) && line.contains(step) && line.contains(words);
    proxy.lines.wait(0, |_, line| is_it(line).then_some(()));
}

fn says(refused: &Entry, why: &str) -> bool {
    refused.text.ends_with(&format!("reason=\"{why}\""))
}

fn config(origin: &Origin, mut more: Value, route: &Value) -> Value {
    let mut entry = json!({ "sni": ["a.test"], "servers": [origin.server()] });
    entry.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
    more["routes"] = json!({ "a": entry });
    more["accept_proxy"] = json!({ "from": ["127.9.0.0/16"] });
    if more["reject"].is_null() {
        more["reject"] = json!("close");
    }
    more
}

fn start(origin: &Origin, more: Value, route: &Value) -> Proxy {
    Proxy::start(config(origin, more, route))
}

fn balancer(proxy: &Proxy) -> Client {
    from(BALANCER, proxy)
}

fn from(address: &str, proxy: &Proxy) -> Client {
    Client::connect_from(address.parse::<IpAddr>().unwrap(), proxy.address)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn header(v1: bool, source: SocketAddr, destination: SocketAddr, received: &[u8]) -> Vec<u8> {
    let mut buf = [0; MAX_LEN];
    if v1 {
        return proxy_header::v1(&mut buf, source, destination).to_vec();
    }
    let tlvs = Tlvs { received, ..Tlvs::default() };
    let mut bytes = Vec::new();
    bytes.write_all(proxy_header::v2(&mut buf, source, destination, &tlvs)).unwrap();
    bytes
}
