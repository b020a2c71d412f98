//! 8. Out of fds, accepting pauses and goes on: no client is lost, the loop does not spin, and the log has one line.
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::kit::client::Client;
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::origin::Origin;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

const CLIENTS: usize = 200;

/// Without this, running out of fds loses clients, makes the loop spin, or fills the log.
#[test]
fn two_hundred_clients_share_64_fds() {
    let origin = Origin::echo("a");
    let proxy = Proxy::launch(
        json!({ "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } } }),
        Launch { before: "ulimit -n 64", ..Launch::default() },
    );
    // All are connected, as far as the kernel goes, before the first is done.
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.hello("a.test");
    }
    wait_until("as many as can be are served", || !pauses(&proxy).is_empty());
    wait_until("ten of them", || origin.clients().len() >= 10);
    let busy = proxy.busy_during(Duration::from_secs(2));
    assert!(busy < Duration::from_millis(100), "busy for {busy:?} of 2 s in which nothing can be done");
    let served = origin.clients().len();
    assert!(served < 32, "{served} clients are served with 64 fds");
    assert_eq!(pauses(&proxy).len(), 1, "{:#?}", pauses(&proxy));
    // In the order in which they came, each a thread: those that are served make room for the rest.
    let guests: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                assert_eq!(client.greeting(), "a");
                client.expect(&hello("a.test"));
            })
        })
        .collect();
    for guest in guests {
        guest.join().unwrap();
    }
    assert_eq!(origin.clients().len(), CLIENTS);
    assert!(!proxy.entries().iter().any(|e| e.step == "CLOSE" && e.ts() != "--"), "{:?}", proxy.lines);
}

/// What the log says of pauses.
fn pauses(proxy: &Proxy) -> Vec<String> {
    let lines = [proxy.lines.of(From::Stderr), proxy.other_lines()].concat();
    lines.into_iter().filter(|line| line.contains("Accepting pauses")).collect()
}
