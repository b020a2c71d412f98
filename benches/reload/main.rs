//! The delay of open connections while 50,000 routes are reloaded.
//!
//!     cargo bench --bench reload
//!
//! A client pings an echo through the proxy, in rounds without and with reloads one after another. A reload reads the
//! same file, or one in which every route has changed. Nothing fails: the times are to be read, on a machine of two
//! CPUs or more that does nothing else.
#![expect(clippy::expect_used, reason = "a program for developers, which may end when something is missing")]
#[path = "../kit/mod.rs"]
mod kit;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use kit::{File, Process, connect, echo, free_address, ping, spread};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

const ROUTES: usize = 50_000;
const ROUNDS: usize = 5;

fn main() {
    let origin = echo();
    let mut proxy = Proxy::start(origin);
    let mut stream = connect(proxy.tls, &HelloBuilder::new().sni("r0.test").build());
    let (mut quiet, mut same, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ping_until(&mut stream, &mut quiet, Duration::from_secs(1));
        same.push(proxy.reload_while(&mut stream));
        proxy.file.write(&config(proxy.tls, origin, round + 1));
        other.push(proxy.reload_while(&mut stream));
    }
    println!("{ROUTES} routes, {ROUNDS} rounds");
    println!("{:>20}: {}", "without reloads", spread(&mut quiet));
    for (what, rounds) in [("the same file", same), ("every route another", other)] {
        let took: Vec<Duration> = rounds.iter().map(|(took, _)| *took).collect();
        let mut pings: Vec<Duration> = rounds.into_iter().flat_map(|(_, pings)| pings).collect();
        println!("{what:>20}: {}; a reload took {:?} at most", spread(&mut pings), took.iter().max());
    }
}

fn ping_until(stream: &mut TcpStream, times: &mut Vec<Duration>, span: Duration) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        times.push(ping(stream));
    }
}

/// The proxy, and what it logs.
struct Proxy {
    process: Process,
    file: File,
    tls: SocketAddr,
    log: BufReader<ChildStdout>,
}

impl Proxy {
    fn start(origin: SocketAddr) -> Proxy {
        let (tls, file) = (free_address(), File::new("reload"));
        file.write(&config(tls, origin, 0));
        let mut command = Command::new(env!("CARGO_BIN_EXE_fiscalismia-lb"));
        let mut process = Process::start(command.args(["run", "--config"]).arg(&file.0).stdout(Stdio::piped()));
        let log = BufReader::new(process.0.stdout.take().expect("its log"));
        let mut proxy = Proxy { process, file, tls, log };
        proxy.wait_for("Limits: ");
        proxy
    }

    fn wait_for(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(self.log.read_line(&mut line).expect("its log") > 0, "the program ends");
        }
    }

    /// Reloads; how long that took, and what pings took meanwhile.
    fn reload_while(&mut self, stream: &mut TcpStream) -> (Duration, Vec<Duration>) {
        let mut times = Vec::new();
        let begun = Instant::now();
        kill_process(Pid::from_child(&self.process.0), Signal::HUP).expect("a process of our own");
        let took = thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                self.wait_for("Reloaded ");
                begun.elapsed()
            });
            while !waiting.is_finished() {
                times.push(ping(stream));
            }
            waiting.join().expect("a thread ends")
        });
        (took, times)
    }
}

/// Each round has other timeouts for every route.
fn config(tls: SocketAddr, origin: SocketAddr, round: usize) -> Value {
    let route = |name: &str| {
        json!({
            "sni": [format!("{name}.test")], "servers": [origin], "proxy_protocol": "off",
            "timeouts": { "tunnel": format!("{}s", 1000 + round) },
        })
    };
    let names = (0..ROUTES).map(|number| format!("r{number}"));
    let routes: Map<_, _> = names.map(|name| (name.clone(), route(&name))).collect();
    json!({ "listen": [tls], "routes": routes, "log": { "connections": "off" }, "health_check": { "type": "off" } })
}
