//! The cost of `/metrics` with a thousand routes, and the delay of other clients meanwhile.
//!
//!     cargo bench --bench scrape
//!
//! First it times whole scrapes. Then clients ping an echo through the proxy and open short connections, in rounds with
//! and without ten scrapes a second in turn, so that other load of the machine affects both alike.
//!
//! The proxy has the first CPU to itself. Clients and echo share the second one. The scraper, a process of its own,
//! gets what they leave (`SCHED_IDLE`), because it stands for another host. Nothing fails: the times are to be read, on
//! a machine of two CPUs or more that does nothing else.
#![expect(clippy::expect_used, reason = "a program for developers, which may end when something is missing")]
#[path = "../kit/mod.rs"]
mod kit;

use std::env;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use kit::{File, Process, ask, connect, echo, free_address, ping, spread};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Map, json};

const ROUTES: usize = 1_000;
const SCRAPES: usize = 50;
/// Begins the arguments of who scrapes.
const SCRAPER: &str = "--scrape";
/// From one scrape to the next.
const PACE: Duration = Duration::from_millis(100);
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(5);
const CLIENTS: usize = 4;
/// Pings of a client for each of its short connections.
const PINGS: usize = 4;

fn main() {
    if let Some(admin) = env::args().skip_while(|argument| argument != SCRAPER).nth(1) {
        return scrape_for_ever(admin.parse().expect("an address"));
    }
    let mut second = CpuSet::new();
    second.set(1);
    sched_setaffinity(None, &second).expect("a second CPU");
    let proxy = Proxy::start();
    thread::sleep(Duration::from_secs(2));
    let mut took = Vec::new();
    let mut size = 0;
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        size = scrape(proxy.admin);
        took.push(begun.elapsed());
        thread::sleep(PACE);
    }
    println!("/metrics of {ROUTES} routes: {size} bytes in {}", spread(&mut took));

    let mut quiet = Times::default();
    let mut scraped = Times::default();
    for round in 0..ROUNDS {
        for with_scrapes in [round % 2 == 1, round % 2 == 0] {
            let times = measure(&proxy, with_scrapes);
            (if with_scrapes { &mut scraped } else { &mut quiet }).add(times);
        }
    }
    for (what, times) in [("without scrapes", &mut quiet), ("ten scrapes a second", &mut scraped)] {
        println!("{what:>20}: ping  {}", spread(&mut times.pings));
        println!("{:20}  short {}", "", spread(&mut times.shorts));
    }
}

/// How long pings, and short connections to their first byte, took.
#[derive(Default)]
struct Times {
    pings: Vec<Duration>,
    shorts: Vec<Duration>,
}

impl Times {
    fn add(&mut self, other: Times) {
        self.pings.extend(other.pings);
        self.shorts.extend(other.shorts);
    }
}

/// One round.
fn measure(proxy: &Proxy, with_scrapes: bool) -> Times {
    let is_over = AtomicBool::new(false);
    let scraper = with_scrapes.then(|| {
        let own = env::current_exe().expect("a path");
        Process::start(Command::new("chrt").args(["--idle", "0"]).arg(own).arg(SCRAPER).arg(proxy.admin.to_string()))
    });
    let times = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(proxy.tls, &is_over))).collect();
        thread::sleep(ROUND);
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().fold(Times::default(), |mut all, client| {
            all.add(client.join().expect("a client ends"));
            all
        })
    });
    drop(scraper);
    times
}

/// What the other host does.
fn scrape_for_ever(admin: SocketAddr) {
    let mut next = Instant::now();
    loop {
        scrape(admin);
        next += PACE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn client(tls: SocketAddr, is_over: &AtomicBool) -> Times {
    let hello = HelloBuilder::new().sni("echo.test").build();
    let mut open = connect(tls, &hello);
    let mut times = Times::default();
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..PINGS {
            times.pings.push(ping(&mut open));
        }
        let begun = Instant::now();
        ask(&mut TcpStream::connect(tls).expect("the proxy lets clients in"), &hello);
        times.shorts.push(begun.elapsed());
    }
    times
}

/// The size of an answer that was read to its end.
fn scrape(admin: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(admin).expect("the admin endpoints answer");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request is taken");
    let mut room = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match stream.read(&mut room).expect("an answer comes to its end") {
            0 => return size,
            n => size += n,
        }
    }
}

/// The proxy with its routes, of which one leads to an echo.
struct Proxy {
    _process: Process,
    tls: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    fn start() -> Proxy {
        let [tls, admin] = [free_address(), free_address()];
        let origin = echo();
        let route =
            |name: String| json!({ "sni": [format!("{name}.test")], "servers": [origin], "proxy_protocol": "off" });
        let others = (1..ROUTES).map(|number| format!("route-{number}"));
        let routes: Map<_, _> = others.chain(["echo".to_owned()]).map(|name| (name.clone(), route(name))).collect();
        let config = json!({
            "listen": [tls], "admin": { "listen": [admin] }, "routes": routes, "log": { "connections": "off" } });
        let file = File::new("scrape");
        file.write(&config);
        let program = env!("CARGO_BIN_EXE_fiscalismia-lb");
        let mut command = Command::new("taskset");
        let command = command.args(["--cpu-list", "0", program, "run", "--config"]).arg(&file.0);
        let process = Process::start(command.stdout(Stdio::null()));
        let proxy = Proxy { _process: process, tls, admin };
        while TcpStream::connect(admin).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        proxy
    }
}
