//! The bytes of a probe beyond its question, and what its result says about a server, the network and this host.
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::kit::PATIENCE;
use crate::kit::namespace::{add_ipv6, in_namespace, sh};
use crate::kit::origin::{Expect, Origin, echo};
use crate::kit::places::{free_address, free_address_of};
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

/// Without this, a server that requires version 1 is always down, or takes a probe for a client.
#[test]
fn a_probe_of_a_v1_route_tells_its_own_addresses() {
    in_namespace(concat!(module_path!(), "::a_probe_of_a_v1_route_tells_its_own_addresses"), || {
        add_ipv6(&["2001:db8::1"]);
        for ip in ["127.0.0.1", "2001:db8::1"] {
            for (kind, next) in [("tcp", &b""[..]), ("tls", b"\x16\x03\x01"), ("http", b"GET ")] {
                let (sender, probes) = mpsc::channel();
                let at = free_address_of(ip.parse().unwrap());
                let origin = Origin::serve_at(at, Expect::Nothing, move |visit| {
                    let source = visit.peer;
                    let (mut stream, mut line, mut rest) = (BufReader::new(visit.stream), String::new(), Vec::new());
                    stream.read_line(&mut line).unwrap();
                    // A probe ends with a reset.
                    drop(stream.take(next.len() as u64).read_to_end(&mut rest));
                    drop(sender.send((line, rest, source)));
                });
                let _proxy = start(&origin.server(), json!({ "type": kind }), "v1");
                let (line, rest, from) = probes.recv_timeout(PATIENCE).unwrap();
                let family = if at.is_ipv4() { "TCP4" } else { "TCP6" };
                assert_eq!(line, format!("PROXY {family} {} {} {} {}\r\n", from.ip(), at.ip(), from.port(), at.port()));
                assert_eq!(rest, next);
            }
        }
    });
}

/// Without this, a missing certificate looks like a firewall. HAProxy names a reset after the connect by the layer that
/// waited.
#[test]
fn a_reset_after_the_connect_is_told_from_one_of_the_connect() {
    for (kind, words) in [("tls", "Layer6 invalid response"), ("http", "Socket error")] {
        let origin = Origin::serve(Expect::Nothing, |mut visit| {
            drop(visit.stream.read(&mut [0; 1]));
            // What is unread makes the kernel answer with a reset.
            drop(visit);
        });
        let proxy = start(&origin.server(), json!({ "type": kind }), "off");
        let line = proxy.wait_for_notice("Server r/s is DOWN");
        assert!(line.contains(&format!("reason: {words}, info: \"Connection reset by peer\"")), "{line}");
    }
}

/// Without this, a local port without a listener counts as up: the kernel may give a probe that very port, which
/// connects to itself.
#[test]
fn a_connection_to_itself_is_no_server() {
    in_namespace(concat!(module_path!(), "::a_connection_to_itself_is_no_server"), || {
        let dead: SocketAddr = "127.0.0.1:40001".parse().unwrap();
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40001 40001").unwrap();
        let proxy = start(&json!(dead), json!({ "type": "tcp" }), "v2");
        let line = proxy.wait_for_notice("Server r/s is DOWN");
        assert!(line.contains("Layer4 connection problem, info: \"Connection refused\""), "{line}");
        // Nor does it stand in the way of the server that is to come, and has that port then.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40001 40999").unwrap();
        let origin = Origin::serve_at(dead, Expect::Header, echo("a"));
        wait_until("a probe", || origin.probes() > 0);
        proxy.wait_for_notice("Server r/s is UP");
    });
}

/// Without this, a client of a local server that is down gets its own bytes back.
#[test]
fn a_client_is_not_connected_to_the_proxys_own_socket() {
    in_namespace(concat!(module_path!(), "::a_client_is_not_connected_to_the_proxys_own_socket"), || {
        let proxy = Proxy::start(json!({
            "routes": { "r": { "sni": ["exact.test"], "servers": ["127.0.0.1:40001"] } },
            "health_check": { "type": "off" },
            "retries": 0
        }));
        let mut client = proxy.connect();
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40001 40001").unwrap();
        client.hello("exact.test");
        assert_eq!(proxy.close_of(client.address).field("ts"), "SC");
    });
}

/// Without this, a host whose network comes up late refuses its first clients for some probe intervals.
#[test]
fn a_network_that_is_not_there_yet_is_no_verdict() {
    in_namespace(concat!(module_path!(), "::a_network_that_is_not_there_yet_is_no_verdict"), || {
        let server: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let proxy = start(&json!(server), json!({ "type": "tcp", "fall": 1, "rise": 1 }), "v2");
        proxy.wait_for_notice("Server r/s: no verdict, \"Network is unreachable\"; it counts as before.");
        sh("ip addr add 192.0.2.1/32 dev lo");
        let origin = Origin::serve_at(server, Expect::Header, echo("a"));
        wait_until("a probe", || origin.probes() > 0);
        assert_eq!(proxy.connect().hello("exact.test").greeting(), "a");
        assert!(!proxy.other_lines().iter().any(|line| line.contains("Server r/s is")), "{:?}", proxy.lines);
        // Once a probe has passed, the same says something: whoever was reachable is not any more.
        sh("ip addr del 192.0.2.1/32 dev lo");
        let line = proxy.wait_for_notice("Server r/s is DOWN");
        assert!(line.contains("Network is unreachable"), "{line}");
        let notices = proxy.other_lines().iter().filter(|line| line.contains("no verdict")).count();
        assert_eq!(notices, 1, "one line for all tries in a row");
        // The origin ends by a connection.
        sh("ip addr add 192.0.2.1/32 dev lo");
    });
}

/// Without this, the log has a DOWN line without its UP line, and an alert made of both never ends.
#[test]
fn a_server_that_comes_up_by_a_reload_is_logged() {
    let config = |address: SocketAddr, check: Value| {
        json!({ "routes": { "r": { "sni": ["exact.test"], "servers": [{ "name": "s", "address": address }] } },
                "health_check": check })
    };
    let origin = Origin::echo("a");
    let (dead, check) = (free_address(), json!({ "interval": "60s", "fall": 1 }));
    let down = |proxy: &Proxy, start: usize| {
        proxy.lines.wait(start, |_, line| line.contains("Server r/s is DOWN").then_some(()));
    };
    let up = |proxy: &Proxy, start: usize, why: &str| {
        let wanted = format!("Server r/s is UP, reason: {why}. 1 active and 0 backup servers online.");
        proxy.lines.wait(start, |_, line| line.contains(&wanted).then_some(()));
    };
    let proxy = Proxy::start(config(dead, check.clone()));
    down(&proxy, 0);
    let mark = proxy.lines.len();
    proxy.reload(config(origin.address, check.clone()));
    up(&proxy, mark, "its address has changed");

    proxy.reload(config(free_address(), check.clone()));
    down(&proxy, mark);
    let mark = proxy.lines.len();
    proxy.reload(config(dead, json!({ "type": "off" })));
    up(&proxy, mark, "its address has changed");

    proxy.reload(config(dead, check.clone()));
    down(&proxy, mark);
    let mark = proxy.lines.len();
    proxy.reload(config(dead, json!({ "type": "off" })));
    up(&proxy, mark, "its checks are off");

    proxy.reload(config(dead, check.clone()));
    down(&proxy, mark);
    let mut other = config(dead, check.clone());
    other["routes"]["r"]["servers"][0]["name"] = json!("other");
    proxy.reload(other);
    let mark = proxy.lines.len();
    proxy.reload(config(dead, check));
    up(&proxy, mark, "it is in the configuration again");
}

fn start(server: &Value, mut check: Value, version: &str) -> Proxy {
    if check["interval"].is_null() {
        check["interval"] = json!("100ms");
    }
    let server = json!({ "address": server, "name": "s" });
    let route = json!({ "sni": ["exact.test"], "servers": [server], "health_check": check, "proxy_protocol": version });
    Proxy::start(json!({ "routes": { "r": route } }))
}
