//! 6. Readiness is remembered, no byte is read that cannot be written, and a busy connection yields.
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::origin::{BlackHole, Expect, Origin, hold};
use crate::kit::proxy::Proxy;
use crate::kit::sockets;
use crate::kit::wait_until;

/// Without this, a server that does not read makes the program buffer its client's bytes, or spin.
#[test]
fn a_server_that_does_not_read_stops_its_client() {
    for zero_copy in ["auto", "off"] {
        let origin = Origin::serve(Expect::Header, hold());
        let proxy = Proxy::start(json!({
            "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
            "zero_copy": zero_copy
        }));
        let mut client = proxy.connect();
        client.hello("a.test");
        let memory_before = resident_kib(&proxy);
        client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let (chunk, mut sent) = (vec![7; 64 * 1024], 0);
        let stopped = loop {
            match client.stream.write(&chunk) {
                Ok(n) => sent += n,
                Err(e) => break e.kind(),
            }
            assert!(sent < 100 << 20, "{sent} bytes went somewhere");
        };
        assert_eq!(stopped, ErrorKind::WouldBlock);
        let grown = resident_kib(&proxy).saturating_sub(memory_before);
        assert!(grown < 2048, "{grown} KiB were kept for {sent} bytes");
        let busy = proxy.busy_during(Duration::from_millis(500));
        assert!(busy < Duration::from_millis(100), "busy for {busy:?} with nothing to do");
    }
}

/// Without this, a connection that always has bytes keeps the loop from all others.
#[test]
fn a_busy_connection_yields() {
    const BULK: usize = 4;
    let rest = Arc::new(AtomicBool::new(false));
    let origin = {
        let rest = rest.clone();
        Origin::serve(Expect::Header, move |mut visit| {
            let mut chunk = vec![1; 1 << 20];
            // Read first: closing with bytes unread would reset the connection.
            drop(visit.stream.read(&mut chunk));
            while !rest.load(Ordering::Relaxed) && visit.stream.write_all(&chunk).is_ok() {}
        })
    };
    let small = Origin::echo("small");
    let proxy = Proxy::start(json!({
        "routes": {
            "bulk": { "sni": ["bulk.test"], "servers": [origin.server()] },
            "small": { "sni": ["small.test"], "servers": [small.server()] }
        }
    }));
    let (readers, read): (Vec<_>, Vec<_>) = (0..BULK)
        .map(|_| {
            let (mut client, read) = (proxy.connect(), Arc::<AtomicUsize>::default());
            client.hello("bulk.test");
            (
                thread::spawn({
                    let read = read.clone();
                    move || drain(&mut client, &read)
                }),
                read,
            )
        })
        .unzip();
    let mut served = 0;
    wait_until("others are served a hundred times, and each of the busy ones goes on", || {
        assert_eq!(proxy.connect().hello("small.test").greeting(), "small");
        served += 1;
        served >= 100 && read.iter().all(|read| read.load(Ordering::Relaxed) > 10 << 20)
    });
    rest.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}

/// Reads to the end, and says how much it was so far.
fn drain(client: &mut Client, read: &AtomicUsize) {
    let mut chunk = vec![0; 1 << 20];
    loop {
        match client.stream.read(&mut chunk).unwrap() {
            0 => return,
            n => read.fetch_add(n, Ordering::Relaxed),
        };
    }
}

/// Without this, a lost readiness event stops a connection for good, as epoll reports no edge twice.
#[test]
fn no_edge_is_forgotten() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "zero_copy": "off"
    }));
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client.expect(&hello("a.test"));
    for round in 0..2_000_usize {
        // Around the sizes of buffers, and beyond that of any: a read that fills one must look again.
        let size = [1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 300_000][round % 5];
        let bytes = vec![round as u8; size];
        client.send(&bytes).expect(&bytes);
    }
}

/// Without this, a server's first bytes are lost if they are reported in the same event as the connect.
#[test]
fn a_server_that_speaks_first_is_heard() {
    let hole = BlackHole::new();
    let proxy = Proxy::start(json!({
        "routes": { "a": {
            "sni": ["a.test"], "servers": [hole.address], "health_check": { "type": "off" },
            "timeouts": { "connect": "1m" }
        } }
    }));
    let before = sockets::connecting(hole.address);
    let mut client = proxy.connect();
    client.hello("a.test");
    wait_until("the proxy connects", || sockets::connecting(hole.address) > before);
    proxy.halt();
    let mut server = hole.accept_who_waits();
    server.write_all(b"welcome").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    proxy.signal(Signal::CONT);
    assert_eq!(client.rest(), (b"welcome".to_vec(), End::Fin));
}

fn resident_kib(proxy: &Proxy) -> usize {
    let status = proxy.proc("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
