//! Start and end: what the service manager and the operator see.
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::origin::Origin;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

/// Without this, SIGTERM cuts connections off, goes on accepting, or exits with an error.
#[test]
fn sigterm_drains() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}));
    let mut open = guest(&proxy);
    proxy.signal(Signal::TERM);
    proxy.wait_for_notification(0, "STOPPING=1");
    wait_until("nobody is let in", || TcpStream::connect(proxy.address).is_err());
    open.send(b"still here").expect(b"still here");
    sleep(Duration::from_millis(300));
    open.send(b"and now").expect(b"and now").finish();
    assert_eq!(open.end(), End::Fin);
    let (status, lines) = proxy.wait_for_exit();
    assert_eq!(status.code(), Some(0));
    let close = lines.of(From::Stdout).into_iter().find(|line| line.contains(" CLOSE "));
    assert!(close.is_some_and(|line| line.contains("ts=--")), "{lines:?}");
    assert!(lines.of(From::Stdout).last().unwrap().ends_with("] Stopped; every connection had finished."), "{lines:?}");
}

/// Without this, one idle connection keeps a stopped program running for ever.
#[test]
fn the_drain_has_a_deadline() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({ "timeouts": { "drain": "400ms" } }));
    let open = guest(&proxy);
    proxy.signal(Signal::TERM);
    proxy.wait_for_notification(0, "STOPPING=1");
    ends_killed(proxy, open);
}

/// Without this, an operator has to wait for the drain, or to kill the program.
#[test]
fn a_second_sigterm_ends_at_once() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}));
    let open = guest(&proxy);
    proxy.signal(Signal::TERM);
    proxy.wait_for_notification(0, "STOPPING=1");
    proxy.signal(Signal::TERM);
    ends_killed(proxy, open);
}

/// Without this, Ctrl-C in a terminal waits for open connections.
#[test]
fn sigint_ends_at_once() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}));
    let open = guest(&proxy);
    proxy.signal(Signal::INT);
    ends_killed(proxy, open);
}

/// Without this, a stop without connections waits for the drain's deadline.
#[test]
fn with_nothing_open_sigterm_ends_at_once() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait_for_exit().0.code(), Some(0));
}

/// Without this, systemd does not learn when the program is ready, reloading or stopping.
#[test]
fn notifications_to_systemd() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}));
    proxy.wait_for_notification(0, "STATUS=1/1 servers up, 0 connections");
    let _open = guest(&proxy);
    let before = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec * 1_000_000;
    let start = proxy.lines.len();
    proxy.signal(Signal::HUP);
    proxy.wait_for_notification(start, "RELOADING=1");
    let usec = proxy.lines.wait(start, |from, line| {
        let usec = line.strip_prefix("MONOTONIC_USEC=").filter(|_| from == From::Notify)?;
        usec.parse::<i64>().ok()
    });
    assert!((before..before + 60_000_000).contains(&usec), "{usec} is not now");
    proxy.wait_for_notification(start, "READY=1");
    proxy.wait_for_notification(start, "STATUS=1/1 servers up, 1 connection");
}

/// Without this, a thread or child process appears, or the fd limit stays at its soft value.
#[test]
fn one_process_one_thread_and_the_fd_limit_raised() {
    let origin = Origin::echo("a");
    let launch = Launch { before: "ulimit -Sn 100", ..Launch::default() };
    let proxy = Proxy::launch(config(&origin, json!({})), launch);
    let _open = guest(&proxy);
    assert!(proxy.proc("status").lines().any(|line| line == "Threads:\t1"));
    let limits = proxy.proc("limits");
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "soft and hard limit");
}

/// Without this, clients beyond `limits.connections` are refused, or are never served.
#[test]
fn a_limit_of_connections() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({ "limits": { "connections": 2 } }));
    let (mut first, _second) = (guest(&proxy), guest(&proxy));
    let mut third = proxy.connect();
    third.hello("a.test");
    assert_eq!(third.end_within(Duration::from_millis(300)), End::Silence);
    assert_eq!(origin.clients().len(), 2);
    first.finish().end();
    third.stream.set_read_timeout(Some(crate::kit::PATIENCE)).unwrap();
    assert_eq!(third.greeting(), "a");
}

/// Without this, an idle program wakes up and uses CPU for connections that do nothing.
#[test]
fn idle_means_idle() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, json!({}));
    let _open: Vec<Client> = (0..100).map(|_| guest(&proxy)).collect();
    sleep(Duration::from_millis(200));
    let busy = proxy.busy_during(Duration::from_secs(1));
    assert!(busy < Duration::from_millis(20), "busy for {busy:?} of an idle second");
}

fn ends_killed(proxy: Proxy, mut open: Client) {
    assert_ne!(open.end(), End::Silence);
    let (status, lines) = proxy.wait_for_exit();
    assert_eq!(status.code(), Some(0));
    let close = lines.of(From::Stdout).into_iter().find(|line| line.contains(" CLOSE "));
    assert!(close.is_some_and(|line| line.contains("ts=KD")), "{lines:?}");
}

fn guest(proxy: &Proxy) -> Client {
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client.expect(&hello("a.test"));
    client
}

fn start(origin: &Origin, more: Value) -> Proxy {
    Proxy::start(config(origin, more))
}

fn config(origin: &Origin, mut more: Value) -> Value {
    more["routes"] = json!({ "a": { "sni": ["a.test"], "servers": [origin.server()] } });
    more
}
