//! 3. The raw bytes are passed on exactly, with those after the hello.
use std::io::Read;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::kit::PATIENCE;
use crate::kit::hello::{hello, hello_of};
use crate::kit::namespace::{in_namespace, sh};
use crate::kit::origin::{Expect, Origin};
use crate::kit::proxy::Proxy;
use crate::kit::stream;

/// Without this, 0-RTT data in the hello's segment does not reach the server.
#[test]
fn early_data_in_the_hello_s_segment_goes_on_with_it() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({ "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } } }));
    let bytes = [hello("a.test"), vec![0xe7; 900]].concat();
    let mut client = proxy.connect();
    client.send(&bytes);
    assert_eq!(client.greeting(), "a");
    client.expect(&bytes);
}

/// Without this, a short write loses a part of PROXY header, hello or early data. Socket buffers of 4 KiB make the
/// first write short.
#[test]
fn header_and_hello_survive_short_writes() {
    const LEN: usize = 100_000;
    in_namespace(concat!(module_path!(), "::header_and_hello_survive_short_writes"), || {
        sh("for way in w r; do echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_${way}mem; done");
        let (sender, receiver) = std::sync::mpsc::channel();
        let origin = Origin::serve(Expect::Nothing, move |mut visit| {
            sleep(Duration::from_millis(100));
            let mut start = vec![0; HEADER + 15_900];
            visit.stream.read_exact(&mut start).unwrap();
            sender.send((start, stream::receive(&mut visit.stream, 3, |_| ()).unwrap())).unwrap();
        });
        let proxy = Proxy::start(json!({
            "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()], "health_check": { "type": "off" } } }
        }));
        let hello = hello_of("a.test", 15_900).build();
        let mut client = proxy.connect();
        client.send(&hello);
        stream::send(&mut client.stream, 3, LEN).unwrap();
        client.finish();
        let (start, came) = receiver.recv_timeout(PATIENCE).unwrap();
        assert!(start[HEADER..] == hello[..], "another hello arrived");
        assert_eq!(came, LEN);
    });
}

/// PROXY v2 for IPv4: signature, version, family, length, two addresses, two ports.
const HEADER: usize = 12 + 4 + 12;
