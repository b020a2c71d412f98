//! An hour of the program's life in a fifth of the time: a million connections, faulty clients and servers, reloads and
//! restarts. The run fails if the program holds more memory or file descriptors at the end than its limits allow.
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::Job;
use crate::hello::{Order, hello};
use crate::load::{Load, Tally, Target};
use crate::peer::{Kind, Peer, USUAL, server, sni};
use crate::proxy::{Cores, Proxy, text};

/// Connections of a whole run, at least.
const CONNECTIONS: usize = 1_000_000;
const AT_ONCE: usize = 16;
/// Connections that live through reloads and restarts.
const STAYING: usize = 50;
const SAMPLE: Duration = Duration::from_secs(5);
const RELOAD: Duration = Duration::from_secs(7);
const RESTART: Duration = Duration::from_secs(31);
const FREEZE: Duration = Duration::from_secs(17);
/// After so long, everything has been gone through once.
const WARM_UP: Duration = Duration::from_secs(40);
/// What the program may take more at the end than at most in the first third: malloc keeps what the busiest moment took.
const GROWTH: u64 = 1 << 20;
/// File descriptors of the pipes that are kept for the next bulk transfers.
const KEPT: usize = 32;
/// Bytes of a bulk transfer.
const BULK: u64 = 8 << 20;
/// Longer than every timeout of the configuration.
const CALM: Duration = Duration::from_secs(24);
const TIMEOUTS: [(&str, &str); 4] =
    [("client_hello", "1s"), ("connect", "1s"), ("tunnel", "20s"), ("half_closed", "2s")];

/// What the process holds at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    connections: usize,
    memory: u64,
    fds: usize,
}

struct Soak {
    load: Load,
    proxy: Proxy,
    peer: Peer,
    file: PathBuf,
    admin: SocketAddr,
    target: Target,
    /// Clients that do something wrong, and until when they hold their connection.
    faulty: Vec<(Instant, TcpStream)>,
    begun: Instant,
    finished: usize,
    lost: usize,
    reloads: usize,
    restarts: usize,
    samples: Vec<Sample>,
    /// After the first rest.
    at_rest: Option<Sample>,
}

/// Runs for `length`, and writes soak.md and soak.svg to `out`.
///
/// # Errors
/// Why the run could not go on, or what was not flat.
pub fn run(program: PathBuf, cores: Cores, length: Duration, dir: &Path, out: &Path) -> Result<(), String> {
    let peer = Peer::at(Kind::FiscalismiaLb, program).map_err(text)?;
    let mut load = Load::new().map_err(text)?;
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(text)?;
    let setup = crate::peer::Setup { master: true, ..USUAL };
    let proxy = Proxy::start(&peer, setup, &mut load, cores, dir)?;
    let mut soak = Soak {
        target: proxy.target(517),
        load,
        proxy,
        file: dir.join(format!("{}.conf", peer.kind.name())),
        peer,
        admin: free,
        faulty: Vec::new(),
        begun: Instant::now(),
        finished: 0,
        lost: 0,
        reloads: 0,
        restarts: 0,
        samples: Vec::new(),
        at_rest: None,
    };
    soak.reload()?;
    soak.live(WARM_UP.min(length))?;
    // What it keeps for the next connections it has now.
    soak.at_rest = soak.samples.last().copied();
    soak.live(length)?;
    soak.report(out)?;
    soak.judge()
}

impl Soak {
    /// The configuration; a route comes and goes, and weights change, from one to the next.
    fn config(&self) -> Value {
        let (origin, odd) = (server(0, self.load.origin_port).to_string(), self.reloads % 2);
        let good = |index: usize| (format!("r{index}"), json!({ "sni": [sni(index)], "servers": [origin] }));
        let mut routes: serde_json::Map<_, _> = (0..USUAL.routes).map(good).collect();
        let dead = json!([{ "address": "127.0.0.1:1" }, { "address": "127.0.0.1:2", "weight": 1 + odd }]);
        routes.insert("dead".into(), json!({ "sni": ["dead.bench.example"], "servers": dead }));
        let narrow = json!([{ "address": origin, "max_connections": 1 }]);
        routes.insert("narrow".into(), json!({ "sni": ["narrow.bench.example"], "servers": narrow }));
        routes.insert(format!("extra{odd}"), json!({ "sni": ["extra.bench.example"], "servers": [origin] }));
        json!({
            "listen": [self.target.proxy],
            "admin": { "listen": [self.admin] },
            "routes": routes,
            "health_check": { "type": "tcp", "interval": "1s" },
            "limits": { "connections": 5000 },
            "timeouts": serde_json::Map::from_iter(TIMEOUTS.map(|(key, value)| (key.to_owned(), json!(value)))),
        })
    }

    fn reload(&mut self) -> Result<(), String> {
        fs::write(&self.file, self.config().to_string()).map_err(text)?;
        self.reloads += 1;
        self.proxy.reload(&self.peer)
    }

    /// Goes through everything over and over, and then comes to rest.
    fn live(&mut self, length: Duration) -> Result<(), String> {
        let begun = Instant::now();
        let (mut sampled, mut reloaded, mut restarted, mut frozen) = (begun, begun, begun, begun);
        let due = |last: &mut Instant, every: Duration| {
            let is_due = last.elapsed() >= every;
            if is_due {
                *last = Instant::now();
            }
            is_due
        };
        let step = CONNECTIONS as f64 / length.as_secs_f64() / 20.0;
        self.load.forgiving = true;
        let mut staying = self.load.prepare(&self.target, STAYING, Job::Ping(1))?;
        self.load.tally = Tally::default();
        while begun.elapsed() < length || self.finished < self.planned(length) {
            let turn = Instant::now();
            self.load.short(&self.target, step as usize, AT_ONCE)?;
            self.go_wrong()?;
            if due(&mut reloaded, RELOAD) {
                self.reload()?;
            }
            if due(&mut restarted, RESTART) {
                self.proxy.restart(&self.peer)?;
                self.restarts += 1;
                // They are asked before their silence is too long, and go on in the next process.
                staying = self.ask(&staying)?;
            }
            if due(&mut frozen, FREEZE) {
                self.proxy.signal(Signal::STOP)?;
                std::thread::sleep(Duration::from_millis(300));
                self.proxy.signal(Signal::CONT)?;
            }
            if due(&mut sampled, SAMPLE) {
                self.scrape();
                self.sample()?;
                staying = self.ask(&staying)?;
            }
            self.count();
            std::thread::sleep(Duration::from_millis(50).saturating_sub(turn.elapsed()));
        }
        self.load.clear();
        self.faulty.clear();
        let calm = Instant::now();
        while calm.elapsed() < CALM {
            self.load.settle()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        self.sample()
    }

    /// All connections of a run that is shorter than a whole one.
    fn planned(&self, length: Duration) -> usize {
        if length < Duration::from_mins(5) { self.finished } else { CONNECTIONS }
    }

    fn count(&mut self) {
        self.finished += self.load.tally.finished;
        self.lost += self.load.tally.lost;
        self.load.tally = Tally::default();
    }

    /// Has each of the connections that stay bring a ping and its echo, and opens as many anew.
    fn ask(&mut self, staying: &[usize]) -> Result<Vec<usize>, String> {
        self.count();
        self.load.go(staying)?;
        self.load.all_end(staying.len())?;
        self.count();
        for job in [Job::Down(BULK), Job::Up(BULK)] {
            let bulk = self.load.prepare(&self.target, 4, job)?;
            self.load.go(&bulk)?;
            self.load.all_end(bulk.len())?;
            self.count();
        }
        let again = self.load.prepare(&self.target, STAYING, Job::Ping(1))?;
        self.load.tally = Tally::default();
        Ok(again)
    }

    /// A few clients of each kind that does something wrong.
    fn go_wrong(&mut self) -> Result<(), String> {
        let now = Instant::now();
        self.faulty.retain(|(until, _)| *until > now);
        let good = hello(&sni(0), 517, Order::Answer(64 << 10));
        let to = |name: &str| hello(&format!("{name}.bench.example"), 517, Order::Answer(1024));
        let kinds: [(&[u8], u64, bool); 8] = [
            (&good[..100], 3000, false),             // half a hello, and then silence
            (&good[..200], 0, true),                 // half a hello, and a reset
            (b"GET / HTTP/1.1\r\n\r\n", 500, false), // no TLS
            (&to("unknown"), 500, false),            // nobody's name
            (&to("dead"), 1500, false),              // servers that refuse
            (&to("narrow"), 700, false),             // a server that is full
            (&good, 0, true),                        // breaks off before the answer
            (&good, 23_000, false),                  // reads nothing, and is silent for too long
        ];
        for (bytes, milliseconds, resets) in kinds {
            let mut client =
                TcpStream::connect(self.target.proxy).map_err(|error| format!("a faulty client: {error}"))?;
            let _ = client.write_all(bytes);
            if resets {
                sockopt::set_socket_linger(&client, Some(Duration::ZERO)).map_err(text)?;
            }
            self.faulty.push((now + Duration::from_millis(milliseconds), client));
        }
        Ok(())
    }

    /// Asks for the metrics, as Prometheus would.
    fn scrape(&self) {
        if let Ok(mut client) = TcpStream::connect(self.admin) {
            let _ = client.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = client.write_all(b"GET /metrics HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n");
            let _ = client.read_to_end(&mut Vec::new());
        }
    }

    fn sample(&mut self) -> Result<(), String> {
        self.count();
        let (memory, fds) = (self.proxy.status("RssAnon")?, self.proxy.fds()?);
        self.samples.push(Sample { at: self.begun.elapsed(), connections: self.finished, memory, fds });
        Ok(())
    }

    /// The most memory of the first third of the run, or of the rest.
    fn most_memory(&self, of_first_third: bool) -> u64 {
        let third = self.samples.last().map_or(Duration::ZERO, |last| last.at / 3);
        let those = self.samples.iter().filter(|sample| (sample.at <= third) == of_first_third);
        those.map(|sample| sample.memory).max().unwrap_or(0)
    }

    /// Whether memory and fds are flat.
    fn judge(&self) -> Result<(), String> {
        let (Some(early), Some(last)) = (self.at_rest, self.samples.last()) else {
            return Err("too short for a sample".into());
        };
        let most = self.most_memory(true);
        if last.memory > most + GROWTH {
            return Err(format!("memory has grown from {most} to {} bytes", last.memory));
        }
        if last.fds > early.fds + KEPT {
            return Err(format!("{} fds are open at the end, {} at the start", last.fds, early.fds));
        }
        if self.lost > 0 { Err(format!("{} clients were lost that did nothing wrong", self.lost)) } else { Ok(()) }
    }

    fn report(&self, out: &Path) -> Result<(), String> {
        let last = self.samples.last().ok_or("too short for a sample")?;
        let early = self.at_rest.unwrap_or(*last);
        let most_fds = self.samples.iter().map(|sample| sample.fds).max().unwrap_or(0);
        let mut text = format!(
            "# An hour, in {} minutes\n\n![Memory and file descriptors](soak.svg)\n\n\
             `cargo run --release -- soak` in benches/compare, with the timeouts in seconds rather than minutes:\n\n\
             | | |\n|---|---|\n| connections that went well | {} |\n| clients lost that did nothing wrong | {} |\n\
             | reloads | {} |\n| restarts with hand-over | {} |\n| most memory in the first third, in the rest, and at the end, kB | {}, {}, {} |\n\
             | most fds | {most_fds} |\n| fds at rest after {} s, and at the end | {}, {} |\n\n\
             | second | connections | memory, kB | fds |\n|---|---|---|---|\n",
            last.at.as_secs() / 60,
            self.finished,
            self.lost,
            self.reloads,
            self.restarts,
            self.most_memory(true) / 1000,
            self.most_memory(false) / 1000,
            last.memory / 1000,
            early.at.as_secs(),
            early.fds,
            last.fds
        );
        for Sample { at, connections, memory, fds } in self.samples.iter().step_by(1 + self.samples.len() / 40) {
            let _ = writeln!(text, "| {} | {connections} | {} | {fds} |", at.as_secs(), memory / 1000);
        }
        fs::write(out.join("soak.md"), text).map_err(|error| error.to_string())?;
        let memory = self.curve("Memory of the process, kB", 8.0, |sample| sample.memory as f64 / 1e3);
        let fds = self.curve("Open file descriptors", 158.0, |sample| sample.fds as f64);
        let picture = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 310\" width=\"760\" height=\"310\" role=\"img\" \
             aria-label=\"Memory and file descriptors over the run: both are flat\"><style>text{{font:12px system-ui,\
             sans-serif;fill:#59636e}}path{{fill:none;stroke:#0a5cc4;stroke-width:1.5}}@media(prefers-color-scheme:dark)\
             {{text{{fill:#9198a1}}path{{stroke:#4c9bff}}}}</style>\n{memory}{fds}</svg>\n"
        );
        fs::write(out.join("soak.svg"), picture).map_err(|error| error.to_string())
    }

    fn curve(&self, title: &str, top: f64, figure: impl Fn(&Sample) -> f64) -> String {
        let most = self.samples.iter().map(&figure).fold(1.0, f64::max);
        let end = self.samples.last().map_or(1.0, |sample| sample.at.as_secs_f64());
        let mut path = String::new();
        for sample in &self.samples {
            let (x, y) = (sample.at.as_secs_f64() / end * 680.0 + 8.0, top + 130.0 - figure(sample) / most * 105.0);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
        }
        format!(
            "<text x=\"8\" y=\"{}\">{title}</text><text x=\"692\" y=\"{}\">{most:.0}</text><path d=\"{path}\"/>\n",
            top + 14.0,
            top + 30.0
        )
    }
}
