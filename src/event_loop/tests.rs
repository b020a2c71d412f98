//! The loop itself, with scripted time: what it does with many sessions at once.
#![allow(clippy::disallowed_types, reason = "clients and servers have sockets")]
mod rig;
mod simulation;
mod weather;

use std::cell::Cell;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use rig::{Rig, second};
use signal_hook::consts::signal::SIGTERM;

use crate::net::{Call, faults};
use crate::vocabulary::CloseReason;

/// Without this, a pause of the process (SIGSTOP, a frozen cgroup, a long turn) ends clients whose bytes wait, as the
/// clock is read before the sockets.
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
    assert_eq!(rig.snapshot().connections, 0, "a client that is silent for longer is ended");
}

/// Without this, turns that bring nothing allocate memory: a listener whose clients wait for room is ready in each
/// turn.
#[test]
fn a_turn_that_moves_nothing_allocates_nothing() {
    let mut rig = Rig::new(r#""limits": { "connections": 1 }"#);
    let _guest = rig.client();
    let _waiting = rig.connect();
    rig.turns();
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![0; 8]))).count_total > 0, "it counts");
    for _ in 0..100 {
        assert_eq!(allocation_counter::measure(|| rig.turn()).count_total, 0);
    }
}

/// Without this, a thousand clients that read nothing have the kernel fill a small container: what each server may send
/// before it is read grows with the first reads. With few of them, no connection pays a system call for it.
#[test]
fn beside_many_stalled_relays_a_server_s_socket_is_narrow() {
    const MANY: u32 = 4;
    let narrowed = Rc::new(Cell::new(0));
    let count = Rc::clone(&narrowed);
    faults::follow(Some(Box::new(move |call| {
        count.set(count.get() + u32::from(call == Call::Narrow));
        None
    })));
    let mut rig = Rig::new(r#""timeouts": { "tunnel": "1h" }"#);
    rig.be_on_ethernet();
    let mut readers = Vec::new();
    while rig.stalled() < MANY {
        stall_one_more(&mut rig, &mut readers);
    }
    assert_eq!(narrowed.get(), 0, "few of them");
    stall_one_more(&mut rig, &mut readers);
    let (mut last, number) = (rig.client(), readers.len());
    for _ in 0..100 {
        rig.send_much(number);
        last.take();
    }
    // One of the others is narrow too, once its client takes a byte more.
    assert!((1..=MANY + 2).contains(&narrowed.get()), "{} calls, and once each", narrowed.get());
    drop((readers, last));
    rig.hang_up();
    rig.turns();
    rig.check_gauges();
    let before = narrowed.get();
    let _guest = rig.client();
    rig.send_much(0);
    assert_eq!(narrowed.get(), before, "no longer");
    faults::follow(None);
}

fn stall_one_more(rig: &mut Rig, readers: &mut Vec<rig::Client>) {
    let number = readers.len();
    readers.push(rig.client());
    while rig.stalled() as usize <= number {
        rig.send_much(number);
    }
}

/// Without this, an operator who drains first and stops the service then cuts off what was to finish, or a process with
/// nothing open is gone before anybody has seen /health say 503.
#[test]
fn a_drain_at_leisure_is_no_signal() {
    let mut rig = Rig::new(r#""timeouts": { "drain": "10s" }"#);
    rig.drain_at_leisure();
    rig.turns();
    assert!(!rig.is_over(), "nothing is open");
    rig.pass(second(3));
    rig.turns();
    assert!(rig.is_over());

    let mut rig = Rig::new(r#""timeouts": { "drain": "10s" }"#);
    let _client = rig.client();
    rig.drain_at_leisure();
    rig.signal(SIGTERM);
    rig.turns();
    assert!(!rig.is_over(), "the first signal");
    rig.signal(SIGTERM);
    assert!(rig.is_over());
}

/// Without this, a drain does not end with the last connection, or cuts it off early.
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

/// Without this, a pause of the process refuses a queued client although a server has room by now.
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

/// Without this, a client overtakes others in the queue, or a reload that makes room serves no client.
#[test]
fn clients_that_wait_are_served_in_their_order() {
    let mut rig = Rig::with_server(r#""max_connections": 1"#, r#""timeouts": { "connect": "60s" }"#);
    let first = rig.client();
    let mut waiting: Vec<_> = (0..3_u8)
        .map(|number| {
            let mut client = rig.connect();
            client.say(&rig::hello());
            client.say(&[number]);
            rig.turns();
            client
        })
        .collect();
    assert_eq!(rig.snapshot().routes[0].queued, 3);
    drop(first);
    rig.hang_up();
    rig.turns();
    assert_eq!(rig.serve(), 1);
    let hello = rig::hello().len();
    assert_eq!(rig.heard(0, hello + 1)[hello], 0);
    rig.adopt_keys(r#""max_connections": 3"#, r#""timeouts": { "connect": "60s" }"#);
    rig.turns();
    assert_eq!(rig.serve(), 3);
    assert_eq!((rig.heard(1, hello + 1)[hello], rig.heard(2, hello + 1)[hello]), (1, 2));
    waiting.clear();
    rig.hang_up();
    rig.turns();
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.routes[0].open, snapshot.servers[0].open, snapshot.routes[0].most_queued), (0, 0, 3));
    rig.check_gauges();
}

/// Without this, a server that refuses is retried without end, or without a pause.
#[test]
fn a_server_that_refuses_is_tried_as_often_as_retries_say() {
    let mut rig = Rig::of(
        r#"{ "listen": ["127.0.0.1:0"], "retries": 2, "reject": "close", "routes": { "a": { "sni": ["a.test"],
            "servers": ["127.0.0.1:1"], "health_check": { "type": "off" } } } }"#,
    );
    let mut client = rig.connect();
    client.say(&rig::hello());
    for tries in 1..=3 {
        rig.turns();
        assert_eq!(rig.snapshot().servers[0].traffic.connects, tries);
        rig.pass(Duration::from_millis(999));
        rig.turns();
        assert_eq!(rig.snapshot().servers[0].traffic.connects, tries, "a pause of a second comes first");
        rig.pass(Duration::from_millis(1));
    }
    rig.turns();
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.connections, snapshot.servers[0].traffic.retries, snapshot.servers[0].open), (0, 2, 0));
    assert_eq!(snapshot.process.closes[CloseReason::ServerRefused.index()], 1);
}

/// Without this, a reload forgets or ends open connections.
#[test]
fn a_reload_keeps_what_is_open() {
    let mut rig = Rig::new(r#""reject": "close""#);
    let _open = [rig.client(), rig.client()];
    rig.adopt_keys(r#""weight": 1"#, r#""reject": "close", "limits": { "per_source": { "concurrent": 3 } }"#);
    let _third = rig.client();
    let mut fourth = rig.connect();
    fourth.say(&rig::hello());
    rig.turns();
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.connections, snapshot.process.https.over_limits, snapshot.routes[0].open), (3, 1, 3));
}

/// Without this, one failed probe takes a server down, or a dead server is found late.
#[test]
fn a_server_goes_down_and_comes_back_by_its_probes() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut rig = Rig::of(&format!(
        r#"{{ "listen": ["127.0.0.1:0"], "routes": {{ "a": {{ "sni": ["a.test"], "servers": ["{address}"],
            "health_check": {{ "type": "tcp", "interval": "10s", "fall": 3, "rise": 2 }} }} }} }}"#
    ));
    let probes = |rig: &mut Rig, count: usize| {
        for _ in 0..count {
            rig.pass(second(10));
            rig.turns();
        }
        rig.snapshot().servers[0].standing.is_up
    };
    assert!(probes(&mut rig, 2));
    drop(server);
    assert!(probes(&mut rig, 2), "two of three have failed");
    assert!(!probes(&mut rig, 2));
    let _server = TcpListener::bind(address).unwrap();
    probes(&mut rig, 1);
    assert!(probes(&mut rig, 2));
    assert_eq!(rig.snapshot().servers[0].standing.downs, 1);
}

/// Without this, transfers whose timer is due while they stand in the line are moved by it until nothing is left, so that
/// others wait for megabytes, stand there more than once, or are ended as silent although they wait for their turn.
#[test]
fn a_timer_moves_nothing_that_stands_in_the_line() {
    const TRANSFERS: usize = 4;
    for timeouts in [r#""tunnel": "1h", "keepalive": "10ms""#, r#""tunnel": "10ms", "keepalive": "0s""#] {
        let mut rig = Rig::new(&format!(r#""zero_copy": "off", "timeouts": {{ {timeouts} }}"#));
        let clients: Vec<_> = (0..TRANSFERS).map(|_| rig.client()).collect();
        for (number, client) in clients.into_iter().enumerate() {
            rig.flow(number, client);
        }
        let mut rounds = 0..rig::ROUNDS;
        while rig.in_line() < TRANSFERS && rounds.next().is_some() {
            rig.turn();
            Rig::settle();
        }
        assert_eq!(rig.in_line(), TRANSFERS);
        // Their timers are due, and clients have spoken a moment ago: portions are small.
        let before = rig.down();
        rig.pass(Duration::from_millis(15));
        rig.turn();
        // On a busy machine, the one whose turn it was may have been silent indeed.
        let open = rig.snapshot().connections as usize;
        assert!(open >= TRANSFERS - 1, "{timeouts}: {open} are open");
        let moved = rig.down().saturating_sub(before);
        assert!(moved < 1 << 20, "{timeouts}: {moved} bytes in one turn");
        assert!(rig.in_line() <= TRANSFERS, "{timeouts}: {} places", rig.in_line());
    }
}

/// Without this, a client that waits in the backlog of a route's own address while a reload removes that counts, and is
/// served, as one of the file's.
#[test]
fn the_last_clients_of_an_address_are_its_routes() {
    let text = |own: &str| {
        format!(
            r#"{{ "listen": ["127.0.0.1:0"], "health_check": {{ "type": "off" }},
                "routes": {{ {own} "a": {{ "sni": ["a.test"], "servers": ["127.0.0.1:1"] }} }} }}"#
        )
    };
    let mut rig = Rig::of(&text(r#""own": { "listen": ["127.0.0.2:0"], "servers": ["127.0.0.1:1"] },"#));
    rig.turns();
    let _client = std::net::TcpStream::connect(rig.address_at("127.0.0.2")).unwrap();
    Rig::settle();
    rig.adopt(&text(""));
    let process = rig.snapshot().process;
    assert_eq!((process.https.accepted.total(), process.owned.accepted.total()), (0, 1));
}
