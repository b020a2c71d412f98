//! Routes with addresses of their own: tables of names, and plain TCP where the server may speak first.
use std::io::Write;
use std::net::SocketAddr;

use serde_json::json;

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::origin::{Expect, Origin, echo};
use crate::kit::places::free_address;
use crate::kit::proxy::{Launch, Proxy};
use crate::tls_probes::metric;

/// The line of the log that has all of these.
fn line(proxy: &Proxy, parts: &[&str]) -> String {
    proxy.lines.wait(0, |from, line| {
        (from == From::Stdout && parts.iter().all(|part| line.contains(part))).then(|| line.to_owned())
    })
}

/// Without this, a database or mail server that greets first never reaches its client.
#[test]
fn a_server_may_speak_first() {
    for (protocol, expect) in [("off", Expect::Nothing), ("v1", Expect::Header), ("v2", Expect::Header)] {
        let (database, at) = (Origin::serve(expect, echo("database")), free_address());
        let proxy = Proxy::start(json!({ "routes": {
            "db": { "listen": [at], "servers": [database.address], "proxy_protocol": protocol },
            "web": { "sni": ["a.test"], "servers": ["127.0.0.1:1"] }
        } }));
        let mut client = Client::connect(at);
        assert_eq!(client.greeting(), "database");
        client.send(b"not TLS").expect(b"not TLS").send(&hello("a.test")).expect(&hello("a.test")).finish();
        assert_eq!(client.end(), End::Fin);
        if expect == Expect::Header {
            let header = database.header_of(client.address);
            assert_eq!(header.destination, Some(at), "{protocol}");
        }
        let client = client.address.to_string();
        line(&proxy, &[&client, "] db ACCEPT ac=1 fc=1"]);
        line(&proxy, &[&client, "] db db/", " CONNECT ", " fc=1 bc=1 sc=1"]);
        line(&proxy, &[&client, "] db db/", " CLOSE ", " ts=-- "]);
    }
}

/// Without this, a plain TCP client is not retried on another server, or waits although no server is up.
#[test]
fn plain_tcp_finds_another_server() {
    let (good, at, none) = (Origin::serve(Expect::Nothing, echo("good")), free_address(), free_address());
    let dead = free_address();
    let off = json!({ "type": "off" });
    let proxy = Proxy::start(json!({
        "listen": [free_address()],
        "reject": "alert",
        "retries": 1,
        "routes": {
            "db": { "listen": [at], "servers": [dead, good.address], "proxy_protocol": "off", "health_check": off },
            "gone": { "listen": [none], "servers": [dead], "proxy_protocol": "off", "health_check": off },
            "web": { "sni": ["a.test"], "servers": ["127.0.0.1:1"] }
        }
    }));
    for _ in 0..2 {
        assert_eq!(Client::connect(at).greeting(), "good");
    }
    // An alert would be noise to a client that speaks no TLS.
    assert_eq!(Client::connect(none).rest(), (Vec::new(), End::Fin));
    line(&proxy, &["] gone gone/", " CLOSE ", " ts=SC "]);
}

/// Without this, a name gets the route of another address.
#[test]
fn names_hold_where_their_route_listens() {
    let (public, admin, api, rest) =
        (Origin::echo("public"), Origin::echo("admin"), Origin::echo("api"), Origin::echo("rest"));
    let (inner, top) = (free_address(), free_address());
    let proxy = Proxy::start(json!({
        "listen": [top],
        "reject": "close",
        "routes": {
            "web": { "sni": ["a.test"], "servers": [public.address] },
            "web-inner": { "listen": [inner], "sni": ["a.test"], "servers": [admin.address] },
            "api": { "listen": [inner], "sni": ["**.a.test"], "servers": [api.address] },
            "rest": { "listen": [inner], "sni": ["*"], "alpn": ["h2"], "servers": [rest.address] }
        }
    }));
    for (to, name, expected) in [
        (top, "a.test", Some("public")),
        (top, "x.y.a.test", None),
        (inner, "a.test", Some("admin")),
        (inner, "x.y.a.test", Some("api")),
        (inner, "b.test", None),
    ] {
        let mut client = Client::connect(to);
        client.hello(name);
        match expected {
            Some(expected) => assert_eq!(client.greeting(), expected, "{to} {name}"),
            None => assert_eq!(client.end(), End::Fin, "{to} {name}"),
        }
    }
    // Whoever shares addresses comes in at the first that has them; keys of this JSON are in the order of the alphabet.
    line(&proxy, &["] api web-inner/", " CONNECT "]);
    line(&proxy, &["] api api/<NOSRV> CLOSE drop=SNI_REJECTED "]);
}

/// Without this, plain TCP clients have no limits, or a refused one is kept waiting for a hello.
#[test]
fn limits_hold_for_plain_tcp() {
    let (database, at) = (Origin::serve(Expect::Nothing, echo("database")), free_address());
    let proxy = Proxy::start(json!({
        "reject": "close",
        "limits": { "per_source": { "rate": 2, "period": "1m" } },
        "routes": {
            "db": { "listen": [at], "servers": [database.address], "proxy_protocol": "off" },
            "web": { "sni": ["a.test"], "servers": ["127.0.0.1:1"] }
        }
    }));
    for _ in 0..2 {
        assert_eq!(Client::connect(at).greeting(), "database");
    }
    let mut third = Client::connect(at);
    assert_eq!(third.end(), End::Fin);
    line(&proxy, &[&third.address.to_string(), "] db db/<NOSRV> CLOSE drop=RATE_LIMITED "]);
}

/// Without this, a reload does not open a new address, leaves a removed one open, or closes one that moves to another
/// route.
#[test]
fn reloads_open_and_close_addresses_of_routes() {
    let (one, two) = (Origin::serve(Expect::Nothing, echo("one")), Origin::serve(Expect::Nothing, echo("two")));
    let (first, second) = (free_address(), free_address());
    let route = |listen: SocketAddr, origin: &Origin| json!({ "listen": [listen], "servers": [origin.address], "proxy_protocol": "off" });
    let web = json!({ "sni": ["a.test"], "servers": ["127.0.0.1:1"] });
    let proxy = Proxy::start(json!({ "routes": { "a": route(first, &one), "web": web } }));
    let mut early = Client::connect(first);
    assert_eq!(early.greeting(), "one");
    proxy.reload(json!({ "routes": { "a": route(second, &one), "b": route(first, &two), "web": web } }));
    assert_eq!(Client::connect(first).greeting(), "two");
    assert_eq!(Client::connect(second).greeting(), "one");
    proxy.reload(json!({ "routes": { "web": web } }));
    assert!(std::net::TcpStream::connect(first).is_err());
    early.send(b"still there").expect(b"still there");
    proxy.reload(json!({ "routes": { "a": route(first, &two), "web": web } }));
    assert_eq!(Client::connect(first).greeting(), "two");
}

/// Without this, a reload that removes the first of the routes at shared addresses refuses clients whose hello is on its
/// way.
#[test]
fn a_reload_keeps_clients_of_shared_addresses() {
    let (one, two, shared) = (Origin::echo("a"), Origin::echo("b"), free_address());
    let route =
        |name: &str, origin: &Origin| json!({ "listen": [shared], "sni": [name], "servers": [origin.server()] });
    let web = json!({ "sni": ["web.test"], "servers": ["127.0.0.1:1"] });
    let proxy = Proxy::start(json!({
        "reject": "close",
        "routes": { "a": route("a.test", &one), "b": route("b.test", &two), "web": web }
    }));
    let mut client = Client::connect(shared);
    let hello = hello("b.test");
    client.send(&hello[..50]);
    line(&proxy, &[&client.address.to_string(), "] a ACCEPT "]);
    proxy.reload(json!({ "reject": "close", "routes": { "b": route("b.test", &two), "web": web } }));
    assert_eq!(client.send(&hello[50..]).greeting(), "b");
}

/// Without this, drops at a route's own addresses count at https after a reload that removes these, until one that has
/// them again.
#[test]
fn drops_stay_where_they_were_counted() {
    let (origin, admin, own) = (Origin::echo("a"), free_address(), free_address());
    let without = json!({
        "reject": "close",
        "admin": { "listen": [admin] },
        "routes": { "web": { "sni": ["a.test"], "servers": [origin.server()] } }
    });
    let mut with = without.clone();
    with["routes"]["own"] = json!({ "listen": [own], "sni": ["b.test"], "servers": [origin.server()] });
    let proxy = Proxy::start(with.clone());
    assert_eq!(Client::connect(own).send(b"GET / HTTP/1.1\r\n\r\n").end(), End::Fin);
    let errors =
        |frontend: &str| metric(admin, &format!("haproxy_frontend_request_errors_total{{proxy=\"{frontend}\"}}"));
    assert_eq!((errors("own"), errors("https_ingress")), (1, 0));
    proxy.reload(without);
    assert_eq!(errors("https_ingress"), 0, "without the route");
    proxy.reload(with);
    assert_eq!(errors("https_ingress"), 0, "with the route again");
}

/// Without this, panels show a listener's clients at another frontend, or nowhere.
#[test]
fn each_listener_is_a_frontend() {
    let (database, web) = (Origin::serve(Expect::Nothing, echo("database")), Origin::echo("web"));
    let (at, admin) = (free_address(), free_address());
    let proxy = Proxy::start(json!({
        "admin": { "listen": [admin] },
        "routes": {
            "db": { "listen": [at], "servers": [database.address], "proxy_protocol": "off" },
            "web": { "sni": ["a.test"], "servers": [web.address] }
        }
    }));
    let mut open = Client::connect(at);
    open.greeting();
    open.send(b"12345").expect(b"12345");
    let mut closed = Client::connect(at);
    closed.greeting();
    closed.finish().end();
    proxy.connect().hello("a.test").greeting();
    line(&proxy, &["] https_ingress ", " CLOSE "]);
    line(&proxy, &["] db ", " CLOSE "]);
    let metrics = get(admin, "/metrics");
    for expected in [
        "haproxy_frontend_status{proxy=\"db\",state=\"UP\"} 1",
        "haproxy_frontend_current_sessions{proxy=\"db\"} 1",
        "haproxy_frontend_max_sessions{proxy=\"db\"} 2",
        "haproxy_frontend_connections_total{proxy=\"db\"} 2",
        "haproxy_frontend_bytes_in_total{proxy=\"db\"} 5",
        "haproxy_frontend_bytes_out_total{proxy=\"db\"} 23",
        "haproxy_frontend_connections_total{proxy=\"https_ingress\"} 1",
        "haproxy_frontend_current_sessions{proxy=\"https_ingress\"} 0",
        "haproxy_backend_sessions_total{proxy=\"db\"} 2",
        "haproxy_process_connections_total 3",
    ] {
        assert!(metrics.lines().any(|line| line == expected), "no {expected} in\n{metrics}");
    }
}

fn get(admin: SocketAddr, path: &str) -> String {
    let mut client = Client::connect(admin);
    client.stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    String::from_utf8(client.rest().0).unwrap()
}

/// Without this, a route's socket from systemd is not used, and a restart refuses clients.
#[test]
fn a_socket_by_the_route_s_name() {
    let (database, at) = (Origin::serve(Expect::Nothing, echo("database")), free_address());
    let launch =
        Launch { before: "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_FDNAMES=db LISTEN_PID=$$", ..listening(at) };
    let config = json!({ "listen": [free_address()], "routes": {
        "db": { "listen": [at], "servers": [database.address], "proxy_protocol": "off" },
        "web": { "sni": ["a.test"], "servers": ["127.0.0.1:1"] }
    } });
    let proxy = Proxy::launch(config, launch);
    assert_eq!(Client::connect(at).greeting(), "database");
    proxy.wait_for_notice(&format!("Listening on {at} for db, on a socket from systemd."));
}

fn listening(at: SocketAddr) -> Launch {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&at.into()).unwrap();
    socket.listen(128).unwrap();
    Launch { stdin: Some(socket.into()), ..Launch::default() }
}

/// Without this, a file needs `listen` even if every route has its own.
#[test]
fn only_addresses_of_routes() {
    let (database, at) = (Origin::serve(Expect::Header, echo("database")), free_address());
    let config = json!({ "routes": { "db": { "listen": [at], "servers": [database.address] } } });
    let _proxy = Proxy::launch_as(&config, at, Launch::default());
    assert_eq!(Client::connect(at).greeting(), "database");
}
