//! A server that dies under load: no client sees it, it is out after `fall` failed probes and back after `rise` good ones.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::hello::hello;
use crate::kit::origin::{Expect, Origin, echo};
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

const INTERVAL: Duration = Duration::from_millis(500);
/// Two of these make 500 connections a second.
const PACE: Duration = Duration::from_millis(4);

#[test]
fn killed_under_500_connections_a_second() {
    let stays = Origin::echo("stays");
    let killed = Origin::echo("killed");
    let address = killed.address;
    let proxy = Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [
            { "address": address, "name": "killed" },
            { "address": stays.address, "name": "stays" }
        ] } },
        "health_check": { "interval": "500ms" }
    }));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let load: Vec<_> = (0..2).map(|_| scope.spawn(|| load(&proxy, &done))).collect();
        wait_until("probes pass and clients come", || killed.probes() > 1 && killed.clients().len() > 100);

        // Away for two probes: not out, so clients come before any probe says that it is back.
        let killed = away_for(killed, 2);
        wait_until("clients come again", || killed.clients().len() > 20);
        assert!(!killed.seen()[0].is_probe(), "it was taken out before the third failure");
        wait_until("a probe", || killed.probes() > 0);

        // Away for four: out, and clients come only after the second good probe.
        let down_since = proxy.lines.len();
        let killed = away_for(killed, 4);
        proxy.lines.wait(down_since, |_, line| line.contains("Server a/killed is DOWN").then_some(()));
        wait_until("clients come again", || killed.clients().len() > 20);
        let seen = killed.seen();
        let probes_first = seen.iter().take_while(|seen| seen.is_probe()).count();
        assert!(probes_first >= 2, "clients came after {probes_first} good probes");
        assert!(probes_first <= 3, "no clients after {probes_first} good probes");
        done.store(true, Ordering::Relaxed);
        let served: usize = load.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(served > 500, "{served} connections are no load");
    });
    let refused = proxy.entries().into_iter().find(|e| e.step == "CLOSE" && ["SC", "sC"].contains(&e.ts()));
    assert!(refused.is_none(), "{refused:?}");
}

/// Kills the server right after a probe and starts it again when `probes` more have failed.
fn away_for(server: Origin, probes: u32) -> Origin {
    let (address, before) = (server.address, server.probes());
    wait_until("the next probe", || server.probes() > before);
    drop(server);
    sleep(INTERVAL * probes + INTERVAL / 2);
    Origin::serve_at(address, Expect::Header, echo("killed"))
}

fn load(proxy: &Proxy, done: &AtomicBool) -> usize {
    let (mut served, mut next) = (0, Instant::now());
    while !done.load(Ordering::Relaxed) {
        sleep(next.saturating_duration_since(Instant::now()));
        next += PACE;
        let mut client = proxy.connect();
        if client.hello("a.test").try_greeting().is_ok() {
            client.expect(&hello("a.test"));
            served += 1;
            continue;
        }
        // It died with this connection in its hands, read or unread, which no proxy can mend. A refused connect is not that.
        let close = proxy.close_of(client.address);
        assert!(matches!(close.ts(), "SD" | "--"), "{close:?}");
    }
    served
}
