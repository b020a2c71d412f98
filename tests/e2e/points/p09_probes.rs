//! 9. A probe sends the LOCAL header whole, and nothing else.
use std::io::Read;
use std::sync::mpsc;

use serde_json::json;

use crate::kit::PATIENCE;
use crate::kit::client::{Client, End};
use crate::kit::origin::{Expect, Origin};
use crate::kit::proxy::Proxy;

/// Version 2, LOCAL, UNSPEC, length 0: PROXY protocol, section 2.2.
const LOCAL: [u8; 16] = *b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00";

/// Without this, a probe sends other bytes than a LOCAL header, passes too early, or leaves a `TIME_WAIT`.
#[test]
fn a_tcp_probe_is_a_local_header_and_a_reset() {
    let (sender, probes) = mpsc::channel();
    let origin = Origin::serve(Expect::Nothing, move |mut visit| {
        let mut header = [0; 16];
        visit.stream.read_exact(&mut header).unwrap();
        drop(sender.send((header, Client::new(visit.stream).rest())));
    });
    let _proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "health_check": { "interval": "100ms" }
    }));
    for _ in 0..3 {
        let (header, rest) = probes.recv_timeout(PATIENCE).unwrap();
        assert_eq!(header, LOCAL);
        // HAProxy resets as well: no TIME_WAIT is left for each probe.
        assert_eq!(rest, (Vec::new(), End::Reset));
    }
}

/// Without this, a server that expects no PROXY header gets one from a probe.
#[test]
fn without_a_header_a_tcp_probe_sends_nothing() {
    for route in [json!({ "proxy_protocol": "off" }), json!({ "health_check": { "proxy_header": false } })] {
        let (sender, probes) = mpsc::channel();
        let origin = Origin::serve(Expect::Nothing, move |visit| {
            drop(sender.send(Client::new(visit.stream).rest()));
        });
        let mut route = route;
        route["sni"] = json!(["a.test"]);
        route["servers"] = json!([origin.server()]);
        let _proxy = Proxy::start(json!({ "routes": { "a": route } }));
        assert_eq!(probes.recv_timeout(PATIENCE).unwrap(), (Vec::new(), End::Reset));
    }
}
