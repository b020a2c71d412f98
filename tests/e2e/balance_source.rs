//! `balance: source` over two hosts: a client gets the same server through either.
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::kit::client::Client;
use crate::kit::origin::Origin;
use crate::kit::proxy::Proxy;

const CLIENTS: usize = 300;

/// Without this, a client finds its session through one of two hosts only, or a server that gets more weight moves
/// clients between other servers.
#[test]
fn two_processes_agree_and_a_weight_moves_no_more_than_its_share() {
    let origins = ["a", "b", "c"].map(Origin::echo);
    // In the other order, as two people may have written it.
    let (one, other) = (start(&origins, 1, false), start(&origins, 1, true));
    let before: Vec<String> = (0..CLIENTS).map(|n| served(&one, n)).collect();
    assert_eq!((0..CLIENTS).map(|n| served(&other, n)).collect::<Vec<_>>(), before);
    for name in ["a", "b", "c"] {
        let share = before.iter().filter(|served| *served == name).count();
        // A third, give or take five standard deviations.
        assert!((60..=140).contains(&share), "{name}: {share} of {CLIENTS}");
    }

    let c = |weight| config(&origins, weight, false);
    one.reload(c(2));
    let after: Vec<String> = (0..CLIENTS).map(|n| served(&one, n)).collect();
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(moved.iter().all(|(_, after)| *after == "c"), "{moved:?}");
    // From a third to a half is a sixth, give or take five standard deviations.
    assert!((18..=82).contains(&moved.len()), "{} of {CLIENTS} moved", moved.len());
    other.reload(config(&origins, 2, true));
    assert_eq!((0..CLIENTS).map(|n| served(&other, n)).collect::<Vec<_>>(), after);

    one.reload(c(1));
    assert_eq!((0..CLIENTS).map(|n| served(&one, n)).collect::<Vec<_>>(), before, "all are back");
}

fn config(origins: &[Origin; 3], weight_of_c: u16, reversed: bool) -> Value {
    let [a, b, c] = origins;
    let mut servers = vec![
        a.server_with(json!({ "name": "a" })),
        b.server_with(json!({ "name": "b" })),
        c.server_with(json!({ "name": "c", "weight": weight_of_c })),
    ];
    if reversed {
        servers.reverse();
    }
    json!({ "routes": { "r": { "sni": ["a.test"], "servers": servers, "balance": "source" } } })
}

fn start(origins: &[Origin; 3], weight_of_c: u16, reversed: bool) -> Proxy {
    Proxy::start(config(origins, weight_of_c, reversed))
}

fn served(proxy: &Proxy, n: usize) -> String {
    let from = IpAddr::from([127, 5, (n / 250) as u8, (n % 250) as u8 + 1]);
    Client::connect_from(from, proxy.address).hello("a.test").greeting()
}
