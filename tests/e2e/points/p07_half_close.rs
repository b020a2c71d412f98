//! 7. FIN is passed on after the last byte of its direction, the other direction stays open, and RST becomes RST.
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::json;

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::origin::{Expect, Origin, Visit, hold};
use crate::kit::proxy::Proxy;
use crate::kit::stream::{receive, send};
use crate::kit::{PATIENCE, in_time};

const UP: u64 = 1;
const DOWN: u64 = 2;
const GIB: usize = 1 << 30;
/// Still to flow when a side ends its direction.
const TAIL: usize = 10 << 20;

/// Without this, copying loses or reorders bytes of large transfers, or hangs with both directions busy.
#[test]
fn a_gibibyte_each_way_copied() {
    a_gibibyte_each_way("off");
}

/// Without this, splicing loses or reorders bytes of large transfers, or hangs with both directions busy.
#[test]
fn a_gibibyte_each_way_spliced() {
    a_gibibyte_each_way("auto");
}

/// Both ways at once, chunks of random size, readers that dawdle.
fn a_gibibyte_each_way(zero_copy: &str) {
    let (sender, received) = mpsc::channel();
    let origin = Origin::serve(Expect::Header, move |mut visit| {
        skip_hello(&mut visit);
        sender.send(both_ways(&visit.stream, DOWN, UP)).unwrap();
    });
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "zero_copy": zero_copy
    }));
    let mut client = proxy.connect();
    client.hello("a.test");
    assert_eq!(both_ways(&client.stream, UP, DOWN), GIB, "down");
    assert_eq!(received.recv_timeout(PATIENCE).unwrap(), GIB, "up");
    let close = proxy.close_of(client.address);
    assert_eq!((close.ts(), close.field("B")), ("--", GIB.to_string().as_str()));
}

/// Sends a GiB and reads to the end; answers how many bytes came.
fn both_ways(stream: &TcpStream, own: u64, other: u64) -> usize {
    thread::scope(|scope| {
        scope.spawn(|| {
            send(&mut &*stream, own, GIB).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        receive(&mut &*stream, other, dawdle(32 << 20)).unwrap()
    })
}

/// A pause now and then, long enough for every buffer on the way to fill.
fn dawdle(every: usize) -> impl FnMut(usize) {
    let mut next = every;
    move |total| {
        if total >= next {
            next += every;
            sleep(Duration::from_millis(10));
        }
    }
}

/// Without this, a client's FIN cuts off its own last 10 MB, or the 10 MB that the server still sends.
#[test]
fn the_client_ends_first() {
    for zero_copy in ["auto", "off"] {
        let (sender, received) = mpsc::channel();
        let origin = Origin::serve(Expect::Header, move |mut visit| {
            skip_hello(&mut visit);
            sleep(Duration::from_millis(100));
            // Only when the FIN is here does the server begin.
            sender.send(receive(&mut visit.stream, UP, dawdle(1 << 20)).unwrap()).unwrap();
            send(&mut visit.stream, DOWN, TAIL).unwrap();
        });
        let proxy = proxy(&origin, zero_copy);
        let mut client = proxy.connect();
        client.hello("a.test");
        send(&mut client.stream, UP, TAIL).unwrap();
        client.finish();
        assert_eq!(received.recv_timeout(PATIENCE).unwrap(), TAIL);
        assert_eq!(receive(&mut client.stream, DOWN, dawdle(1 << 20)).unwrap(), TAIL);
        assert_eq!(proxy.close_of(client.address).ts(), "--");
    }
}

/// Without this, a server's FIN cuts off its own last 10 MB, or the 10 MB that the client still sends.
#[test]
fn the_server_ends_first() {
    for zero_copy in ["auto", "off"] {
        let (sender, received) = mpsc::channel();
        let origin = Origin::serve(Expect::Header, move |mut visit| {
            skip_hello(&mut visit);
            send(&mut visit.stream, DOWN, TAIL).unwrap();
            visit.stream.shutdown(Shutdown::Write).unwrap();
            sender.send(receive(&mut visit.stream, UP, dawdle(1 << 20)).unwrap()).unwrap();
        });
        let proxy = proxy(&origin, zero_copy);
        let mut client = proxy.connect();
        client.hello("a.test");
        sleep(Duration::from_millis(100));
        assert_eq!(receive(&mut client.stream, DOWN, dawdle(1 << 20)).unwrap(), TAIL);
        send(&mut client.stream, UP, TAIL).unwrap();
        client.finish();
        assert_eq!(received.recv_timeout(PATIENCE).unwrap(), TAIL);
        assert_eq!(client.end(), End::Fin);
        assert_eq!(proxy.close_of(client.address).ts(), "--");
    }
}

/// Without this, a half-closed connection stays for the tunnel's timeout.
#[test]
fn a_half_closed_connection_has_its_own_timeout() {
    let origin = Origin::serve(Expect::Header, hold());
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()], "timeouts": { "half_closed": "300ms" } } }
    }));
    let mut client = proxy.connect();
    client.hello("a.test").finish();
    assert_ne!(client.end(), End::Silence);
    let close = proxy.close_of(client.address);
    assert_eq!(close.ts(), "sD");
    assert!(close.number("Tt") >= 290, "{close:?}");
}

/// Without this, the time before a FIN counts, and a server has too little time to answer the FIN.
#[test]
fn the_timeout_of_a_half_closed_connection_begins_with_the_fin() {
    let origin = Origin::serve(Expect::Header, |mut visit| {
        skip_hello(&mut visit);
        assert_eq!(receive(&mut visit.stream, UP, |_| {}).unwrap(), 0);
        drop(visit.stream.write_all(b"farewell"));
    });
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()], "timeouts": { "half_closed": "1s" } } }
    }));
    in_time(Duration::from_millis(2_200), || {
        let mut client = proxy.connect();
        client.hello("a.test");
        sleep(Duration::from_millis(1_200));
        client.finish().rest() == (b"farewell".to_vec(), End::Fin) && proxy.close_of(client.address).ts() == "--"
    });
}

/// Without this, a server takes a client's reset for an orderly end.
#[test]
fn a_client_s_reset_resets_the_server() {
    let (sender, ends) = mpsc::channel();
    let origin = Origin::serve(Expect::Header, move |mut visit| {
        skip_hello(&mut visit);
        sender.send(Client::new(visit.stream).end()).unwrap();
    });
    let proxy = proxy(&origin, "auto");
    let mut client = proxy.connect();
    client.hello("a.test");
    wait_for_route(&proxy, &client);
    let address = client.address;
    client.reset();
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), End::Reset);
    assert_eq!(proxy.close_of(address).ts(), "CD");
}

/// Without this, a client takes a server's reset for an orderly end.
#[test]
fn a_server_s_reset_resets_the_client() {
    let origin = Origin::serve(Expect::Header, |mut visit| {
        skip_hello(&mut visit);
        Client::new(visit.stream).reset();
    });
    let proxy = proxy(&origin, "auto");
    let mut client = proxy.connect();
    client.hello("a.test");
    assert_eq!(client.end(), End::Reset);
    assert_eq!(proxy.close_of(client.address).ts(), "SD");
}

/// Without this, a reset after the FIN goes unnoticed: no read reports it, and a silent server asks for no write.
#[test]
fn a_client_s_reset_after_its_fin_resets_the_server() {
    let (sender, ends) = mpsc::channel();
    let origin = Origin::serve(Expect::Header, move |mut visit| {
        skip_hello(&mut visit);
        assert_eq!(receive(&mut visit.stream, UP, |_| {}).unwrap(), 0);
        sender.send(None).unwrap();
        // FIN has been read: what is left to see of a reset is that writing fails.
        let broke = loop {
            sleep(Duration::from_millis(10));
            if let Some(error) = visit.stream.take_error().unwrap() {
                break error.kind();
            }
        };
        sender.send(Some(broke)).unwrap();
    });
    let proxy = proxy(&origin, "auto");
    let mut client = proxy.connect();
    client.hello("a.test").finish();
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), None);
    let address = client.address;
    client.reset();
    assert!(ends.recv_timeout(PATIENCE).unwrap().is_some());
    assert_eq!(proxy.close_of(address).ts(), "CD");
}

/// Without this, a connection waits for its server to take the bytes of a client that is gone.
#[test]
fn a_client_s_reset_with_bytes_on_the_way_ends_the_connection() {
    for zero_copy in ["auto", "off"] {
        let origin = Origin::serve(Expect::Header, hold());
        let proxy = proxy(&origin, zero_copy);
        let mut client = proxy.connect();
        client.hello("a.test");
        client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        while client.stream.write(&[7; 16 * 1024]).is_ok() {}
        let address = client.address;
        client.reset();
        assert_eq!(proxy.close_of(address).ts(), "CD");
    }
}

/// Without this, a client learns only by sending that its half-closed server is gone.
#[test]
fn a_server_s_reset_after_its_fin_ends_the_connection() {
    let (sender, fin_is_there) = mpsc::channel();
    let fin_is_there = Mutex::new(fin_is_there);
    let origin = Origin::serve(Expect::Header, move |mut visit| {
        skip_hello(&mut visit);
        visit.stream.shutdown(Shutdown::Write).unwrap();
        fin_is_there.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        Client::new(visit.stream).reset();
    });
    let proxy = proxy(&origin, "auto");
    let mut client = proxy.connect();
    client.hello("a.test");
    assert_eq!(client.end(), End::Fin);
    sender.send(()).unwrap();
    assert_eq!(proxy.close_of(client.address).ts(), "--");
}

fn proxy(origin: &Origin, zero_copy: &str) -> Proxy {
    Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "timeouts": { "half_closed": "1h", "tunnel": "1h" },
        "zero_copy": zero_copy
    }))
}

fn wait_for_route(proxy: &Proxy, client: &Client) {
    proxy.entry(client.address, "CONNECT");
}

fn skip_hello(visit: &mut Visit) {
    let mut bytes = hello("a.test");
    std::io::Read::read_exact(&mut visit.stream, &mut bytes).unwrap();
    assert!(bytes == hello("a.test"));
}
