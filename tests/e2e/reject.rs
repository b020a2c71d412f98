//! What a refused client sees.
use std::net::SocketAddr;
use std::time::Duration;

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use fiscalismia_lb::wire::proxy_header::{MAX_LEN, Tlvs, v2};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::namespace::{ON_LB, in_namespace, sh, two_networks};
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::proxy::{Launch, Proxy};

/// Without this, `reject` "close" sends bytes or a reset.
#[test]
fn close_is_a_fin_and_no_byte() {
    let proxy = start("close");
    for (what, bytes) in refused() {
        assert_eq!(proxy.connect().send(&bytes).rest(), (Vec::new(), End::Fin), "{what}");
    }
    assert_eq!(proxy.connect().rest(), (Vec::new(), End::Fin), "nothing at all");
}

/// Without this, `reject` "alert" sends a wrong alert, or none.
#[test]
fn alert_says_why_in_tls() {
    const UNRECOGNIZED_NAME: u8 = 0x70;
    const DECODE_ERROR: u8 = 0x32;
    const INTERNAL_ERROR: u8 = 0x50;
    let proxy = start("alert");
    let alert = |bytes: &[u8]| {
        let (got, end) = proxy.connect().send(bytes).rest();
        assert_eq!(end, End::Fin);
        // Record: alert, a version of TLS, two bytes: fatal, and which.
        assert!(matches!(got[..], [0x15, 0x03, 0x01..=0x03, 0x00, 0x02, 0x02, _]), "{got:x?}");
        got[6]
    };
    for (what, bytes) in refused() {
        let wanted = if what.contains("name") { UNRECOGNIZED_NAME } else { DECODE_ERROR };
        assert_eq!(alert(&bytes), wanted, "{what}");
    }
    assert_eq!(alert(&hello("down.test")), INTERNAL_ERROR, "no server is up");
    // Too late; what fits is not said anywhere.
    alert(&hello("a.test")[..20]);
}

/// Without this, a refused client that sends more gets a reset, which overtakes the alert.
#[test]
fn an_alert_comes_before_the_end() {
    let proxy = start("alert");
    proxy.halt();
    let mut client = proxy.connect();
    // More than is read of a hello, less than the kernel keeps for a program that does not read.
    client.send(&vec![b'G'; 110_000]);
    proxy.signal(Signal::CONT);
    let (got, end) = client.rest();
    assert_eq!((got.len(), end), (7, End::Fin));
}

/// Without this, a dropped client that sends more sees an end beyond the first router.
#[test]
fn drop_is_silence_beyond_a_router() {
    in_namespace(concat!(module_path!(), "::drop_is_silence_beyond_a_router"), || {
        sh("
            new router; new lb
            ip link add out type veth peer name in netns $LB_E2E_HOSTS/router
            at router ip link add on type veth peer name end netns $LB_E2E_HOSTS/lb
            ip addr add 198.51.100.2/24 dev out; ip link set dev out up; ip route add default via 198.51.100.1
            at router ip addr add 198.51.100.1/24 dev in; at router ip link set dev in up
            at router ip addr add 203.0.113.1/24 dev on; at router ip link set dev on up
            at router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
            at lb ip addr add 203.0.113.2/24 dev end; at lb ip link set dev end up
            at lb ip route add default via 203.0.113.1
        ");
        let mut config = config("drop");
        config["listen"] = json!(["203.0.113.2:443"]);
        let proxy = Proxy::launch(config, Launch { within: ON_LB, ..Launch::default() });
        for (what, bytes) in refused() {
            let mut client = proxy.connect();
            assert_eq!(client.send(&bytes).end_within(Duration::from_millis(700)), End::Silence, "{what}");
            let close = proxy.close_of(client.address);
            assert_eq!((close.field("drop"), close.ts()), ("SNI_REJECTED", "PR"), "{what}");
        }
        // The way is open for the end that is meant to be seen: of a route whose server is down.
        let mut client = proxy.connect();
        client.hello("down.test");
        assert_ne!(client.end(), End::Silence);
    });
}

/// Without this, `drop` sends a reset beyond the first router to a balancer whose client has an address of the other
/// family.
#[test]
fn drop_is_silence_whatever_the_told_address() {
    in_namespace(concat!(module_path!(), "::drop_is_silence_whatever_the_told_address"), || {
        two_networks();
        let mut config = config("drop");
        config["listen"] = json!(["203.0.113.2:443"]);
        config["accept_proxy"] = json!({ "from": ["198.51.100.2/32"] });
        let proxy = Proxy::launch(config, Launch { within: ON_LB, ..Launch::default() });
        for source in ["192.0.2.1:1", "[2001:db8::1]:1"] {
            let source: SocketAddr = source.parse().unwrap();
            let mut room = [0; MAX_LEN];
            let destination = "198.51.100.7:443".parse().unwrap();
            let header = v2(&mut room, source, destination, &Tlvs::default());
            let mut client = proxy.connect();
            client.send(header).hello("b.test");
            assert_eq!(client.end_within(Duration::from_millis(700)), End::Silence, "{source}");
            assert_eq!(proxy.close_of(source).field("drop"), "SNI_REJECTED", "{source}");
        }
    });
}

fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let mut oversized = hello("a.test");
    oversized[6] = 0xff;
    vec![
        ("an unknown name", hello("b.test")),
        ("no name", HelloBuilder::new().build()),
        ("two SNI extensions", HelloBuilder::new().sni("a.test").sni("a.test").build()),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("a hello that says it is 16 MB long", oversized),
    ]
}

fn start(reject: &str) -> Proxy {
    let proxy = Proxy::start(config(reject));
    proxy.wait_for_notice("Server down/s is DOWN");
    proxy
}

fn config(reject: &str) -> Value {
    json!({
        "routes": {
            // Nothing listens at either: what is refused never gets that far.
            "a": { "sni": ["a.test"], "servers": [free_address()], "health_check": { "type": "off" } },
            "down": { "sni": ["down.test"], "servers": [{ "address": free_address(), "name": "s" }] }
        },
        "timeouts": { "client_hello": "400ms" },
        "reject": reject
    })
}

/// Without this, a client with an unknown name makes a connection to a server.
#[test]
fn refused_clients_reach_no_server() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()], "health_check": { "type": "off" } } },
        "reject": "close"
    }));
    for (_, bytes) in refused() {
        Client::connect(proxy.address).send(&bytes).end();
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}
