//! A restart under a service manager that stores fds: the next process goes on with everything, and no client notices.
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, scope};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal, getrlimit};
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::manager::Manager;
use crate::kit::namespace::{skip, tell_skipped};
use crate::kit::origin::{Expect, Origin, Visit};
use crate::kit::places::{Folder, free_address};
use crate::kit::program::program;
use crate::kit::stream::Seeded;
use crate::kit::{other_state, sockets, stream, wait_until};
use crate::tls_probes::get;

/// Restarts that a stream of bytes goes through.
const RESTARTS: usize = 20;

fn config(origin: &Origin) -> Value {
    json!({ "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } } })
}

/// A client that has been greeted.
fn guest(manager: &Manager) -> Client {
    greeted(manager.connect(), "a")
}

/// Has a client say its hello and hear the echo of all.
fn greeted(mut client: Client, name: &str) -> Client {
    let hello = hello(&format!("{name}.test"));
    client.send(&hello);
    assert_eq!(client.greeting(), name);
    client.expect(&hello);
    client
}

/// Without this, a restart loses or doubles what the program had read and not written, or cuts an idle connection off.
#[test]
fn streams_go_through_twenty_restarts() {
    for zero_copy in ["auto", "off"] {
        let origin = Origin::serve(Expect::Header, |visit| {
            let (mut from, mut to) = (visit.stream.try_clone().unwrap(), visit.stream);
            let reader = thread::spawn(move || std::io::copy(&mut from, &mut std::io::sink()).unwrap_or(0));
            let _ = stream::send(&mut to, 7, 256 << 20);
            let _ = to.shutdown(Shutdown::Write);
            drop(reader.join());
        });
        let echo = Origin::echo("a");
        let mut config = config(&echo);
        config["zero_copy"] = json!(zero_copy);
        config["routes"]["bulk"] = json!({ "sni": ["bulk.test"], "servers": [origin.server()] });
        let mut manager = Manager::start(config);
        let mut idle: Vec<Client> = (0..50).map(|_| guest(&manager)).collect();
        let over = AtomicBool::new(false);
        let address = manager.address;
        scope(|scope| {
            let _guard = OnDrop(&over);
            let downloads: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = Client::connect(address);
                        client.hello("bulk.test");
                        // Slow enough to last, and with pauses in which the program holds bytes.
                        stream::receive(&mut client.stream, 7, |total| {
                            if total % 16 == 0 && !over.load(Ordering::Relaxed) {
                                thread::sleep(Duration::from_millis(1));
                            }
                        })
                        .unwrap()
                    })
                })
                .collect();
            let ping = scope.spawn(|| {
                let mut client = greeted(Client::connect(address), "a");
                let mut count = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    client.send(&count.to_le_bytes()).expect(&count.to_le_bytes());
                    count += 1;
                }
                count
            });
            for _ in 0..RESTARTS {
                manager.restart();
            }
            over.store(true, Ordering::Relaxed);
            assert!(ping.join().unwrap() > 0);
            for download in downloads {
                assert_eq!(download.join().unwrap(), 256 << 20, "zero_copy {zero_copy}");
            }
        });
        for client in &mut idle {
            client.send(b"still there").expect(b"still there");
        }
        assert_eq!(manager.stored(), 0, "what was taken over is forgotten");
    }
}

/// Ends what a thread waits for, also when the test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Without this, a client that comes during a restart is refused, or waits for the drain.
#[test]
fn no_client_is_refused() {
    let origin = Origin::echo("a");
    let mut manager = Manager::start(config(&origin));
    let _idle = guest(&manager);
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = manager.address;
    scope(|scope| {
        let _guard = OnDrop(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                greeted(Client::connect(address), "a");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..RESTARTS {
            let before = served.load(Ordering::Relaxed);
            manager.restart();
            wait_until("the next process serves", || served.load(Ordering::Relaxed) > before);
        }
    });
}

/// Without this, a program that opens its own sockets refuses clients during a restart, or cannot bind while its old
/// sockets are stored.
#[test]
fn own_sockets_go_on_listening() {
    let origin = Origin::echo("a");
    let mut config = config(&origin);
    let [redirect, other] = [free_address(), free_address()];
    config["redirect"] = json!({ "listen": [redirect] });
    let mut manager = Manager::start_without_sockets(config.clone());
    let mut idle = guest(&manager);
    let inode = sockets::listening(manager.address);
    for _ in 0..3 {
        manager.signal(Signal::TERM);
        assert!(manager.wait_for_exit());
        // Those who come now wait in the kernel, also over a start that fails.
        let mut newcomer = manager.connect();
        newcomer.hello("a.test");
        let mut plain = Client::connect(redirect);
        plain.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let mut taken = config.clone();
        taken["admin"] = json!({ "listen": [origin.address] });
        manager.configure(taken);
        manager.spawn_unready();
        assert!(!manager.wait_for_exit(), "what listens at the origin's address is in the way");
        manager.configure(config.clone());
        manager.spawn();
        assert_eq!(newcomer.greeting(), "a");
        plain.expect(b"HTTP/1.1 301");
        idle.send(b"x").expect(b"x");
    }
    assert_eq!(sockets::listening(manager.address), inode, "it is the same socket");
    // Where the next one is not to listen, nobody does, and nothing is in the way of another address.
    config["redirect"] = json!({ "listen": [other, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), redirect.port())] });
    manager.configure(config);
    manager.restart();
    Client::connect(other).send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect(b"HTTP/1.1 301");
    Client::connect(redirect).send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect(b"HTTP/1.1 301");
    manager.restart();
    idle.send(b"x").expect(b"x");
}

/// Without this, a restart drops clients that have not finished their hello or that wait for a server.
#[test]
fn those_who_wait_go_on_waiting() {
    let origin = Origin::echo("a");
    let mut config = config(&origin);
    config["routes"]["a"]["servers"] = json!([origin.server_with(json!({ "max_connections": 1 }))]);
    config["timeouts"] = json!({ "connect": "1m", "client_hello": "1m" });
    let mut manager = Manager::start(config);
    let first = guest(&manager);
    let mut queued = manager.connect();
    queued.hello("a.test");
    let mut late = manager.connect();
    let whole = hello("a.test");
    late.send(&whole[..100]);
    wait_until("both are there", || status(&manager).ends_with("3 connections"));
    for cut in [100, 120, 140] {
        manager.restart();
        late.send(&whole[cut..cut + 20]);
    }
    drop(first);
    assert_eq!(queued.greeting(), "a");
    queued.expect(&whole).send(b"x").expect(b"x");
    late.send(&whole[160..]);
    drop(queued);
    assert_eq!(late.greeting(), "a");
}

/// The last status that the manager was told.
fn status(manager: &Manager) -> String {
    let told = manager.lines.of(From::Notify);
    told.into_iter().rev().find(|line| line.starts_with("STATUS=")).unwrap_or_default()
}

/// Without this, a connection's close line has only the times and bytes of the last process.
#[test]
fn the_line_of_a_connection_is_whole() {
    let origin = Origin::echo("a");
    let mut config = config(&origin);
    config["routes"]["a"]["proxy_tlvs"] = json!(["unique_id"]);
    config["log"] = json!({ "format": "haproxy" });
    let mut manager = Manager::start(config);
    let mut client = guest(&manager);
    let sent = hello("a.test").len();
    let greeted = Instant::now();
    for _ in 0..3 {
        client.send(b"0123456789").expect(b"0123456789");
        manager.restart();
    }
    let lived = greeted.elapsed();
    assert_eq!(client.finish().end(), End::Fin);
    let close = line(&manager, &client, "CLOSE");
    assert!(close.number("Tt") >= lived.as_millis() as i64, "{close:?} after {lived:?}");
    assert_eq!((close.ts(), close.backend()), ("--", "a"));
    assert_eq!(
        close.number("B"),
        i64::try_from(sent + 30 + "a\n".len()).unwrap(),
        "the greeting, and all that came back"
    );
    assert!(close.number("Tc") >= 0);
    assert_eq!(close.field("sni"), "\"a.test\"");
}

/// The first line of `step` about the client, waiting for it.
pub(crate) fn line(manager: &Manager, client: &Client, step: &str) -> Entry {
    manager.lines.wait(0, |from, line| {
        let entry = (from == From::Stdout).then(|| Entry::parse(line))??;
        (entry.client == client.address && entry.step == step).then_some(entry)
    })
}

/// Without this, a restart forgets rate limits and which servers are down.
#[test]
fn what_is_known_stays_known() {
    let (origin, mut other) = (Origin::echo("a"), Origin::echo("b"));
    let mut config = config(&origin);
    config["routes"]["a"]["servers"] = json!([origin.server(), other.server()]);
    config["health_check"] = json!({ "interval": "50ms", "fall": 1, "rise": 1000 });
    config["limits"] = json!({ "per_source": { "rate": 20, "period": "1m" } });
    config["retries"] = json!(0);
    let mut manager = Manager::start(config);
    other.stop_listening();
    manager.lines.wait(0, |_, line| line.contains("is DOWN").then_some(()));
    let mut served = 0;
    while served < 20 {
        assert_eq!(manager.connect().hello("a.test").greeting(), "a");
        served += 1;
        if served % 5 == 0 {
            manager.restart();
        }
    }
    let mut refused = manager.connect();
    refused.hello("a.test");
    assert!(refused.try_greeting().is_err());
    let downs = manager.lines.of(From::Stdout).iter().filter(|line| line.contains("is DOWN")).count();
    assert_eq!(downs, 1, "it did not go down anew");
}

/// Without this, a mistake in the file at a restart costs every connection.
#[test]
fn a_broken_file_costs_nothing() {
    let origin = Origin::echo("a");
    let mut manager = Manager::start(config(&origin));
    let mut client = guest(&manager);
    manager.signal(Signal::TERM);
    assert!(manager.wait_for_exit());
    manager.configure_text("{");
    for _ in 0..3 {
        manager.spawn_unready();
        assert!(!manager.wait_for_exit(), "a broken file is no success");
        assert_eq!(manager.stored(), 1);
    }
    // What came meanwhile waits in the kernel.
    client.send(b"meanwhile");
    manager.configure(config(&origin));
    manager.spawn();
    client.expect(b"meanwhile");
    assert_eq!(guest(&manager).finish().end(), End::Fin);
}

/// Without this, an upgrade or a downgrade loses connections, or fails to start.
#[test]
fn state_of_another_program_is_read_as_far_as_it_goes() {
    let origin = Origin::echo("a");
    let mut manager = Manager::start(config(&origin));
    let mut clients: Vec<Client> = (0..10).map(|_| guest(&manager)).collect();
    // A field and a section more, then a field and a section less, in every record.
    let changes: [fn(&mut Value); 2] = [
        |state| {
            state["a_section_of_the_future"] = json!([1, 2, 3]);
            state["counters"]["a_counter_of_the_future"] = json!(5);
            each(state, |record| record["a_field_of_the_future"] = json!({ "deep": [] }));
        },
        |state| {
            state.as_object_mut().unwrap().remove("history");
            state["counters"].as_object_mut().unwrap().remove("closes");
            state["routes"][0].as_object_mut().unwrap().remove("standing");
            each(state, |record| _ = record.as_object_mut().unwrap().remove("names"));
        },
    ];
    for change in changes.into_iter().cycle().take(6) {
        manager.signal(Signal::TERM);
        assert!(manager.wait_for_exit());
        manager.change_state(change);
        manager.spawn();
        for client in &mut clients {
            client.send(b"x").expect(b"x");
        }
    }
    // One record that is of no use is one connection, and both its sides see that this is no orderly end.
    manager.signal(Signal::TERM);
    assert!(manager.wait_for_exit());
    manager.change_state(|state| state["sessions"][3]["record"]["phase"] = json!("of the future"));
    manager.spawn();
    let ends: Vec<End> = clients.iter_mut().map(|client| client.end_within(Duration::from_millis(50))).collect();
    assert_eq!(ends.iter().filter(|end| **end == End::Reset).count(), 1);
    assert_eq!(ends.iter().filter(|end| **end == End::Silence).count(), 9);
    assert!(manager.lines.of(From::Stdout).iter().any(|line| line.contains("1 connection could not be taken over")));
}

fn each(state: &mut Value, change: impl Fn(&mut Value)) {
    for session in state["sessions"].as_array_mut().unwrap() {
        change(&mut session["record"]);
        change(session);
    }
}

/// Without this, a version that stores other state, or refuses the file, loses the connections of the version before
/// it.
#[test]
fn two_programs_take_turns() {
    let Some(other) = other_state::build() else {
        return skip("two_programs_take_turns", "cargo is not there to build the other one");
    };
    let origin = Origin::echo("a");
    let admin = free_address();
    let mut config = config(&origin);
    config["admin"] = json!({ "listen": [admin] });
    let mut manager = Manager::start(config.clone());
    let programs = [manager.program.clone(), other];
    let mut clients: Vec<Client> = (0..10).map(|_| guest(&manager)).collect();
    let mut numbers = Seeded::new(12);
    let mut before = counters(admin);
    for restart in 0..RESTARTS {
        clients.push(guest(&manager));
        manager.signal(Signal::TERM);
        assert!(manager.wait_for_exit());
        manager.program.clone_from(&programs[numbers.below(2)]);
        if numbers.below(3) == 0 {
            manager.configure_text("{");
            manager.spawn_unready();
            assert!(!manager.wait_for_exit(), "a broken file is no success");
            manager.configure(config.clone());
            manager.program.clone_from(&programs[numbers.below(2)]);
        }
        manager.spawn();
        for client in &mut clients {
            client.send(b"x").expect(b"x");
        }
        let after = counters(admin);
        let lower = |(name, value): &(&String, &f64)| after.get(*name).is_none_or(|now| now < *value);
        assert_eq!(before.iter().find(lower), None, "restart {restart}");
        before = after;
    }
    let unread = manager.lines.of(From::Stdout).iter().filter(|line| line.contains("cannot be read")).count();
    assert_eq!(unread, 0, "{:?}", manager.lines);
    let sessions = before.iter().find(|(name, _)| name.starts_with("haproxy_backend_sessions_total"));
    assert_eq!(sessions.map(|(_, count)| *count as usize), Some(clients.len()));
}

/// Without this, the metrics do not tell how long the service has run apart from the process.
#[test]
fn the_service_is_older_than_its_process() {
    let (origin, admin) = (Origin::echo("a"), free_address());
    let mut config = config(&origin);
    config["admin"] = json!({ "listen": [admin] });
    let mut manager = Manager::start(config);
    manager.before = "export STATS_USERNAME=a STATS_PASSWORD=b";
    let start = || {
        let page = get(admin, "/metrics");
        let line = page.lines().find(|line| line.starts_with("haproxy_process_start_time_seconds "));
        line.unwrap().to_owned()
    };
    let before = start();
    manager.restart();
    manager.restart();
    assert_eq!(start(), before, "of the service");
    let mut client = Client::connect(admin);
    client.send(b"GET /stats HTTP/1.0\r\nAuthorization: Basic YTpi\r\n\r\n");
    let page = String::from_utf8(client.rest().0).unwrap();
    assert!(page.contains("up <span") && page.contains(", this process <span"), "{page}");
}

/// Everything on /metrics that may not go down, but for what is said of the process.
fn counters(admin: SocketAddr) -> HashMap<String, f64> {
    let page = get(admin, "/metrics");
    let counters: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let of = |line: &str| {
        let (sample, value) = line.rsplit_once(' ')?;
        let name = sample.split('{').next()?;
        let goes_on = counters.contains(&name) && !name.starts_with("process_") || name.ends_with("_bucket");
        goes_on.then(|| (sample.to_owned(), value.parse().unwrap()))
    };
    let counters: HashMap<_, _> = page.lines().filter_map(of).collect();
    assert!(counters.len() > 50, "{page}");
    counters
}

/// Without this, unreadable state keeps the program from starting, or the log does not say that connections are lost.
#[test]
fn garbage_ends_with_a_line_and_served_listeners() {
    let origin = Origin::echo("a");
    let mut manager = Manager::start(config(&origin));
    for state in [&b""[..], b"12345678", &[0xFF; 5000]] {
        let _lost = guest(&manager);
        manager.signal(Signal::TERM);
        assert!(manager.wait_for_exit());
        manager.replace_state(state);
        let start = manager.lines.len();
        manager.spawn();
        let told = |_: From, line: &str| line.contains("cannot be read, and its connections are lost").then_some(());
        manager.lines.wait(start, told);
        assert_eq!(guest(&manager).finish().end(), End::Fin);
        assert_eq!(manager.stored(), 0);
    }
}

/// Without this, a next process with a lower fd limit fails, or ends connections as if they were complete.
#[test]
fn fewer_fds_hold_fewer_connections() {
    let origin = Origin::echo("a");
    let mut manager = Manager::start(config(&origin));
    let mut clients: Vec<Client> = (0..100).map(|_| guest(&manager)).collect();
    manager.before = "ulimit -n 128";
    manager.restart();
    let (mut kept, mut reset) = (0, 0);
    for client in &mut clients {
        match client.stream.write_all(b"x").and_then(|()| client.stream.read_exact(&mut [0])) {
            Ok(()) => kept += 1,
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::UnexpectedEof, "an end that looks orderly");
                reset += 1;
            }
        }
    }
    assert!(kept > 10 && reset > 10, "{kept} kept, {reset} reset");
    let said = manager.lines.of(From::Stdout).iter().filter(|line| line.contains("could not be taken over")).count();
    assert_eq!(said, 1);
}

/// Without this, a next process with a lower fd limit has one client go on with another one's server, or ends
/// connections as if they were complete: there are so many that more fds come at once than there is room for.
#[test]
fn sockets_stay_together_where_fds_run_out() {
    const CLIENTS: usize = 2995;
    if getrlimit(Resource::Nofile).current.is_some_and(|limit| limit < 8000) {
        return tell_skipped("sockets_stay_together_where_fds_run_out", "it needs 8,000 fds");
    }
    // The servers' ends, by their clients.
    let servers = Arc::new(Mutex::new(HashMap::new()));
    let keep = Arc::clone(&servers);
    let origin = Origin::serve(Expect::Header, move |Visit { header, stream, .. }| {
        let client = header.and_then(|header| header.source).unwrap();
        keep.lock().unwrap().insert(client, stream);
    });
    let mut config = config(&origin);
    config["zero_copy"] = json!("off");
    config["health_check"] = json!({ "type": "off" });
    let mut manager = Manager::start(config);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| manager.connect()).collect();
    for client in &mut clients {
        client.hello("a.test");
    }
    wait_until("all have come", || servers.lock().unwrap().len() == CLIENTS);
    manager.before = "ulimit -n 130";
    manager.restart();
    // Each server tells the port of its client. It fails where the connection has ended.
    for (client, server) in servers.lock().unwrap().iter_mut() {
        let _ = server.write_all(&client.port().to_be_bytes());
    }
    let (mut kept, mut reset, mut wrong, mut orderly) = (0, 0, 0, 0);
    for client in &mut clients {
        let mut port = [0; 2];
        match client.stream.read_exact(&mut port).map_err(|error| error.kind()) {
            Ok(()) if u16::from_be_bytes(port) == client.address.port() => kept += 1,
            Ok(()) => wrong += 1,
            Err(ErrorKind::UnexpectedEof) => orderly += 1,
            Err(error) => {
                assert_eq!(error, ErrorKind::ConnectionReset);
                reset += 1;
            }
        }
    }
    assert!(
        kept > 10 && reset > 10 && wrong + orderly == 0,
        "{kept} kept, {reset} reset, {wrong} wrong, {orderly} orderly"
    );
}

/// Without this, an upgrade that removes a route or server cuts its connections off, or keeps those that should end.
#[test]
fn connections_outlive_their_route() {
    let (origin, other) = (Origin::echo("a"), Origin::echo("b"));
    let mut before = config(&origin);
    before["routes"]["b"] = json!({ "sni": ["b.test"], "servers": [other.server()] });
    before["routes"]["c"] = json!({ "sni": ["c.test"], "servers": [other.server()], "on_down": "close" });
    let mut manager = Manager::start(before);
    let mut goes_on = greeted(manager.connect(), "b");
    let mut ends = manager.connect();
    assert_eq!(ends.hello("c.test").greeting(), "b");
    manager.configure(config(&origin));
    manager.restart();
    manager.restart();
    goes_on.send(b"x").expect(b"x");
    assert_ne!(ends.end(), End::Silence);
    assert_eq!(line(&manager, &ends, "CLOSE").ts(), "KD");
    goes_on.finish();
    let close = line(&manager, &goes_on, "CLOSE");
    assert_eq!((close.backend(), close.ts()), ("b", "--"));
}

/// Without this, an operator with a stored-fd service cannot let connections finish before the process ends.
#[test]
fn sigusr1_drains_all_the_same() {
    let origin = Origin::echo("a");
    let mut manager = Manager::start(config(&origin));
    let mut client = guest(&manager);
    manager.signal(Signal::USR1);
    manager.lines.wait(0, |_, line| line.contains("Draining: 1 connection").then_some(()));
    client.send(b"x").expect(b"x");
    assert_eq!(client.finish().end(), End::Fin);
    assert!(manager.wait_for_exit());
    assert_eq!(manager.stored(), 0);
}

/// Without this, a restart of a host that an operator has drained cuts off what was to finish.
#[test]
fn sigterm_hands_over_after_a_drain_too() {
    let (origin, folder) = (Origin::echo("a"), Folder::new());
    let socket = folder.path().join("control.sock");
    let mut config = config(&origin);
    config["control"] = json!({ "socket": socket });
    let mut manager = Manager::start(config);
    let mut client = guest(&manager);
    let drained = Command::new(program()).args(["drain", "--socket"]).arg(socket).output().unwrap();
    assert!(drained.status.success(), "{drained:?}");
    manager.restart();
    client.send(b"x").expect(b"x");
    assert_eq!(guest(&manager).finish().end(), End::Fin);
}
