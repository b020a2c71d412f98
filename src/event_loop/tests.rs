//! The loop itself, with scripted time: what it does with many sessions at once.
mod rig;

use rig::{Rig, second};
use signal_hook::consts::signal::SIGTERM;

use crate::vocabulary::CloseReason;

/// A pause of the process (SIGSTOP, a frozen cgroup, a long turn) would else cut every client that spoke meanwhile: its
/// bytes are there, and the loop looks at the clock before it looks at them.
#[test]
fn a_pause_cuts_nobody_whose_bytes_are_there() {
    const CLIENTS: usize = 40;
    let mut rig = Rig::new(r#""timeouts": { "tunnel": "5s", "client_hello": "5s" }"#);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| rig.client()).collect();
    let mut unrouted: Vec<_> = (0..4).map(|_| rig.connect()).collect();
    rig.turns();
    // A turn takes eight events, and there are more than five times as many.
    for client in &mut clients {
        client.say(b"still there");
    }
    for client in &mut unrouted {
        client.say(&rig::hello());
    }
    Rig::settle();
    rig.pass(second(60));
    rig.turn();
    rig.turns();
    assert_eq!(rig.snapshot().connections, 44);
    rig.pass(second(4));
    rig.turns();
    assert_eq!(rig.snapshot().connections, 44);
    rig.pass(second(2));
    rig.turns();
    assert_eq!(rig.snapshot().connections, 0, "who is silent for longer is cut");
}

/// Without this, a drain does not end with the last connection, or cuts it off.
#[test]
fn a_drain_ends_with_the_last_connection_or_at_its_deadline() {
    for has_left in [false, true] {
        let mut rig = Rig::new(r#""timeouts": { "drain": "10s" }"#);
        let client = rig.client();
        rig.signal(SIGTERM);
        rig.turns();
        assert!(!rig.is_over());
        if has_left {
            drop(client);
            rig.hang_up();
        } else {
            rig.pass(second(9));
            rig.turns();
            assert!(!rig.is_over());
            rig.pass(second(1));
        }
        rig.turns();
        assert!(rig.is_over());
        assert_eq!(rig.snapshot().process.closes[CloseReason::Killed.index()], u64::from(!has_left));
    }
}

/// Without this, a client that waits for a server is sent away although one has room since.
#[test]
fn a_pause_sends_nobody_away_while_a_server_has_room() {
    let mut rig = Rig::with_server(r#""max_connections": 1"#, r#""timeouts": { "connect": "2s" }"#);
    let first = rig.client();
    let mut second_client = rig.connect();
    second_client.say(&rig::hello());
    rig.turns();
    assert_eq!(rig.snapshot().routes[0].queued, 1);
    drop(first);
    rig.hang_up();
    rig.pass(second(9));
    rig.turns();
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.routes[0].queued, snapshot.routes[0].open, snapshot.connections), (0, 1, 1));
    assert_eq!(snapshot.process.closes[CloseReason::ServersFull.index()], 0);
}
