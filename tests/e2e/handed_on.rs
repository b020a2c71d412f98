//! `routes.NAME.http`: plain HTTP requests that go to servers, such as those of an ACME client's HTTP-01 check.
use std::io::{Read, Write};
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::lines::From;
use crate::kit::origin::{Expect, Origin, Visit};
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;
use crate::tls_probes::metric;

const CHALLENGE: &str = "/.well-known/acme-challenge/";
const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Answers each request with its own head, whole, and closes.
fn mirror(name: &'static str) -> impl Fn(Visit) + Send + Sync {
    move |mut visit| {
        let mut request = Vec::new();
        let mut room = [0; 4096];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let Ok(n @ 1..) = visit.stream.read(&mut room) else { return };
            request.extend_from_slice(&room[..n]);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name} ", name.len() + 1 + request.len());
        let _ = visit.stream.write_all(head.as_bytes()).and_then(|()| visit.stream.write_all(&request));
    }
}

fn ask(to: SocketAddr, host: &str, path: &str) -> String {
    let mut client = Client::connect(to);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Test: kept\r\n\r\n").as_bytes());
    String::from_utf8(client.rest().0).unwrap()
}

/// Without this, no server gets a certificate by HTTP-01, or requests for other paths reach its port 80.
#[test]
fn a_challenge_reaches_the_name_s_own_server() {
    let (a, b) = (Origin::serve(Expect::Header, mirror("a")), Origin::serve(Expect::Nothing, mirror("b")));
    let (plain, at) = (free_address(), free_address());
    let tls = |origin: &Origin| SocketAddr::new(origin.address.ip(), 1);
    let off = json!({ "type": "off" });
    let proxy = Proxy::start(json!({
        "redirect": { "listen": [plain] },
        "routes": {
            "a": { "sni": ["a.test", "**.a.test"], "servers": [tls(&a)], "health_check": off,
                   "http": { "port": a.address.port(), "paths": [CHALLENGE] } },
            "b": { "listen": [at], "sni": ["b.test"], "alpn": ["h2"], "servers": [tls(&b)], "health_check": off,
                   "proxy_protocol": "off", "http": { "port": b.address.port(), "paths": [CHALLENGE, "/status"] } },
            "c": { "sni": ["c.a.test"], "servers": [tls(&a)], "health_check": off }
        }
    }));
    for (host, path, expected) in [
        ("a.test", "/.well-known/acme-challenge/token", "a"),
        ("A.TEST.:80", "/.well-known/acme-challenge/", "a"),
        ("x.y.a.test", "/.well-known/acme-challenge/token?x", "a"),
        ("b.test", "/.well-known/acme-challenge/token", "b"),
        ("b.test", "/status", "b"),
        ("a.test", "/status", ""),
        ("a.test", "/", ""),
        ("a.test", "/x/.well-known/acme-challenge/token", ""),
        ("c.a.test", "/.well-known/acme-challenge/token", ""),
        ("d.test", "/.well-known/acme-challenge/token", ""),
    ] {
        let answer = ask(plain, host, path);
        if expected.is_empty() {
            let moved = format!("HTTP/1.1 301 Moved Permanently\r\nLocation: https://{host}{path}\r\n");
            assert!(answer.starts_with(&moved.replace(":80", "")), "{host}{path}: {answer}");
        } else {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Test: kept\r\n\r\n");
            assert!(
                answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(&format!("\r\n{expected} {request}")),
                "{answer}"
            );
        }
    }
    let is_close =
        |line: &str| line.contains("] http_ingress a/") && line.contains(" CLOSE ") && line.contains(" ts=-- ");
    proxy.lines.wait(0, |from, line| (from == From::Stdout && is_close(line)).then_some(()));
    // The server sees the client, as over TLS.
    assert!(a.clients().iter().all(|seen| seen.header.as_ref().unwrap().destination == Some(plain)));
}

/// Without this, a request in pieces, or with a body, reaches the server changed.
#[test]
fn a_request_goes_whole() {
    let origin = Origin::serve(Expect::Nothing, |mut visit| {
        let mut all = vec![0; 6000 + 68];
        visit.stream.read_exact(&mut all).unwrap();
        visit.stream.write_all(&all).unwrap();
    });
    let plain = free_address();
    let _proxy = Proxy::start(json!({
        "redirect": { "listen": [plain] },
        "routes": { "a": { "sni": ["a.test"], "servers": [SocketAddr::new(origin.address.ip(), 1)], "proxy_protocol": "off",
            "health_check": { "type": "off" }, "http": { "port": origin.address.port(), "paths": ["/"] } } }
    }));
    let head = format!("POST /{} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6000\r\n\r\n", "x".repeat(13));
    let request = [head.as_bytes(), &[b'b'; 6000]].concat();
    assert_eq!(request.len(), 6068, "{}", head.len());
    let mut client = Client::connect(plain);
    for piece in request.chunks(1000) {
        client.send(piece);
    }
    client.expect(&request);
    assert_eq!(client.end(), End::Fin);
}

/// Without this, a client waits for a server that is down, or the log has no line about it.
#[test]
fn no_server_for_a_request() {
    let plain = free_address();
    let proxy = Proxy::start(json!({
        "redirect": { "listen": [plain] },
        "retries": 0,
        "reject": "alert",
        "routes": { "a": { "sni": ["a.test"], "servers": [free_address()], "health_check": { "type": "off" },
            "http": { "port": free_address().port(), "paths": ["/"] } } }
    }));
    assert_eq!(ask(plain, "a.test", "/"), "");
    proxy.lines.wait(0, |from, line| {
        (from == From::Stdout && line.contains("] http_ingress a/") && line.contains(" ts=SC ")).then_some(())
    });
}

/// A route that takes every request for its name.
fn every_request_to(origin: &Origin) -> Value {
    json!({ "sni": ["a.test"], "servers": [SocketAddr::new(origin.address.ip(), 1)], "health_check": { "type": "off" },
        "http": { "port": origin.address.port(), "paths": ["/"] } })
}

/// Without this, bytes of a request count at https while it is open, and are gone from there when it has ended.
#[test]
fn bytes_of_a_request_count_at_http_all_along() {
    let (origin, plain, admin) = (Origin::echo("a"), free_address(), free_address());
    let _proxy = Proxy::start(json!({
        "redirect": { "listen": [plain] },
        "admin": { "listen": [admin] },
        "routes": { "a": every_request_to(&origin) }
    }));
    let bytes = || {
        [
            "haproxy_frontend_bytes_in_total{proxy=\"https_ingress\"}",
            "haproxy_frontend_bytes_out_total{proxy=\"https_ingress\"}",
            "haproxy_frontend_bytes_in_total{proxy=\"http_ingress\"}",
            "haproxy_frontend_bytes_out_total{proxy=\"http_ingress\"}",
            "haproxy_process_bytes_out_total",
        ]
        .map(|name| metric(admin, name) as usize)
    };
    let mut client = Client::connect(plain);
    assert_eq!(client.send(REQUEST).greeting(), "a");
    client.expect(REQUEST);
    let out = "a\n".len() + REQUEST.len();
    assert_eq!(bytes(), [0, 0, REQUEST.len(), out, out], "it is open");
    assert_eq!(client.finish().end(), End::Fin);
    wait_until("it has ended", || metric(admin, "haproxy_backend_current_sessions{proxy=\"a\"}") == 0);
    assert_eq!(bytes(), [0, 0, REQUEST.len(), out, out], "it has ended");
}

/// Without this, requests that come in one turn are all handed on, and more connections are open than
/// `limits.connections` says.
#[test]
fn requests_of_one_turn_keep_to_the_limit() {
    let (origin, plain) = (Origin::echo("a"), free_address());
    let proxy = Proxy::start(json!({
        "redirect": { "listen": [plain] },
        "limits": { "connections": 2 },
        "routes": { "a": every_request_to(&origin) }
    }));
    proxy.halt();
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(plain)).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    proxy.signal(Signal::CONT);
    // The greeting of the server, or the 503 of the redirect.
    let is_handed_on = |client: &mut Client| {
        let mut first = [0];
        client.stream.read_exact(&mut first).unwrap();
        first == *b"a"
    };
    let handed_on = clients.iter_mut().map(is_handed_on).filter(|is| *is).count();
    assert_eq!(handed_on, 2);
}
