//! Many restarts under load: idle and busy connections, waiting clients, and new ones without pause.
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::chaos::stall;
use crate::kit::client::Client;
use crate::kit::hello::{hello, hello_of};
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::manager::Manager;
use crate::kit::namespace::skip;
use crate::kit::oracle;
use crate::kit::origin::{Expect, Origin, Visit};
use crate::kit::places::free_address;
use crate::kit::stream;
use crate::kit::wait_until;
use crate::tls_probes::metric;

/// How much of everything there is.
struct Size {
    restarts: usize,
    /// Connections that say nothing.
    idle: usize,
    /// Bytes of each of the two downloads.
    download: usize,
    /// Bytes of the upload, and of the echo.
    other: usize,
    /// Whether each relay's bytes are counted while no process has them. That takes time, so that new clients wait
    /// longer.
    counts: bool,
}

/// Without this, restarts under mixed load lose or add bytes, or refuse clients.
#[test]
fn everything_goes_through_restarts() {
    go_through(&Size { restarts: 4, idle: 100, download: 48 << 20, other: 12 << 20, counts: true });
}

/// Without this, a restart works for few connections only. It prints how long new clients waited.
#[test]
#[ignore = "a minute, and 14,000 fds; CONTRIBUTING.md has the command"]
fn thousands_go_through_twenty_restarts() {
    go_through(&Size { restarts: 20, idle: 3_500, download: 3 << 29, other: 256 << 20, counts: false });
}

/// Without this, bytes could be lost and made up again among thousands of connections.
#[test]
#[ignore = "a minute, and 14,000 fds; CONTRIBUTING.md has the command"]
fn thousands_are_accounted_for() {
    go_through(&Size { restarts: 20, idle: 3_500, download: 3 << 29, other: 256 << 20, counts: true });
}

/// Between two new clients.
const PAUSE: Duration = Duration::from_millis(10);
/// Clients whose hello comes in pieces, and how long it is.
const LATE: usize = 5;
const LONG_HELLO: usize = 4_000;
/// The seed of what is streamed.
const SEED: u64 = 7;

fn go_through(size: &Size) {
    let pace = Arc::new(Pace::new(size));
    let quiet = Quiet::default();
    let admin = free_address();
    let origins = Origins::new(&pace, &quiet);
    let mut manager = Manager::start(origins.config(admin));
    let address = manager.address;
    let mut idle: Vec<Client> = (0..size.idle).map(|_| said_hello(address, "quiet")).collect();
    let mut first = greeted(address, "one");
    let mut queued = said_hello(address, "one");
    let long_hello = hello_of("echo.test", LONG_HELLO).build();
    let pieces: Vec<&[u8]> = long_hello.chunks(LONG_HELLO / (size.restarts + 1)).collect();
    let mut late: Vec<Client> = (0..LATE).map(|_| Client::connect(address)).collect();
    // Its server does not read either, so that its relay has to hold something.
    let stalled = stall(said_hello(address, "quiet"));
    wait_until("all idle ones have come", || quiet.lock().unwrap().len() == size.idle + 1);

    let (over, waits) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let release = Release(&pace, &over);
        let stream = |number| {
            scope.spawn({
                let pace = &pace;
                move || run(pace, number, address)
            })
        };
        let streams: Vec<_> = (0..STREAMS.len()).map(stream).collect();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                scope.spawn(|| {
                    let came = Instant::now();
                    drop(greeted(address, "echo"));
                    waits.lock().unwrap().push(came.elapsed());
                });
                thread::sleep(PAUSE);
            }
        });
        for piece in &pieces[..size.restarts] {
            for client in &mut late {
                client.send(piece);
            }
            pace.wait_for_all();
            manager.signal(Signal::TERM);
            assert!(manager.wait_for_exit());
            if size.counts {
                compare_what_is_held(&manager, &origins, size.idle);
            }
            manager.spawn();
            first.send(b"x").expect(b"x");
            pace.restarts.fetch_add(1, Ordering::Relaxed);
        }
        drop(release);
        for stream in streams {
            stream.join().unwrap();
        }
    });
    let waits = waits.into_inner().unwrap();
    say(&waits);
    for client in &mut late {
        client.send(&pieces[size.restarts..].concat());
        assert_eq!(client.greeting(), "echo");
        client.expect(&long_hello);
    }
    let stalled_at = stalled.address;
    quiet.lock().unwrap().remove(&stalled_at);
    drop((first, stalled));
    assert_eq!(queued.greeting(), "one");
    queued.expect(&hello("one.test"));
    for client in &mut idle {
        both_ways(client, &quiet);
    }
    let spliced = metric(admin, "haproxy_process_spliced_bytes_out_total");
    assert!(spliced > size.download as u64, "of two downloads, {spliced} bytes were spliced");
    let all = waits.len() + idle.len() + late.len() + 3 + STREAMS.len();
    drop((idle, late, queued));
    all_were_let_in_and_ended_well(&manager, all, stalled_at);
}

/// Timings are told and fail nothing.
fn say(waits: &[Duration]) {
    let mut sorted = waits.to_vec();
    sorted.sort();
    let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part) as usize];
    println!("{} new clients waited {:?} (half), {:?} (99 %), {:?} (all)", sorted.len(), at(0.5), at(0.99), at(1.0));
}

/// Neither more nor fewer than there were, whichever process let them in, and none before its time.
fn all_were_let_in_and_ended_well(manager: &Manager, all: usize, stalled: SocketAddr) {
    let entries = |step: &str| -> Vec<Entry> {
        let lines = manager.lines.of(From::Stdout);
        lines.iter().filter_map(|line| Entry::parse(line)).filter(|entry| entry.step == step).collect()
    };
    wait_until("each has had its last line", || entries("CLOSE").len() >= all);
    assert_eq!(entries("ACCEPT").len(), all);
    let closes = entries("CLOSE");
    assert_eq!(closes.len(), all);
    let odd: Vec<_> = closes.iter().filter(|entry| entry.ts() != "--" && entry.client != stalled).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

/// Between two processes, the kernel's figures of every relay's two sockets and what is parked of it have to agree to
/// the byte.
fn compare_what_is_held(manager: &Manager, origins: &Origins, at_least: usize) {
    if !oracle::is_available() {
        return skip("the count of what is held", "ss is not installed");
    }
    let origins = [&origins.quiet, &origins.echo, &origins.one, &origins.down, &origins.up];
    let parked = manager.held_by_parked_relays();
    let clients: Vec<SocketAddr> = parked.keys().copied().collect();
    let sockets = oracle::sockets_in_flight(manager.address, &clients, &origins);
    let counted = oracle::held_by_relays(&sockets, manager.address, &origins);
    let both: Vec<_> = parked.iter().filter_map(|(client, held)| Some((client, held, counted.get(client)?))).collect();
    assert!(both.len() >= at_least, "{} of {}", both.len(), parked.len());
    let odd: Vec<_> = both.iter().filter(|(_, parked, counted)| parked != counted).collect();
    assert!(odd.is_empty(), "client, what is parked, what the kernel counts: {odd:?}");
    assert!(parked.values().any(|held| *held != [0, 0]), "not even one that does not read has something parked");
}

fn said_hello(address: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(address);
    client.hello(&format!("{name}.test"));
    client
}

fn greeted(address: SocketAddr, name: &str) -> Client {
    let mut client = said_hello(address, name);
    assert_eq!(client.greeting(), name);
    client.expect(&hello(&format!("{name}.test")));
    client
}

/// Servers' ends of idle connections, by their clients.
type Quiet = Arc<Mutex<HashMap<SocketAddr, TcpStream>>>;

/// Says a word each way on a connection that was idle.
fn both_ways(client: &mut Client, quiet: &Quiet) {
    let mut server = quiet.lock().unwrap().remove(&client.address).unwrap();
    let mut heard = vec![0; hello("quiet.test").len() + "up".len()];
    client.send(b"up");
    server.read_exact(&mut heard).unwrap();
    assert!(heard.ends_with(b"up"));
    server.write_all(b"down").unwrap();
    client.expect(b"down");
}

struct Origins {
    quiet: Origin,
    echo: Origin,
    one: Origin,
    down: Origin,
    up: Origin,
}

impl Origins {
    fn new(pace: &Arc<Pace>, quiet: &Quiet) -> Origins {
        let (quiet, sent, paced) = (Arc::clone(quiet), pace.download, Arc::clone(pace));
        Origins {
            quiet: Origin::serve(Expect::Header, move |Visit { header, stream, .. }| {
                let client = header.and_then(|header| header.source).unwrap();
                quiet.lock().unwrap().insert(client, stream);
            }),
            echo: Origin::echo("echo"),
            one: Origin::echo("one"),
            down: Origin::serve(Expect::Header, move |mut visit| {
                skip_hello(&mut visit.stream, "down");
                let _ = stream::send(&mut visit.stream, SEED, sent);
            }),
            up: Origin::serve(Expect::Header, move |mut visit| {
                skip_hello(&mut visit.stream, "up");
                let came = stream::receive(&mut visit.stream, SEED, |total| paced.go_on(UP, total));
                let _ = visit.stream.write_all(&(came.unwrap_or(0) as u64).to_le_bytes());
            }),
        }
    }

    fn config(&self, admin: SocketAddr) -> Value {
        let route = |name: &str, server: Value| json!({ "sni": [format!("{name}.test")], "servers": [server] });
        json!({
            "routes": {
                "quiet": route("quiet", self.quiet.server()),
                "echo": route("echo", self.echo.server()),
                "one": route("one", self.one.server_with(json!({ "max_connections": 1 }))),
                "down": route("down", self.down.server()),
                "up": route("up", self.up.server()),
            },
            "timeouts": { "client_hello": "10m", "connect": "10m", "tunnel": "10m" },
            "admin": { "listen": [admin] },
        })
    }
}

fn skip_hello(stream: &mut TcpStream, name: &str) {
    let mut heard = vec![0; hello(&format!("{name}.test")).len()];
    let _ = stream.read_exact(&mut heard);
}

/// Streams, by their numbers.
const STREAMS: [&str; 4] = ["down", "down", "up", "echo"];
const UP: usize = 2;

/// How far each stream has come. None goes further than the restarts, so that each restart meets all of them on their
/// way.
struct Pace {
    download: usize,
    other: usize,
    of: usize,
    restarts: AtomicUsize,
    come: [AtomicUsize; STREAMS.len()],
}

impl Pace {
    fn new(size: &Size) -> Pace {
        let Size { restarts: of, download, other, .. } = *size;
        Pace { download, other, of, restarts: AtomicUsize::new(0), come: Default::default() }
    }

    fn length(&self, stream: usize) -> usize {
        if STREAMS[stream] == "down" { self.download } else { self.other }
    }

    /// The part of a stream that belongs to each restart, and one that is left for after the last.
    fn part(&self, stream: usize) -> usize {
        self.length(stream) / (self.of + 1)
    }

    /// Notes that `total` bytes of a stream have come, and holds it up: it is not to take the whole machine, nor to get
    /// ahead.
    fn go_on(&self, stream: usize, total: usize) {
        self.come[stream].store(total, Ordering::Relaxed);
        loop {
            thread::sleep(Duration::from_millis(1));
            let parts = self.restarts.load(Ordering::Relaxed).saturating_add(1);
            if total <= parts.saturating_mul(self.part(stream)) {
                return;
            }
        }
    }

    /// Waits until each stream is within the part of the next restart.
    fn wait_for_all(&self) {
        let next = self.restarts.load(Ordering::Relaxed);
        let begun = |stream: usize| self.come[stream].load(Ordering::Relaxed) > next * self.part(stream);
        wait_until("each stream is on its way", || (0..STREAMS.len()).all(begun));
    }
}

/// Lets everything end that waits for the restarts, also when the test fails: a scope waits for its threads.
struct Release<'a>(&'a Pace, &'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.restarts.store(usize::MAX, Ordering::Relaxed);
        self.1.store(true, Ordering::Relaxed);
    }
}

/// One stream, from its first byte to its last: the right ones, and no more.
fn run(pace: &Pace, number: usize, address: SocketAddr) {
    let (name, length) = (STREAMS[number], pace.length(number));
    let mut client = said_hello(address, name);
    if name == "up" {
        stream::send(&mut client.stream, SEED, length).unwrap();
        client.finish().expect(&(length as u64).to_le_bytes());
        return;
    }
    let mut sender = client.stream.try_clone().unwrap();
    thread::scope(|scope| {
        if name == "echo" {
            assert_eq!(client.greeting(), name);
            client.expect(&hello("echo.test"));
            scope.spawn(move || {
                stream::send(&mut sender, SEED, length).unwrap();
                sender.shutdown(Shutdown::Write).unwrap();
            });
        }
        let came = stream::receive(&mut client.stream, SEED, |total| pace.go_on(number, total)).unwrap();
        assert_eq!(came, length, "{name}");
    });
}
