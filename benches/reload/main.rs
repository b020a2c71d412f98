//! What those who are served notice of a reload of 50,000 routes.
//!
//!     cargo bench --bench reload
//!
//! A client pings an echo through the proxy, in rounds without and with reloads one after another. A reload brings the same
//! file, or one in which every route is another than it was. Nothing fails: times are for people to look at, on a machine of
//! two CPUs or more that does nothing else.
#![expect(clippy::expect_used, reason = "a program for developers, which may end when something is missing")]
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, json};

const ROUTES: usize = 50_000;
const ROUNDS: usize = 5;
/// A client's rest after each ping.
const REST: Duration = Duration::from_micros(500);

fn main() {
    let origin = echo();
    let mut proxy = Proxy::start(origin);
    let mut stream = TcpStream::connect(proxy.tls).expect("the proxy lets clients in");
    stream.set_nodelay(true).expect("an option of every socket");
    ask(&mut stream, &HelloBuilder::new().sni("r0.test").build());
    let (mut quiet, mut same, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ping_until(&mut stream, &mut quiet, Duration::from_secs(1));
        same.push(proxy.reload_while(&mut stream));
        proxy.write(origin, round + 1);
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

fn ping(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    ask(stream, &[7; 64]);
    let took = begun.elapsed();
    thread::sleep(REST);
    took
}

/// Sends bytes and reads as many.
fn ask(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the proxy takes bytes");
    stream.read_exact(&mut vec![0; bytes.len()]).expect("an echo answers");
}

/// Median, 99 of 100, 999 of 1,000, and the longest.
fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default();
    let [median, most, nearly_all, all] = [0.5, 0.99, 0.999, 1.0].map(|share| at(share).as_secs_f64() * 1000.0);
    format!("p50 {median:.3} ms, p99 {most:.3} ms, p99.9 {nearly_all:.3} ms, max {all:.3} ms ({})", times.len())
}

/// The proxy, killed when dropped.
struct Proxy {
    process: Child,
    file: PathBuf,
    tls: SocketAddr,
    log: BufReader<ChildStdout>,
}

impl Proxy {
    fn start(origin: SocketAddr) -> Proxy {
        let tls = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
        let file = std::env::temp_dir().join(format!("lb-reload-{}.json", std::process::id()));
        write(&file, tls, origin, 0);
        let mut process = Command::new(env!("CARGO_BIN_EXE_fiscalismia-lb"))
            .args(["run", "--config"])
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let log = BufReader::new(process.stdout.take().expect("its log"));
        let mut proxy = Proxy { process, file, tls, log };
        proxy.wait_for("Limits: ");
        proxy
    }

    fn write(&self, origin: SocketAddr, round: usize) {
        write(&self.file, self.tls, origin, round);
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
        kill_process(Pid::from_child(&self.process), Signal::HUP).expect("a process of our own");
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

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().expect("a process of our own");
        self.process.wait().expect("a process of our own");
        fs::remove_file(&self.file).expect("a temporary file");
    }
}

/// Each round has other timeouts for every route.
fn write(file: &PathBuf, tls: SocketAddr, origin: SocketAddr, round: usize) {
    let route = |name: &str| {
        json!({
            "sni": [format!("{name}.test")], "servers": [origin], "proxy_protocol": "off",
            "timeouts": { "tunnel": format!("{}s", 1000 + round) },
        })
    };
    let names = (0..ROUTES).map(|number| format!("r{number}"));
    let routes: Map<_, _> = names.map(|name| (name.clone(), route(&name))).collect();
    let config = json!({
        "listen": [tls], "routes": routes, "log": { "connections": "off" }, "health_check": { "type": "off" } });
    fs::write(file, config.to_string()).expect("a temporary file");
}

/// Sends back whatever comes, on a thread for each connection.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut room = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut room) {
                    if stream.write_all(room.get(..n).unwrap_or_default()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}
