//! Counters against the connections that were made, to the unit.
use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use serde_json::{Value, json};

use crate::http::{get, json as stats, start};
use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::origin::{BlackHole, Expect, Origin, Visit, hold};
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;
use crate::prometheus::Exposition;

/// Connections of each kind.
const FINE: u64 = 4_750;
const DROPPED: u64 = 500;
const LIMITED: u64 = 300;
const REFUSED: u64 = 400;
const REDISPATCHED: u64 = 200;
const NO_SERVER: u64 = 200;
const CONNECT_TIMEOUT: u64 = 100;
const CLIENT_LEFT: u64 = 100;
const CLIENT_BROKE: u64 = 300;
const SERVER_BROKE: u64 = 300;
const CLIENT_SILENT: u64 = 100;
const SERVER_SILENT: u64 = 100;
/// New connections that a source which is limited may have.
const RATE: u64 = 200;
const ALL: u64 = 10_000;

const NAME: &str = "origin";
const PING: &[u8] = b"ping";

/// Without this, a counter is off by some connections, and dashboards and alerts are wrong unseen.
#[test]
fn ten_thousand_connections_of_every_kind() {
    let (alive, hole) = (Origin::echo(NAME), BlackHole::new());
    let (breaking, silent) = (Origin::serve(Expect::Header, break_off), Origin::serve(Expect::Header, hold()));
    let (proxy, admin) = start(config(&alive, &breaking, &silent, &hole));
    wait_until("the dead server is down", || route(&stats(admin), "down")["state"] == "DOWN");
    thread::scope(|scope| {
        let proxy = &proxy;
        for share in split(FINE - RATE - 1, 3) {
            scope.spawn(move || (0..share).for_each(|_| fine(proxy.connect())));
        }
        scope.spawn(|| too_often(proxy));
        scope.spawn(|| too_many(proxy));
        for hello in bad_hellos() {
            scope.spawn(move || (0..DROPPED).for_each(|_| dropped(proxy.connect(), &hello)));
        }
        scope.spawn(|| closed_early(proxy));
        scope.spawn(|| at_once(proxy, DROPPED, &hello("fine.test")[..20]));
        scope.spawn(|| at_once(proxy, REFUSED, &hello("refusing.test")));
        scope.spawn(|| redispatched(proxy));
        scope.spawn(|| (0..NO_SERVER).for_each(|_| dropped(proxy.connect(), &hello("down.test"))));
        scope.spawn(|| at_once(proxy, CONNECT_TIMEOUT, &hello("hole.test")));
        scope.spawn(|| client_left(proxy, admin));
        scope.spawn(|| client_broke(proxy));
        scope.spawn(|| (0..SERVER_BROKE).for_each(|_| dropped(proxy.connect(), &hello("breaking.test"))));
        scope.spawn(|| client_silent(proxy));
        scope.spawn(|| at_once(proxy, SERVER_SILENT, &hello("silent.test")));
    });
    wait_until("all have gone", || stats(admin)["connections"] == 0);
    let metrics = Exposition::parse(&get(admin, "/metrics").body);
    check_ends(&proxy, &metrics);
    check_routes(&metrics);
    check_gauges(&metrics);
}

/// Without this, a client of the redirect that a route refuses is counted nowhere, or among those of the TLS listeners.
#[test]
fn refused_requests_for_a_route_count_for_the_redirect() {
    let (origin, plain) = (Origin::echo(NAME), free_address());
    let (proxy, admin) = start(json!({
        "redirect": { "listen": [plain] },
        "reject": "close",
        "limits": { "per_source": { "rate": 1, "period": "1h" } },
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()], "allow_from": ["192.0.2.0/24"],
                           "http": { "port": 80, "paths": ["/"] } } }
    }));
    for _ in 0..3 {
        let mut client = Client::connect(plain);
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").rest();
    }
    wait_until("all have gone", || stats(admin)["connections"] == 0);
    let metrics = Exposition::parse(&get(admin, "/metrics").body);
    for (proxy, denied, of_source) in [("http_ingress", 3, 2), ("https_ingress", 0, 0)] {
        let of = |name: &str| metrics.value(&format!(r#"{name}{{proxy="{proxy}"}}"#)) as u64;
        assert_eq!(of("haproxy_frontend_requests_denied_total"), denied, "{proxy}");
        assert_eq!(of("haproxy_frontend_denied_connections_total"), of_source, "{proxy}");
    }
    drop(proxy);
}

fn config(alive: &Origin, breaking: &Origin, silent: &Origin, hole: &BlackHole) -> Value {
    let dead = free_address();
    let half = json!([{ "name": "dead", "address": dead }, alive.server_with(json!({ "name": "alive" }))]);
    let unprobed = json!({ "type": "off" });
    let to = |name: &str, servers: Value, timeouts: Value| json!({ "sni": [format!("{name}.test")], "servers": servers, "health_check": unprobed, "timeouts": timeouts });
    json!({
        "log": { "connections": "close" },
        "reject": "close",
        "retries": 1,
        "timeouts": { "client_hello": "5s" },
        "limits": { "per_source": { "rate": RATE, "period": "1h", "concurrent": 1, "exempt": ["127.0.0.1/32"] } },
        "routes": {
            "fine": to("fine", json!([alive.server()]), json!({})),
            "refusing": to("refusing", json!([dead]), json!({ "connect": "100ms" })),
            "half": to("half", half, json!({})),
            "down": { "sni": ["down.test"], "servers": [dead], "health_check": { "interval": "50ms" } },
            "hole": to("hole", json!([hole.address]), json!({ "connect": "200ms" })),
            "far": to("far", json!([hole.address]), json!({ "connect": "1m" })),
            "breaking": to("breaking", json!([breaking.server()]), json!({})),
            "talking": to("talking", json!([alive.server()]), json!({ "tunnel": "3s" })),
            "silent": to("silent", json!([silent.server()]), json!({ "tunnel": "300ms" })),
        }
    })
}

/// A source with as many new connections as it may have, and then more.
fn too_often(proxy: &Proxy) {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    (0..RATE).for_each(|_| fine(Client::connect_from(source, proxy.address)));
    (0..LIMITED).for_each(|_| dropped(Client::connect_from(source, proxy.address), &hello("fine.test")));
}

/// A source with as many connections at once as it may have, and more beside.
fn too_many(proxy: &Proxy) {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let mut first = Client::connect_from(source, proxy.address);
    begin(&mut first, "fine.test");
    (0..LIMITED / 2).for_each(|_| dropped(Client::connect_from(source, proxy.address), &hello("fine.test")));
    finish(first);
}

/// No route for the name, no name, no TLS, a hello without anything in it.
fn bad_hellos() -> [Vec<u8>; 4] {
    let nameless = HelloBuilder::new().build();
    [hello("unknown.test"), nameless, b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0x16, 3, 1, 0, 4, 1, 0, 0, 0]]
}

fn closed_early(proxy: &Proxy) {
    for _ in 0..DROPPED {
        let mut client = proxy.connect();
        client.send(&hello("fine.test")[..20]);
        finish(client);
    }
}

fn redispatched(proxy: &Proxy) {
    for _ in 0..REDISPATCHED {
        let mut client = proxy.connect();
        begin(&mut client, "half.test");
        finish(client);
    }
}

fn client_left(proxy: &Proxy, admin: SocketAddr) {
    let mut clients: Vec<Client> = (0..CLIENT_LEFT).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.hello("far.test");
    }
    wait_until("a server is connected to", || route(&stats(admin), "far")["sessions"]["now"] == CLIENT_LEFT);
    clients.into_iter().for_each(Client::reset);
}

fn client_broke(proxy: &Proxy) {
    for _ in 0..CLIENT_BROKE {
        let mut client = proxy.connect();
        begin(&mut client, "fine.test");
        client.reset();
    }
}

fn client_silent(proxy: &Proxy) {
    let mut clients: Vec<Client> = (0..CLIENT_SILENT).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        begin(client, "talking.test");
    }
    for client in &mut clients {
        assert_eq!(client.end(), End::Fin);
    }
}

/// A server that says something and then breaks off.
fn break_off(mut visit: Visit) {
    let mut client = Client::new(visit.stream.try_clone().unwrap());
    client.send(b"!");
    drop(visit.stream.read(&mut [0; 4096]));
    client.reset();
}

/// The ends, by reason: in the metrics, and in the log.
fn check_ends(proxy: &Proxy, metrics: &Exposition) {
    let expected = [
        ("done", "--", FINE + REDISPATCHED),
        ("dropped", "PR", 6 * DROPPED + LIMITED + LIMITED / 2),
        ("client_left", "CC", CLIENT_LEFT),
        ("server_refused", "SC", REFUSED + NO_SERVER),
        ("connect_timeout", "sC", CONNECT_TIMEOUT),
        ("client_broke", "CD", CLIENT_BROKE),
        ("server_broke", "SD", SERVER_BROKE),
        ("client_silent", "cD", CLIENT_SILENT),
        ("server_silent", "sD", SERVER_SILENT),
        ("servers_full", "PC", 0),
        ("out_of_resources", "RC", 0),
        ("killed", "KD", 0),
        ("answered", "LR", 0),
    ];
    assert_eq!(expected.iter().map(|(.., count)| count).sum::<u64>(), ALL, "the test's own sum");
    for (reason, _, count) in expected {
        metrics.check(&format!("fiscalismia_lb_closes_total{{reason=\"{reason}\"}}"), count);
    }
    metrics.check("fiscalismia_lb_log_lines_lost_total", 0);
    let mut logged = HashMap::new();
    wait_until("the log has all", || {
        proxy.lines.of(From::Stdout).iter().filter(|line| line.contains(" CLOSE ")).count() as u64 >= ALL
    });
    for entry in proxy.entries().iter().filter(|entry| entry.step == "CLOSE") {
        *logged.entry(Entry::ts(entry).to_owned()).or_insert(0) += 1;
    }
    for (_, letters, count) in expected {
        assert_eq!(logged.get(letters).copied().unwrap_or(0), count, "lines with ts={letters}");
    }
    for (reason, count) in [
        ("rate_limited", LIMITED),
        ("too_many_connections", LIMITED / 2),
        ("unknown_sni", DROPPED),
        ("no_sni", DROPPED),
        ("not_tls", DROPPED),
        ("malformed_hello", DROPPED),
        ("hello_timeout", DROPPED),
        ("closed_early", DROPPED),
    ] {
        metrics.check(&format!("fiscalismia_lb_drops_total{{reason=\"{reason}\"}}"), count);
    }
    let denied = "haproxy_frontend_requests_denied_total{proxy=\"https_ingress\"}";
    assert_eq!(metrics.sum("fiscalismia_lb_drops_total").to_string(), metrics.value(denied).to_string());
}

/// What routes and servers count, and that it adds up to what the frontend counts.
fn check_routes(metrics: &Exposition) {
    let frontend =
        |name: &str, count| metrics.check(&format!("haproxy_frontend_{name}{{proxy=\"https_ingress\"}}"), count);
    frontend("connections_total", ALL);
    frontend("sessions_total", ALL - LIMITED - LIMITED / 2);
    frontend("denied_connections_total", LIMITED + LIMITED / 2);
    frontend("request_errors_total", 4 * DROPPED);
    metrics.check("haproxy_process_connections_total", ALL);

    let backend =
        |route: &str, name: &str, count| metrics.check(&format!("haproxy_backend_{name}{{proxy=\"{route}\"}}"), count);
    let bytes = (hello("fine.test").len() + PING.len()) as u64;
    for (name, count) in [
        ("sessions_total", FINE + CLIENT_BROKE),
        ("connection_attempts_total", FINE + CLIENT_BROKE),
        ("loadbalanced_total", FINE + CLIENT_BROKE),
        ("client_aborts_total", CLIENT_BROKE),
        ("server_aborts_total", 0),
        ("connection_errors_total", 0),
        ("bytes_in_total", (FINE + CLIENT_BROKE) * bytes),
        ("bytes_out_total", (FINE + CLIENT_BROKE) * (bytes + NAME.len() as u64 + 1)),
    ] {
        backend("fine", name, count);
    }
    for (route, tried) in [("refusing", REFUSED), ("hole", CONNECT_TIMEOUT)] {
        backend(route, "sessions_total", tried);
        backend(route, "connection_attempts_total", 2 * tried);
        backend(route, "retry_warnings_total", tried);
        backend(route, "redispatch_warnings_total", 0);
        backend(route, "connection_errors_total", tried);
        backend(route, "loadbalanced_total", tried);
    }
    backend("down", "connection_errors_total", NO_SERVER);
    backend("down", "connection_attempts_total", 0);
    backend("far", "client_aborts_total", CLIENT_LEFT);
    backend("far", "connection_errors_total", 0);
    backend("breaking", "server_aborts_total", SERVER_BROKE);
    backend("breaking", "response_errors_total", SERVER_BROKE);
    backend("talking", "client_aborts_total", CLIENT_SILENT);
    backend("silent", "server_aborts_total", SERVER_SILENT);
    // Either server had its turn first; who got the dead one had to go on to the other.
    let dead = |name: &str| metrics.value(&format!("haproxy_server_{name}{{proxy=\"half\",server=\"dead\"}}")) as u64;
    let tried_dead = dead("connection_attempts_total");
    assert!((1..REDISPATCHED).contains(&tried_dead), "{tried_dead}");
    assert_eq!((dead("redispatch_warnings_total"), dead("retry_warnings_total")), (tried_dead, 0));
    assert_eq!((dead("connection_errors_total"), dead("loadbalanced_total")), (0, tried_dead));
    metrics.check("haproxy_server_connection_attempts_total{proxy=\"half\",server=\"alive\"}", REDISPATCHED);
    backend("half", "redispatch_warnings_total", tried_dead);
    backend("half", "sessions_total", REDISPATCHED);

    for name in ["bytes_in_total", "bytes_out_total"] {
        frontend(name, metrics.sum(&format!("haproxy_backend_{name}")) as u64);
    }
    let reached = FINE + REDISPATCHED + CLIENT_BROKE + SERVER_BROKE + CLIENT_SILENT + SERVER_SILENT;
    metrics.check("fiscalismia_lb_connect_duration_seconds_count", reached);
    let whole = reached + 2 * DROPPED + REFUSED + NO_SERVER + CONNECT_TIMEOUT + CLIENT_LEFT;
    metrics.check("fiscalismia_lb_hello_size_bytes_count", whole);
}

/// Nothing is open: nothing may be shown as open.
fn check_gauges(metrics: &Exposition) {
    for name in [
        "haproxy_process_current_connections",
        "haproxy_process_pipes_used_total",
        "haproxy_frontend_current_sessions",
        "haproxy_backend_current_sessions",
        "haproxy_backend_current_queue",
        "haproxy_server_current_sessions",
        "fiscalismia_lb_connections",
        "fiscalismia_lb_half_closed_connections",
    ] {
        assert!(metrics.sum(name).abs() < f64::EPSILON, "{name} is not 0");
    }
}

impl Exposition {
    fn check(&self, series: &str, expected: u64) {
        assert_eq!(self.value(series).to_string(), expected.to_string(), "{series}");
    }
}

fn route(stats: &Value, name: &str) -> Value {
    stats["routes"].as_array().unwrap().iter().find(|route| route["name"] == name).unwrap().clone()
}

/// A connection of which nothing is wrong.
fn fine(mut client: Client) {
    begin(&mut client, "fine.test");
    finish(client);
}

/// Talks to an echo.
fn begin(client: &mut Client, name: &str) {
    let hello = hello(name);
    client.send(&hello).send(PING);
    assert_eq!(client.greeting(), NAME);
    client.expect(&hello).expect(PING);
}

fn finish(mut client: Client) {
    client.finish();
    assert_eq!(client.end(), End::Fin);
}

/// A connection that is closed for what it says.
fn dropped(mut client: Client, bytes: &[u8]) {
    client.send(bytes);
    assert_ne!(client.end(), End::Silence);
}

/// Connections that say `bytes` and wait for their end, all at once.
fn at_once(proxy: &Proxy, count: u64, bytes: &[u8]) {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = proxy.connect();
        client.send(bytes);
        clients.push(client);
    }
    for client in &mut clients {
        assert_ne!(client.end(), End::Silence);
    }
}

/// `count` in parts.
fn split(count: u64, parts: u64) -> Vec<u64> {
    (0..parts).map(|part| count / parts + u64::from(part < count % parts)).collect()
}
