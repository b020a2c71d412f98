//! The system calls of a short connection, whose number is the same on every machine.
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::kit::client::Client;
use crate::kit::namespace::tell_skipped;
use crate::kit::origin::{Expect, Origin};
use crate::kit::places::Folder;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

const CLIENTS: u32 = 32;
/// What no proxy can do without, but for the wait for events, which many connections share: accept, the hello, socket,
/// connect, the hello passed on, two sockets under the poll, the answer read and written, the client's FIN read and
/// passed on, the server's read, and two closes.
const EACH: u32 = 14;

/// Without this, a change adds a system call to each connection unseen, such as a socket option or a read that must
/// fail.
#[test]
fn a_short_connection_makes_no_more_than_it_must() {
    let origin = Origin::serve(Expect::Header, |mut visit| {
        visit.stream.write_all(b"a\n").unwrap();
        io::copy(&mut visit.stream, &mut io::sink()).unwrap();
    });
    let proxy = Proxy::start(json!({
        "routes": { "r": { "sni": ["a.test"], "servers": [origin.server()] } },
        "health_check": { "type": "off" },
        // It comes after a second, which a busy machine may take.
        "timeouts": { "keepalive": "0s" }
    }));
    // Every hello is there before the client is let in.
    proxy.halt();
    let clients = (0..CLIENTS).map(|_| {
        let mut client = proxy.connect();
        client.hello("a.test");
        client
    });
    let clients: Vec<Client> = clients.collect();
    let Some(counted) = count(&proxy, || {
        proxy.signal(Signal::CONT);
        for mut client in clients {
            assert_eq!(client.greeting(), "a");
            let address = client.address;
            drop(client);
            proxy.close_of(address);
        }
    }) else {
        // Yama lets nobody look but an ancestor (kernel.yama.ptrace_scope).
        return tell_skipped("a_short_connection_makes_no_more_than_it_must", "strace cannot attach");
    };
    let sum: u32 = counted.values().sum();
    assert!(sum >= CLIENTS * EACH, "strace has missed some: {counted:?}");
    assert!(sum <= CLIENTS * EACH, "{} for each connection: {counted:?}", f64::from(sum) / f64::from(CLIENTS));
}

/// The calls that the program makes about sockets while `work` is done, by name; accept(2) of an empty backlog is none of
/// them, for how often that happens depends on the load. `None` where there is no strace, or it may not look.
fn count(proxy: &Proxy, work: impl FnOnce()) -> Option<BTreeMap<String, u32>> {
    let folder = Folder::new();
    let table = folder.path().join("table");
    let mut strace = Command::new("strace")
        .args(["-c", "-e", "trace=%network,epoll_ctl,close", "-o"])
        .arg(&table)
        .args(["-p", &proxy.pid().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut ended = false;
    wait_until("strace looks", || {
        ended = strace.try_wait().unwrap().is_some();
        ended || !proxy.proc("status").contains("TracerPid:\t0\n")
    });
    if ended {
        return None;
    }
    work();
    kill_process(Pid::from_child(&strace), Signal::INT).unwrap();
    strace.wait().unwrap();
    let table = fs::read_to_string(table).unwrap();
    Some(table.lines().filter_map(row).filter(|(name, _)| name != "total").collect())
}

/// A row of the table: percent, seconds, microseconds a call, calls, errors where there are any, name.
fn row(line: &str) -> Option<(String, u32)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let calls: u32 = words.get(3)?.parse().ok()?;
    let failed = words.get(4).and_then(|word| word.parse().ok()).unwrap_or(0);
    let name = (*words.last()?).to_owned();
    let calls = if name == "accept4" { calls - failed } else { calls };
    Some((name, calls))
}
