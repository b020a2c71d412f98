//! 2. The deadline of the hello counts from accept, and only until the route is known.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::kit::client::{Client, End};
use crate::kit::hello::{hello, hello_of};
use crate::kit::log::Entry;
use crate::kit::origin::Origin;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

/// Without this, clients that send a byte a second keep their connections for ever.
#[test]
fn two_thousand_clients_of_a_byte_a_second_are_gone_after_five_seconds() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "reject": "close"
    }));
    let bytes = hello_of("a.test", 300).build();
    let start = Instant::now();
    let mut slow: Vec<Client> = (0..2_000).map(|_| proxy.connect()).collect();
    let mut second = 0;
    // As long as it takes: were there no deadline, the hellos would have bytes for minutes.
    wait_until("all are gone", || {
        for client in &mut slow {
            // That of one which is gone already is lost.
            drop(std::io::Write::write(&mut client.stream, &bytes[second..=second]));
        }
        second += 1;
        while start.elapsed() < Duration::from_secs(second as u64) {
            let mut other = proxy.connect();
            assert_eq!(other.hello("a.test").greeting(), "a");
            sleep(Duration::from_millis(20));
        }
        dropped(&proxy) == slow.len()
    });
    for client in &mut slow {
        // A reset where a byte came too late to be read.
        assert_ne!(client.end(), End::Silence);
    }
    // The first of each address: once it is gone, another client may have its port.
    let ends = || -> HashMap<SocketAddr, Entry> {
        let closes = proxy.entries().into_iter().rev().filter(|entry| entry.step == "CLOSE");
        closes.map(|entry| (entry.client, entry)).collect()
    };
    // Clients that were accepted in one turn have one deadline, and come up in any order.
    wait_until("the log has the end of each", || {
        let ends = ends();
        slow.iter().all(|client| ends.contains_key(&client.address))
    });
    let ends = ends();
    for client in slow {
        let close = &ends[&client.address];
        assert_eq!((close.field("drop"), close.ts(), close.server()), ("SNI_REJECTED", "PR", "<NOSRV>"));
        let lived = close.number("Tt");
        assert!(lived >= 4_990, "gone after {lived} ms");
    }
}

/// How many were closed for their hello.
fn dropped(proxy: &Proxy) -> usize {
    proxy.entries().iter().filter(|entry| entry.step == "CLOSE" && entry.field("drop") == "SNI_REJECTED").count()
}

/// Without this, the hello's deadline ends an established connection.
#[test]
fn the_deadline_is_disarmed_when_the_route_is_known() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "timeouts": { "client_hello": "200ms" }
    }));
    // The hello is there when the client is let in: however slow the machine is, it is not late.
    proxy.halt();
    let mut client = proxy.connect();
    client.hello("a.test");
    proxy.signal(Signal::CONT);
    assert_eq!(client.greeting(), "a");
    sleep(Duration::from_millis(600));
    client.send(b"still here").expect(&hello("a.test")).expect(b"still here");
}
