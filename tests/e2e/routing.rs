//! The route that a hello gets.
use std::net::IpAddr;

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use serde_json::json;

use crate::kit::client::{Client, End};
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;

/// Without this, a hello gets another route: exact beats wildcard beats `*`, a wildcard is one label, and `alpn` beats
/// none.
#[test]
fn exact_wildcard_default_and_alpn() {
    let names = ["exact", "wildcard", "deeper", "h2", "default"];
    let origins = names.map(Origin::echo);
    let [exact, wildcard, deeper, h2, default] = origins.each_ref().map(Origin::server);
    let proxy = Proxy::start(json!({
        "routes": {
            "default": { "sni": ["*"], "servers": [default] },
            "wildcard": { "sni": ["*.a.test"], "servers": [wildcard] },
            "deeper": { "sni": ["*.deep.a.test"], "servers": [deeper] },
            "exact": { "sni": ["x.a.test", "a.test"], "servers": [exact] },
            "h2": { "sni": ["x.a.test", "*.a.test"], "alpn": ["h2", "acme-tls/1"], "servers": [h2] }
        }
    }));
    for (sni, alpn, wanted) in [
        ("x.a.test", &[][..], "exact"),
        ("a.test", &[], "exact"),
        ("y.a.test", &[], "wildcard"),
        ("y.a.test", &["http/1.1"], "wildcard"),
        ("y.a.test", &["http/1.1", "h2"], "h2"),
        ("x.a.test", &["acme-tls/1"], "h2"),
        ("a.test", &["h2"], "exact"),
        ("y.x.a.test", &[], "default"),
        ("y.deep.a.test", &["h2"], "deeper"),
        ("deep.a.test", &[], "wildcard"),
        ("b.test", &["h2"], "default"),
        ("127.0.0.1", &[], "default"),
    ] {
        let mut hello = HelloBuilder::new().sni(sni);
        if !alpn.is_empty() {
            hello = hello.alpn(alpn);
        }
        assert_eq!(route_of(&proxy, &hello), wanted, "{sni} {alpn:?}");
    }
    assert_eq!(route_of(&proxy, &HelloBuilder::new()), "default", "no name at all");
}

/// Without this, a hello with an unknown name or none gets some route although there is no `*`.
#[test]
fn without_a_default_other_names_are_refused() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["*.a.test"], "servers": [origin.server()] } },
        "reject": "close"
    }));
    for hello in [HelloBuilder::new().sni("a.test"), HelloBuilder::new()] {
        let mut client = proxy.connect();
        assert_eq!(client.send(&hello.build()).rest(), (Vec::new(), End::Fin));
    }
    assert_eq!(route_of(&proxy, &HelloBuilder::new().sni("b.a.test")), "a");
}

/// Without this, an address of `listen` does not serve every route.
#[test]
fn two_listeners() {
    let origin = Origin::echo("a");
    let listen = [crate::kit::places::free_address(), crate::kit::places::free_address()];
    let _proxy = Proxy::start(json!({
        "listen": listen,
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } }
    }));
    for address in listen {
        let mut client = Client::connect(address);
        assert_eq!(client.hello("a.test").greeting(), "a");
        assert_eq!(origin.header_of(client.address).destination, Some(address));
    }
}

fn route_of(proxy: &Proxy, hello: &HelloBuilder) -> String {
    let mut client = proxy.connect();
    client.send(&hello.clone().build()).greeting()
}

/// Without this, a client from elsewhere reaches a server for some networks only, or no client does.
#[test]
fn allow_from_lets_in_who_is_in_it() {
    let origin = Origin::echo("inner");
    let proxy = Proxy::start(json!({
        "routes": { "inner": { "sni": ["inner.test"], "servers": [origin.server()], "allow_from": ["127.0.9.0/24"] } },
        "reject": "alert"
    }));
    let mut guest = Client::connect_from(IpAddr::from([127, 0, 9, 7]), proxy.address);
    assert_eq!(guest.hello("inner.test").greeting(), "inner");
    let mut stranger = Client::connect_from(IpAddr::from([127, 0, 8, 7]), proxy.address);
    // The very alert of a name that is nowhere.
    assert_eq!(stranger.hello("inner.test").rest(), (b"\x15\x03\x03\x00\x02\x02\x70".to_vec(), End::Fin));
    let close = proxy.close_of(stranger.address);
    assert_eq!((close.field("drop"), close.ts()), ("SNI_REJECTED", "PR"));
    let said = proxy.entry(stranger.address, "TCP-REQ-CONT");
    assert!(said.text.contains("not from that address"), "{}", said.text);
}

/// Without this, `on_all_down` "try" refuses the clients of a route whose servers only seem down.
#[test]
fn on_all_down_tries_all_the_same() {
    let origin = Origin::echo("a");
    let nobody = free_address();
    let proxy = Proxy::start(json!({ "routes": { "r": {
        "sni": ["r.test"], "servers": [{ "name": "a", "address": origin.address }], "on_all_down": "try",
        "health_check": { "interval": "100ms", "port": nobody.port() }
    } } }));
    proxy.wait_for_notice("Server r/a is DOWN");
    assert_eq!(proxy.connect().hello("r.test").greeting(), "a");
}
