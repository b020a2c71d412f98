//! A server dies under load: no client notices, and no connection goes to the server while it is down.
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::load::under_load;
use crate::kit::log::Entry;
use crate::kit::origin::{Expect, Origin, echo};
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

/// Two of these make 500 connections a second.
const PACE: Duration = Duration::from_millis(4);

/// Without this, clients notice that a server has died under load, or connections go to it while it is down.
/// `rise_and_fall` shows how many probes that takes.
#[test]
fn killed_under_500_connections_a_second() {
    let (stays, killed) = (Origin::echo("stays"), Origin::echo("killed"));
    let address = killed.address;
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [
            { "address": address, "name": "killed" },
            { "address": stays.address, "name": "stays" }
        ] } },
        "health_check": { "interval": "200ms", "timeout": "1m" }
    }));
    under_load(
        2,
        || connection(&proxy),
        |load| {
            wait_until("probes pass and clients come", || killed.probes() > 1 && killed.clients().len() > 100);
            drop(killed);
            proxy.wait_for_notice("Server a/killed is DOWN");
            load.wait_for(200);
            let killed = Origin::serve_at(address, Expect::Header, echo("killed"));
            proxy.wait_for_notice("Server a/killed is UP");
            wait_until("clients come again", || killed.clients().len() > 100);
        },
    );
    let lines = proxy.lines.of(From::Stdout);
    let at = |words: &str| lines.iter().position(|line| line.contains(words)).unwrap();
    let while_down = &lines[at("Server a/killed is DOWN")..at("Server a/killed is UP")];
    let sent_there = while_down.iter().filter(|line| line.contains("a/killed CONNECT")).count();
    assert_eq!(sent_there, 0, "clients of a server that is down");
    let refused = lines
        .iter()
        .filter_map(|line| Entry::parse(line))
        .find(|e| e.step == "CLOSE" && ["SC", "sC"].contains(&e.ts()));
    assert!(refused.is_none(), "{refused:?}");
}

fn connection(proxy: &Proxy) {
    let mut client = proxy.connect();
    if client.hello("a.test").try_greeting().is_ok() {
        client.expect(&hello("a.test"));
    } else {
        // It died with this connection in its hands, read or unread, which no proxy can mend. A refused connect is not
        // that.
        let close = proxy.close_of(client.address);
        assert!(matches!(close.ts(), "SD" | "--"), "{close:?}");
    }
    sleep(PACE);
}
