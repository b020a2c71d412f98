//! Plain HTTP is redirected to https.
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::namespace::skip;
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::{PATIENCE, in_time, wait_until};

/// Without this, the redirect loses a request's host, path or query.
#[test]
fn host_and_path_are_kept() {
    let (_proxy, http) = start(json!({}));
    for (request, location) in [
        ("GET / HTTP/1.1\r\nHost: fiscalismia.com\r\n\r\n", "https://fiscalismia.com/"),
        (
            "GET /a/b?c=d&e=%20f HTTP/1.1\r\nhost: demo.fiscalismia.com:80\r\n\r\n",
            "https://demo.fiscalismia.com/a/b?c=d&e=%20f",
        ),
        ("HEAD /x HTTP/1.0\r\nHost: a.b\r\n\r\n", "https://a.b/x"),
        ("POST /x HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nContent-Length: 3\r\n\r\nabc", "https://[2001:db8::1]/x"),
        ("GET http://c.d/y HTTP/1.1\r\nHost: a.b\r\n\r\n", "https://c.d/y"),
    ] {
        let wanted = format!(
            "HTTP/1.1 301 Moved Permanently\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(ask(http, request.as_bytes()), (wanted, End::Fin), "{request}");
    }
}

/// Without this, a real client does not follow the redirect.
#[test]
fn curl_follows() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("curl_follows", "curl is not installed");
    }
    let (_proxy, http) = start(json!({}));
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"])
        .args([
            "--write-out",
            "%{http_code} %{redirect_url}",
            "--connect-to",
            &format!("::{http}"),
            "http://a.test/x?y=z",
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "301 https://a.test/x?y=z", "{output:?}");
}

/// Without this, a client's line in the answer becomes a header, or a page, of the client's choice.
#[test]
fn nothing_is_reflected_that_could_be_read_otherwise() {
    let (_proxy, http) = start(json!({}));
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: marker\"><script>\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: marker.test\r\nHost: other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: marker.test/@evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@marker.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: marker.test:80x\r\n\r\n",
        "GET /marker\x01 HTTP/1.1\r\nHost: a.b\r\n\r\n",
        "GET /marker\u{e9} HTTP/1.1\r\nHost: a.b\r\n\r\n",
        "GET /<marker> HTTP/1.1\r\nHost: a.b\r\n\r\n",
        "GET /\"marker HTTP/1.1\r\nHost: a.b\r\n\r\n",
        "GET marker HTTP/1.1\r\nHost: a.b\r\n\r\n",
        "GET /\rmarker HTTP/1.1\r\nHost: a.b\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: marker\r\n\r\n",
        "CONNECT marker:443 HTTP/1.1\r\nHost: marker\r\n\r\n",
        "marker\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: marker\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03marker",
    ] {
        let (answer, end) = ask(http, request.as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && end == End::Fin,
            "{request:?}: {answer:?}, {end:?}"
        );
        assert!(!answer.contains("marker"), "{request:?}: {answer}");
    }
}

/// Without this, a long or slow request head takes memory or a connection for ever.
#[test]
fn a_head_has_8_kib_and_5_seconds() {
    let (proxy, http) = start(json!({}));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a.b\r\nX: ", "x".repeat(9_000));
    assert!(ask(http, long.as_bytes()).0.starts_with("HTTP/1.1 431 "));
    let fits = format!("GET /{} HTTP/1.1\r\nHost: a.b\r\n\r\n", "x".repeat(8_000));
    assert!(ask(http, fits.as_bytes()).0.starts_with("HTTP/1.1 301 "));

    // A byte a second moves no deadline: however many come, there is an end.
    let started = Instant::now();
    let (mut slow, mut silent) = (Client::connect(http), Client::connect(http));
    slow.send(b"GET /");
    slow.stream.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
    while slow.stream.peek(&mut [0]).is_err() {
        assert!(started.elapsed() < PATIENCE, "the deadline moves");
        slow.send(b"x");
    }
    let (answer, end) = slow.rest();
    assert!(answer.starts_with(b"HTTP/1.1 408 Request Timeout\r\n") && end == End::Fin, "{answer:?} {end:?}");
    assert_eq!(silent.rest(), (Vec::new(), End::Fin));
    // A client that comes in the middle of a turn counts as having come at its beginning.
    assert!(started.elapsed() > Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(line_of(&proxy, slow.address).1, "LR");
    assert_eq!(line_of(&proxy, silent.address).1, "cD");
}

/// Without this, unread bytes after the head turn the end of the connection into a reset, which destroys the answer.
#[test]
fn the_answer_outlives_a_body() {
    let (_proxy, http) = start(json!({}));
    for _ in 0..20 {
        let mut client = Client::connect(http);
        client.send(b"POST /x HTTP/1.1\r\nHost: a.b\r\nContent-Length: 100000\r\n\r\n");
        client.send(&vec![b'x'; 50_000]);
        thread::sleep(Duration::from_millis(5));
        client.send(&vec![b'x'; 50_000]);
        let (answer, end) = client.rest();
        assert!(
            answer.starts_with(b"HTTP/1.1 301 ") && end == End::Fin,
            "{:?} {end:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// Without this, more than 128 new clients are served in a second, or one of three hundred is refused.
#[test]
fn a_hundred_and_twenty_eight_a_second() {
    let (proxy, http) = start(json!({}));
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(http)).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n");
    }
    for client in &mut clients {
        assert!(client.rest().0.starts_with(b"HTTP/1.1 301 "));
    }
    // By the proxy's own clock, in milliseconds.
    let mut came: Vec<u32> = clients.iter().map(|client| let_in(&line_of(&proxy, client.address).0)).collect();
    came.sort_unstable();
    let too_many = came.windows(129).find(|window| window[128] - window[0] < 999);
    assert!(too_many.is_none(), "129 within a second: {too_many:?}");
}

/// Without this, clients after the 128th of a second wait until something else wakes the loop.
#[test]
fn a_second_burst_is_let_in_after_a_second() {
    let (proxy, http) = start(json!({ "health_check": { "type": "off" } }));
    proxy.halt();
    let mut clients: Vec<Client> = (0..256).map(|_| Client::connect(http)).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n");
    }
    proxy.signal(rustix::process::Signal::CONT);
    let started = Instant::now();
    for client in &mut clients {
        assert!(client.rest().0.starts_with(b"HTTP/1.1 301 "));
    }
    let took = started.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

/// Without this, the redirect's clients take connections from TLS clients, or slow ones lock others out.
#[test]
fn places_are_its_own() {
    // As long as a request may take.
    in_time(Duration::from_secs(5), || std::panic::catch_unwind(more_dawdlers_than_places).is_ok());
}

fn more_dawdlers_than_places() {
    let origin = Origin::echo("a");
    let routes = json!({ "a": { "sni": ["a.test"], "servers": [origin.server()] } });
    let (proxy, http) = start(json!({ "routes": routes, "limits": { "connections": 1 } }));
    let mut dawdlers: Vec<Client> = (0..128).map(|_| Client::connect(http)).collect();
    wait_until("all are let in", || proxy.open_fds() > 128);
    let mut guest = proxy.connect();
    assert_eq!(guest.hello("a.test").greeting(), "a");
    assert!(ask(http, b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n").0.starts_with("HTTP/1.1 301 "));
    // One had to go for that: who was there first.
    let mut first = dawdlers.remove(0);
    assert_eq!(first.end_within(Duration::from_millis(1)), End::Fin);
    assert_eq!(line_of(&proxy, first.address).1, "cD");
    assert!(dawdlers.iter_mut().all(|client| client.end_within(Duration::from_millis(1)) == End::Silence));
    guest.expect(&hello("a.test"));
}

/// Without this, a redirect is not logged, or with a wrong frontend or state.
#[test]
fn its_lines_in_the_log() {
    let (proxy, http) = start(json!({}));
    let mut client = Client::connect(http);
    client.send(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n");
    let answer = client.rest().0;
    let address = client.address;
    drop(client);
    let (line, ts) = line_of(&proxy, address);
    assert_eq!(ts, "LR");
    let (_, rest) = line.split_once("] http_ingress http_ingress/<NOSRV> CLOSE drop=- Tw=-1 Tc=-1 Tt=").unwrap();
    let wanted = format!(" B={} ts=LR ac=1 fc=1 bc=0 sc=0 sq=0 bq=0 sni=\"-\"", answer.len());
    assert!(rest.ends_with(&wanted), "{line}");

    let mut left = Client::connect(http);
    left.send(b"GET");
    let address = left.address;
    left.reset();
    assert_eq!(line_of(&proxy, address).1, "CD");
    let lines = proxy.lines.of(From::Stdout);
    assert_eq!(lines.iter().filter(|line| line.contains("http_ingress")).count(), 2, "only their ends: {lines:#?}");
}

/// Without this, `log.connections` does not apply to redirects.
#[test]
fn no_lines_where_connections_are_not_logged() {
    let (proxy, http) = start(json!({ "log": { "connections": "off" } }));
    assert!(ask(http, b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n").0.starts_with("HTTP/1.1 301 "));
    proxy.signal(rustix::process::Signal::TERM);
    let (_, lines) = proxy.wait_for_exit();
    assert!(!lines.of(From::Stdout).iter().any(|line| line.contains("http_ingress")), "{lines:?}");
}

/// Without this, a reload does not open or close the redirect's listeners.
#[test]
fn a_reload_brings_and_takes_it() {
    let (proxy, http) = start(json!({}));
    let other = free_address();
    let config = |listen: &[SocketAddr]| json!({ "routes": { "a": { "sni": ["a.test"], "servers": [free_address()] } }, "redirect": { "listen": listen } });
    proxy.reload(config(&[other, http]));
    for address in [http, other] {
        assert!(ask(address, b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n").0.starts_with("HTTP/1.1 301 "));
    }
    proxy.reload(config(&[other]));
    assert!(std::net::TcpStream::connect(http).is_err());
    assert!(ask(other, b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n").0.starts_with("HTTP/1.1 301 "));
}

/// A proxy whose redirect listens at the address.
fn start(mut config: Value) -> (Proxy, SocketAddr) {
    let http = free_address();
    config["redirect"] = json!({ "listen": [http] });
    if config["routes"].is_null() {
        config["routes"] = json!({ "a": { "sni": ["a.test"], "servers": [free_address()] } });
    }
    (Proxy::start(config), http)
}

/// What a request gets, and how the connection ends.
fn ask(to: SocketAddr, request: &[u8]) -> (String, End) {
    let mut client = Client::connect(to);
    // The answer may come before the whole request is written.
    drop(client.stream.write_all(request));
    let (answer, end) = client.rest();
    (String::from_utf8(answer).unwrap(), end)
}

/// The millisecond of the day at which a line says that its client was let in.
fn let_in(line: &str) -> u32 {
    let (_, date) = line.split_once('[').unwrap();
    let (date, _) = date.split_once(']').unwrap();
    let time = &date["dd/Mon/yyyy:".len()..];
    let numbers: Vec<u32> = time.split([':', '.']).map(|number| number.parse().unwrap()).collect();
    let [hours, minutes, seconds, millis] = numbers[..] else { panic!("{line}") };
    ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis
}

/// The line about the end of the client's connection, and what its `ts` says.
fn line_of(proxy: &Proxy, client: SocketAddr) -> (String, String) {
    let line = proxy.wait_for_notice(&format!("{client} ["));
    let (_, rest) = line.split_once(" ts=").unwrap();
    (line.clone(), rest[..2].to_owned())
}
