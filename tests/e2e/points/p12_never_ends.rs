//! 12. No client and no server can end the process. Dropping a [`Proxy`] checks that it did not panic.
use std::io::Write;
use std::net::Shutdown;

use serde_json::json;

use crate::kit::client::Client;
use crate::kit::hello::{hello, hello_of};
use crate::kit::origin::{Expect, Origin};
use crate::kit::proxy::Proxy;
use crate::kit::stream::Seeded;

/// Without this, a malformed hello ends the process.
#[test]
fn hellos_with_a_byte_turned_or_cut_short_and_plain_noise() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["*"], "servers": [origin.server()] } },
        "reject": "alert"
    }));
    let (whole, mut numbers) = (hello_of("a.test", 300).build(), Seeded::new(12));
    for round in 0..2_000 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => {
                for _ in 0..=numbers.below(3) {
                    let at = numbers.below(bytes.len());
                    bytes[at] = numbers.below(256) as u8;
                }
            }
            1 => bytes.truncate(numbers.below(bytes.len())),
            _ => bytes = (0..numbers.below(600)).map(|_| numbers.below(256) as u8).collect(),
        }
        let mut client = proxy.connect();
        drop(client.stream.write_all(&bytes));
        match numbers.below(3) {
            0 => client.reset(),
            1 => drop(client.stream.shutdown(Shutdown::Both)),
            _ => drop(client),
        }
    }
    assert_eq!(proxy.connect().hello("a.test").greeting(), "a");
}

/// Without this, a server that ends or resets at an odd moment ends the process.
#[test]
fn servers_that_misbehave() {
    let numbers = std::sync::Mutex::new(Seeded::new(13));
    let origin = Origin::serve(Expect::Nothing, move |mut visit| {
        let [answer, read, end] = std::array::from_fn(|_| numbers.lock().unwrap().below(3));
        if answer > 0 {
            drop(visit.stream.write_all(&vec![b'x'; answer * 50_000]));
        }
        if read > 0 {
            drop(std::io::Read::read(&mut visit.stream, &mut vec![0; read * 100]));
        }
        match end {
            0 => Client::new(visit.stream).reset(),
            1 => drop(visit.stream.shutdown(Shutdown::Write)),
            _ => {}
        }
    });
    let good = Origin::echo("good");
    let proxy = Proxy::start(json!({
        "routes": {
            "bad": { "sni": ["bad.test"], "servers": [origin.server()], "health_check": { "type": "off" } },
            "good": { "sni": ["good.test"], "servers": [good.server()] }
        }
    }));
    let mut numbers = Seeded::new(14);
    for _ in 0..500 {
        let mut client = proxy.connect();
        client.hello("bad.test");
        drop(client.stream.write_all(&vec![b'y'; numbers.below(100_000)]));
        match numbers.below(3) {
            0 => client.reset(),
            1 => drop(client.end()),
            _ => drop(client),
        }
    }
    let mut client = proxy.connect();
    assert_eq!(client.hello("good.test").greeting(), "good");
    client.expect(&hello("good.test"));
}
