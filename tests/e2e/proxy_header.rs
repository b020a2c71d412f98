//! The PROXY header that a server gets.
use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use serde_json::{Value, json};

use crate::kit::client::Client;
use crate::kit::hello::hello;
use crate::kit::origin::{Expect, Origin, echo};
use crate::kit::proxy::Proxy;

/// Without this, a server reads another address from a version 2 header, or refuses it.
#[test]
fn version_2_byte_by_byte() {
    let (origin, _proxy, client) = visit(json!({}), &HelloBuilder::new().sni("a.test"));
    let header = origin.header_of(client.address);
    let mut wanted = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c".to_vec();
    let (source, destination) = (client.address, client.stream.peer_addr().unwrap());
    for address in [source, destination] {
        let std::net::IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
        wanted.extend(ip.octets());
    }
    wanted.extend([source.port().to_be_bytes(), destination.port().to_be_bytes()].concat());
    assert_eq!(header.raw, wanted);
}

/// Without this, a server reads another address from a version 1 header, or refuses it.
#[test]
fn version_1_word_by_word() {
    let (origin, _proxy, client) = visit(json!({ "proxy_protocol": "v1" }), &HelloBuilder::new().sni("a.test"));
    let header = origin.header_of(client.address);
    let (source, destination) = (client.address, client.stream.peer_addr().unwrap());
    let wanted =
        format!("PROXY TCP4 {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port());
    assert_eq!(String::from_utf8(header.raw).unwrap(), wanted);
}

/// Without this, a server that expects no header gets one.
#[test]
fn off_means_that_the_hello_comes_first() {
    let origin = Origin::serve(Expect::Nothing, echo("bare"));
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "proxy_protocol": "off", "servers": [origin.server()] } }
    }));
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "bare");
    client.expect(&hello("a.test"));
}

/// Without this, a TLV is missing, the unique id differs from the log's, or the checksum is wrong (the parser checks
/// it).
#[test]
fn tlvs() {
    let route = json!({ "proxy_tlvs": ["authority", "alpn", "unique_id", "crc32c"] });
    let hello = HelloBuilder::new().sni("A.Test.").alpn(&["h2", "http/1.1"]);
    let (origin, proxy, client) = visit(route.clone(), &hello);
    let header = origin.header_of(client.address);
    assert_eq!(header.authority.unwrap().to_lowercase().trim_end_matches('.'), "a.test");
    assert_eq!(header.alpn.as_deref(), Some("h2"));
    assert!(header.crc32c);
    let id = format!("{:032x}", u128::from_be_bytes(header.unique_id.unwrap()));
    for step in ["CONNECT", "CLOSE"] {
        if step == "CLOSE" {
            drop(client.stream.shutdown(std::net::Shutdown::Both));
        }
        assert_eq!(proxy.entry(client.address, step).field("id"), id);
    }
    let (origin, _proxy, other) = visit(route, &HelloBuilder::new().sni("a.test"));
    let header = origin.header_of(other.address);
    assert_eq!(header.alpn, None, "there is no first protocol");
    assert_ne!(format!("{:032x}", u128::from_be_bytes(header.unique_id.unwrap())), id, "unique");
}

fn visit(mut route: Value, hello: &HelloBuilder) -> (Origin, Proxy, Client) {
    let origin = Origin::echo("a");
    route["sni"] = json!(["a.test"]);
    route["servers"] = json!([origin.server()]);
    let proxy = Proxy::start(json!({ "routes": { "a": route } }));
    let mut client = proxy.connect();
    assert_eq!(client.send(&hello.clone().build()).greeting(), "a");
    (origin, proxy, client)
}
