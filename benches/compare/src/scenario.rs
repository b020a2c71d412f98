//! The scenarios, and how one measurement of one proxy goes.
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::client::Job;
use crate::disturbed::under_load;
use crate::load::{Load, Tally, Target};
use crate::peer::{Logs, Peer, Setup, USUAL};
use crate::proxy::{Cores, Cost, Proxy, text};

/// A group of cases, as `--only` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Short connections, hellos of 517 and 1,800 bytes, logs off and on
    Short,
    /// Bulk transfers, down and up, over 1, 4 and 64 connections
    Bulk,
    /// Request and response in turn, over 1 and 64 connections
    Ping,
    /// Ping-pong beside 4 bulk transfers
    Mixed,
    /// Memory and CPU of connections on which nothing happens
    Idle,
    /// From start to the first connection served
    Start,
    /// Short connections with more routes and more servers
    Growth,
    /// Connections whose client reads nothing of what it is sent
    Slow,
    /// Clients that come and stay while the proxy is started again, or reads its configuration anew
    Restart,
}

/// One line of work that every proxy goes through.
#[derive(Clone, Debug)]
pub struct Case {
    pub group: Group,
    pub title: &'static str,
    setup: Setup,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Short { hello: usize },
    Bulk { up: bool, connections: usize },
    Ping { connections: usize },
    Mixed,
    Idle,
    Start,
    Slow,
    Restart,
    Reload,
}

/// How much is done in one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub short: usize,
    pub bulk_bytes: u64,
    pub pings: u64,
    pub idle: usize,
    pub idle_for: Duration,
}

impl Scale {
    pub const FULL: Scale =
        Scale { short: 4000, bulk_bytes: 2 << 30, pings: 10_000, idle: 4000, idle_for: Duration::from_secs(3) };
    pub const QUICK: Scale =
        Scale { short: 1000, bulk_bytes: 1 << 28, pings: 2000, idle: 1000, idle_for: Duration::from_secs(1) };
}

/// A figure's name in the results, its heading, and its unit.
pub type Figure = (&'static str, f64);

/// Where measurements run.
pub struct Bench {
    pub load: Load,
    pub cores: Cores,
    pub scale: Scale,
    pub dir: PathBuf,
}

/// Short connections at once: enough that no proxy waits for the next one.
const AT_ONCE: usize = 16;
/// Bytes that the server has for a client that reads none: more than the kernel takes for it.
const STALLED_BYTES: u64 = 128 << 10;
/// From the last connection until all are idle.
const SETTLED: Duration = Duration::from_secs(6);
const RESTARTS: usize = 5;
const RELOADS: usize = 3;
const GIB: f64 = (1_u64 << 30) as f64;

/// Every case, in the order of the tables.
pub fn cases() -> Vec<Case> {
    let case = |group, title, setup, work| Case { group, title, setup, work };
    let logs = |logs| Setup { logs, ..USUAL };
    let short = Work::Short { hello: 517 };
    vec![
        case(Group::Short, "517 B hello, logs off", USUAL, short),
        case(Group::Short, "1.8 kB hello, logs off", USUAL, Work::Short { hello: 1800 }),
        case(Group::Short, "517 B hello, a log line at close", logs(Logs::Close), short),
        case(Group::Short, "1.8 kB hello, a log line at close", logs(Logs::Close), Work::Short { hello: 1800 }),
        case(Group::Short, "517 B hello, log lines at accept, connect and close", logs(Logs::All), short),
        case(Group::Bulk, "down, 1 connection", USUAL, Work::Bulk { up: false, connections: 1 }),
        case(Group::Bulk, "down, 4 connections", USUAL, Work::Bulk { up: false, connections: 4 }),
        case(Group::Bulk, "down, 64 connections", USUAL, Work::Bulk { up: false, connections: 64 }),
        case(Group::Bulk, "up, 1 connection", USUAL, Work::Bulk { up: true, connections: 1 }),
        case(Group::Bulk, "up, 4 connections", USUAL, Work::Bulk { up: true, connections: 4 }),
        case(Group::Bulk, "up, 64 connections", USUAL, Work::Bulk { up: true, connections: 64 }),
        case(Group::Ping, "1 connection", USUAL, Work::Ping { connections: 1 }),
        case(Group::Ping, "64 connections", USUAL, Work::Ping { connections: 64 }),
        case(Group::Mixed, "1 connection beside 4 bulk transfers", USUAL, Work::Mixed),
        case(Group::Idle, "idle connections", USUAL, Work::Idle),
        case(Group::Start, "from start to the first connection", USUAL, Work::Start),
        case(Group::Growth, "100 routes", Setup { routes: 100, ..USUAL }, short),
        case(Group::Growth, "10,000 routes", Setup { routes: 10_000, ..USUAL }, short),
        case(Group::Slow, "clients that read nothing of 128 KiB", USUAL, Work::Slow),
        case(Group::Restart, "5 restarts under load", Setup { master: true, ..USUAL }, Work::Restart),
        case(
            Group::Restart,
            "3 reloads of 10,000 routes under load",
            Setup { master: true, routes: 10_000, ..USUAL },
            Work::Reload,
        ),
        case(Group::Growth, "100 servers in each of 5 routes", Setup { servers: 100, ..USUAL }, short),
    ]
}

impl Case {
    /// Whether `peer` can do this at all.
    pub fn suits(&self, peer: &Peer) -> bool {
        peer.can(self.setup.logs) && (!self.setup.master || peer.can_reload())
    }

    /// Whether it makes a difference here if a proxy splices.
    pub fn splices(&self) -> bool {
        matches!(self.work, Work::Bulk { .. } | Work::Mixed)
    }

    /// One measurement of one proxy, started for it.
    pub fn measure(&self, peer: &Peer, bench: &mut Bench) -> Result<Vec<Figure>, String> {
        bench.load.clear();
        let mut proxy = Proxy::start(peer, self.setup, &mut bench.load, bench.cores, &bench.dir)?;
        let figures = match self.work {
            Work::Short { hello } => {
                let logged = proxy.logged();
                let figures = bench.short(&proxy, hello)?;
                if self.setup.logs != Logs::Off && proxy.logged() == logged {
                    return Err("is to log and does not".into());
                }
                figures
            }
            Work::Bulk { up, connections } => bench.bulk(&proxy, up, connections)?,
            Work::Ping { connections } => bench.ping(&proxy, connections)?,
            Work::Mixed => bench.mixed(&proxy)?,
            Work::Idle => bench.held(&proxy, Job::Idle)?,
            Work::Slow => bench.held(&proxy, Job::Stall(STALLED_BYTES))?,
            Work::Restart => {
                let target = proxy.target(517);
                let times = (RESTARTS, bench.scale.idle_for / 3);
                under_load(&mut bench.load, &target, times, || proxy.restart(peer))?
            }
            Work::Reload => {
                let times = (RELOADS, bench.scale.idle_for);
                under_load(&mut bench.load, &proxy.target(517), times, || proxy.reload(peer))?
            }
            Work::Start => vec![
                ("resident_kb", proxy.status("VmRSS")? as f64 / 1e3),
                ("first_ms", proxy.first_served.as_secs_f64() * 1e3),
                ("binary_kb", proxy.binary_size()? as f64 / 1e3),
            ],
        };
        bench.load.clear();
        Ok(figures)
    }
}

impl Bench {
    fn short(&mut self, proxy: &Proxy, hello: usize) -> Result<Vec<Figure>, String> {
        let (target, count) = (proxy.target(hello), self.scale.short);
        self.load.short(&target, count / 8, AT_ONCE)?;
        self.load.settle()?;
        self.load.tally = Tally::default();
        let cost = proxy.cost(&self.dir, || self.load.short(&target, count, AT_ONCE))?;
        Ok([per_piece(&cost, count as f64), self.latencies()].concat())
    }

    fn bulk(&mut self, proxy: &Proxy, up: bool, connections: usize) -> Result<Vec<Figure>, String> {
        let each = self.scale.bulk_bytes / connections as u64;
        let job = if up { Job::Up(each) } else { Job::Down(each) };
        let slots = self.load.prepare(&proxy.target(517), connections, job)?;
        self.load.settle()?;
        let cost = proxy.cost(&self.dir, || {
            self.load.go(&slots)?;
            self.load.finish(connections)
        })?;
        let gib = (each * connections as u64) as f64 / GIB;
        let mut figures = Vec::new();
        if let Some((user, kernel)) = cost.instructions {
            figures.push(("instructions_m", (user + kernel) / gib / 1e6));
            figures.push(("user_m", user / gib / 1e6));
            figures.push(("kernel_m", kernel / gib / 1e6));
        }
        figures.extend(cost.calls.map(|calls| ("calls_gib", calls / gib / 1e3)));
        figures.push(("cpu_ms", cost.cpu.as_secs_f64() * 1e3 / gib));
        figures.push(("gbit_s", gib * GIB * 8.0 / 1e9 / cost.wall.as_secs_f64()));
        Ok(figures)
    }

    fn ping(&mut self, proxy: &Proxy, connections: usize) -> Result<Vec<Figure>, String> {
        let each = self.scale.pings / connections as u64;
        let slots = self.load.prepare(&proxy.target(517), connections, Job::Ping(each))?;
        self.load.settle()?;
        let cost = proxy.cost(&self.dir, || {
            self.load.go(&slots)?;
            self.load.finish(connections)
        })?;
        Ok([per_piece(&cost, (each * connections as u64) as f64), self.latencies()].concat())
    }

    fn mixed(&mut self, proxy: &Proxy) -> Result<Vec<Figure>, String> {
        let target = proxy.target(517);
        let bulk = self.load.prepare(&target, 4, Job::Down(u64::MAX))?;
        let ping = self.load.prepare(&target, 1, Job::Ping(self.scale.pings / 5))?;
        self.load.pings_first = true;
        self.load.go(&bulk)?;
        self.load.go(&ping)?;
        let begun = Instant::now();
        self.load.finish(1)?;
        let bytes: u64 = bulk.iter().map(|&slot| u64::MAX - self.load.left(slot)).sum();
        let rate = bytes as f64 * 8.0 / 1e9 / begun.elapsed().as_secs_f64();
        Ok([vec![("gbit_s", rate)], self.latencies()].concat())
    }

    /// What many connections hold on which nothing happens.
    fn held(&mut self, proxy: &Proxy, job: Job) -> Result<Vec<Figure>, String> {
        let count = self.scale.idle;
        let target = proxy.target(517);
        // The load's own sockets are in the kernel's total too: as much as without a proxy between them.
        let direct = Target { proxy: ([127, 0, 0, 1], self.load.origin_port).into(), ..target.clone() };
        let (_, own) = self.hold(&direct, count, job, || Ok(0))?;
        self.load.clear();
        self.load.settle()?;
        let (user, kernel) = self.hold(&target, count, job, || proxy.status("RssAnon"))?;
        // What each connection costs once, soon after it began, such as its keepalive, is no part of being idle.
        thread::sleep(SETTLED);
        let before = proxy.cpu()?;
        thread::sleep(self.scale.idle_for);
        let idle = proxy.cpu()?.saturating_sub(before);
        let beside = self.short(proxy, 517)?;
        let mut figures = vec![
            ("user_bytes", user / count as f64),
            ("kernel_bytes", (kernel - own) / count as f64),
            ("idle_cpu_ms_s", idle.as_secs_f64() * 1e3 / self.scale.idle_for.as_secs_f64()),
        ];
        figures.extend(beside.into_iter().filter_map(|(key, value)| match key {
            "instructions_k" => Some(("beside_k", value)),
            "cpu_us" => Some(("cpu_beside_us", value)),
            _ => None,
        }));
        Ok(figures)
    }

    /// Opens `count` connections; by how much `user` and the kernel's memory have grown.
    fn hold(
        &mut self,
        target: &Target,
        count: usize,
        job: Job,
        user: impl Fn() -> Result<u64, String>,
    ) -> Result<(f64, f64), String> {
        thread::sleep(Duration::from_millis(300));
        let before = (user()? as f64, kernel_memory()?);
        let slots = self.load.prepare(target, count, job)?;
        self.load.go(&slots)?;
        self.load.settle()?;
        thread::sleep(Duration::from_millis(300));
        Ok((user()? as f64 - before.0, kernel_memory()? - before.1))
    }

    fn latencies(&mut self) -> Vec<Figure> {
        let mut all = std::mem::take(&mut self.load.tally.latencies);
        all.sort_unstable();
        let at = |share: f64| all.get((all.len() as f64 * share) as usize).map_or(0.0, |&ns| ns as f64 / 1e3);
        vec![("p50_us", at(0.5)), ("p99_us", at(0.99))]
    }
}

fn per_piece(cost: &Cost, pieces: f64) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some((user, kernel)) = cost.instructions {
        figures.push(("instructions_k", (user + kernel) / pieces / 1e3));
        figures.push(("user_k", user / pieces / 1e3));
        figures.push(("kernel_k", kernel / pieces / 1e3));
    }
    figures.extend(cost.calls.map(|calls| ("calls", calls / pieces)));
    figures.push(("cpu_us", cost.cpu.as_secs_f64() * 1e6 / pieces));
    figures.push(("per_second", pieces / cost.wall.as_secs_f64()));
    figures
}

/// Memory that the kernel uses for its own objects, in bytes.
fn kernel_memory() -> Result<f64, String> {
    let meminfo = fs::read_to_string("/proc/meminfo").map_err(text)?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("SUnreclaim:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.ok_or("no SUnreclaim in /proc/meminfo")? * 1024.0)
}
