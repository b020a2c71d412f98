//! 1. The route is decided only on a whole hello, however it is split.
use std::ops::Range;

use serde_json::json;

use crate::kit::client::Client;
use crate::kit::hello::hello_of;
use crate::kit::origin::Origin;
use crate::kit::proxy::Proxy;
use crate::kit::sockets;
use crate::kit::wait_until;

/// Connections that are open at once.
const BATCH: usize = 500;

/// Without this, a hello split over two TCP segments is routed wrongly or refused.
#[test]
fn cut_into_two_segments_at_every_byte_of_300() {
    cut_into_segments(300, 1..300);
}

/// Without this, a split hello of a post-quantum client's length is routed wrongly or refused.
#[test]
fn cut_into_two_segments_at_every_byte_of_1_800() {
    cut_into_segments(1_800, 1..1_800);
}

/// Without this, a split hello longer than a page is routed wrongly or refused.
#[test]
fn cut_into_two_segments_at_every_byte_of_5_000() {
    cut_into_segments(5_000, 1..5_000);
}

/// Without this, a split hello near the longest TLS record is routed wrongly or refused.
#[test]
fn cut_into_two_segments_at_every_byte_of_15_900() {
    cut_into_segments(15_900, 1..15_900);
}

/// Without this, a hello split over two TLS records is routed wrongly or refused.
#[test]
fn cut_into_two_records_at_every_byte_of_300() {
    cut_into_records(300);
}

/// Without this, a post-quantum client's hello in two records is routed wrongly or refused.
#[test]
fn cut_into_two_records_at_every_byte_of_1_800() {
    cut_into_records(1_800);
}

/// Without this, a hello longer than a page, in two records, is routed wrongly or refused.
#[test]
fn cut_into_two_records_at_every_byte_of_5_000() {
    cut_into_records(5_000);
}

/// Without this, a hello near the longest TLS record, in two records, is routed wrongly or refused.
#[test]
fn cut_into_two_records_at_every_byte_of_15_900() {
    cut_into_records(15_900);
}

/// Sends the first segment, waits until the proxy has read it, and only then sends the second.
fn cut_into_segments(len: usize, cuts: Range<usize>) {
    let hello = hello_of("wanted.test", len).build();
    assert_eq!(hello.len(), len);
    for_batches(cuts, |proxy, cuts| {
        let mut clients: Vec<Client> = cuts.clone().map(|_| proxy.connect()).collect();
        for (client, cut) in clients.iter_mut().zip(cuts.clone()) {
            client.send(&hello[..cut]);
        }
        wait_until("the first segments are read", || sockets::unread(proxy.address) == vec![0; clients.len()]);
        for (client, cut) in clients.iter_mut().zip(cuts) {
            client.send(&hello[cut..]);
        }
        for client in clients {
            expect_route_and_bytes(client, &hello);
        }
    });
}

fn cut_into_records(len: usize) {
    let handshake = hello_of("wanted.test", len).build().len() - 5;
    for_batches(1..handshake, |proxy, cuts| {
        let clients: Vec<_> = cuts
            .map(|cut| {
                let hello = hello_of("wanted.test", len).records(&[cut]).build();
                assert_eq!(hello.len(), len + 5);
                let mut client = proxy.connect();
                client.send(&hello);
                (client, hello)
            })
            .collect();
        for (client, hello) in clients {
            expect_route_and_bytes(client, &hello);
        }
    });
}

fn for_batches(cuts: Range<usize>, check: impl Fn(&Proxy, Range<usize>)) {
    let (wanted, other) = (Origin::echo("wanted"), Origin::echo("other"));
    let proxy = Proxy::start(json!({
        "routes": {
            "wanted": { "sni": ["wanted.test"], "servers": [wanted.server()] },
            "other": { "sni": ["*"], "servers": [other.server()] }
        },
        "timeouts": { "client_hello": "1m" },
        "log": { "connections": "off" }
    }));
    for start in cuts.clone().step_by(BATCH) {
        check(&proxy, start..cuts.end.min(start + BATCH));
    }
}

fn expect_route_and_bytes(mut client: Client, hello: &[u8]) {
    assert_eq!(client.greeting(), "wanted");
    client.expect(hello);
    // Leaves no TIME_WAIT behind, of which there would be tens of thousands.
    client.reset();
}
