//! Compares the instructions of a connection's pure parts with committed figures.
//!
//!     cargo bench --bench guard              compares with benches/guard/figures.txt; more than 5 % above fails
//!     cargo bench --bench guard -- --write   writes that file anew, after a change that is worth it
//!
//! Each case runs under callgrind with few and with many rounds; the difference is the cost of the rounds, without
//! start and set-up. Callgrind counts instructions, so neither the machine's speed nor its load matters, nor the place
//! of the source. The figures are the same every time, except for those of routes, whose hash tables have another key
//! in every process (1 %). The compiler matters, and the profiles of Cargo.toml, also for dependencies: after a change
//! there, write the file again. Figures of another compiler may differ by 20 %, and the file names the compiler.
//! Figures of another architecture are shown and checked against nothing.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for developers, which may end when something is missing"
)]
use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs};

use fiscalismia_lb::access_log::{AccessLog, Counts, Output, Step, Timing, Whose};
use fiscalismia_lb::config::{self, Config, Log, LogConnections, LogFormat};
use fiscalismia_lb::policy::health::Spread;
use fiscalismia_lb::policy::routes::RouteTable;
use fiscalismia_lb::policy::servers::{Group, Mode, Override, Pick, ServerIndex};
use fiscalismia_lb::policy::time::{Time, UnixTime};
use fiscalismia_lb::vocabulary::CloseReason;
use fiscalismia_lb::wire::client_hello::{Reader, Verdict};
use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use fiscalismia_lb::wire::proxy_header::{self, Tlvs};

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/guard/figures.txt");
const FEW: u64 = 500;
const MANY: u64 = 20_500;
const GROWTH: f64 = 1.05;
const GROWTH_OF_ANOTHER_COMPILER: f64 = 1.2;

/// Name, and what to do so many times.
type Case = (&'static str, fn(u64));

const CASES: &[Case] = &[
    ("parse a hello of 517 bytes", |rounds| parse(517, &[], rounds)),
    ("parse a hello of 1,800 bytes", |rounds| parse(1800, &[], rounds)),
    ("parse a hello of 1,800 bytes in two records", |rounds| parse(1800, &[900], rounds)),
    ("find one route of 1,000 by its exact name", |rounds| find("site", rounds)),
    ("find one route of 1,000 by a wildcard", |rounds| find("a.wild", rounds)),
    ("pick one of 5 servers, round_robin", |rounds| pick("round_robin", 5, Servers::Free, rounds)),
    ("pick one of 5 servers, least_connections", |rounds| pick("least_connections", 5, Servers::Free, rounds)),
    ("pick one of 5 servers, source", |rounds| pick("source", 5, Servers::Free, rounds)),
    ("pick one of 5 servers, half of them drained", |rounds| {
        pick("least_connections", 5, Servers::HalfDrained, rounds);
    }),
    ("pick one of 5 servers, all but one full", |rounds| pick("round_robin", 5, Servers::OneFree, rounds)),
    ("pick one of 5 servers, backups only", |rounds| pick("round_robin", 5, Servers::Backups, rounds)),
    ("pick one of 1,000 servers, round_robin", |rounds| pick("round_robin", 1000, Servers::Free, rounds)),
    ("pick one of 1,000 servers, least_connections", |rounds| pick("least_connections", 1000, Servers::Free, rounds)),
    ("pick one of 1,000 servers, source", |rounds| pick("source", 1000, Servers::Free, rounds)),
    ("pick one of 10,000 servers, source", |rounds| pick("source", 10_000, Servers::Free, rounds)),
    ("pick one of 1,000 servers, half of them drained", |rounds| {
        pick("least_connections", 1000, Servers::HalfDrained, rounds);
    }),
    ("pick one of 1,000 servers, all but one full", |rounds| pick("round_robin", 1000, Servers::OneFree, rounds)),
    ("pick one of 1,000 servers, backups only", |rounds| pick("round_robin", 1000, Servers::Backups, rounds)),
    ("write a PROXY v2 header", |rounds| header(&Tlvs::default(), rounds)),
    ("write a PROXY v2 header with all TLVs", |rounds| header(&ALL_TLVS, rounds)),
    ("write a log line at close, HAProxy's form", |rounds| log_line(LogFormat::Haproxy, rounds)),
    ("write a log line at close, JSON", |rounds| log_line(LogFormat::Json, rounds)),
];

/// What holds servers back from being picked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Servers {
    Free,
    /// An operator has drained every other one.
    HalfDrained,
    /// All but the last have their `max_connections`.
    OneFree,
    /// Every one of them is a backup.
    Backups,
}

const ALL_TLVS: Tlvs<'static> = Tlvs {
    authority: Some(b"fiscalismia.com"),
    alpn: Some(b"h2"),
    unique_id: Some([7; 16]),
    crc32c: true,
    received: b"",
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["--write"] => write(),
        [name, rounds] => {
            let case = CASES.iter().find(|case| case.0 == name).expect("a case of that name");
            case.1(rounds.parse().expect("a number of rounds"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: guard [--write]");
            ExitCode::from(2)
        }
    }
}

fn compare() -> ExitCode {
    let file = fs::read_to_string(FIGURES).expect("the committed figures");
    let (compiler, figures) = file.split_once('\n').expect("a compiler, then figures");
    let known: BTreeMap<&str, f64> = figures
        .lines()
        .filter_map(|line| line.trim_start().split_once(' '))
        .map(|(figure, name)| (name, figure.parse().expect("a figure, then a case")))
        .collect();
    let most = if compiler == rustc() {
        GROWTH
    } else if compiler.ends_with(env::consts::ARCH) {
        GROWTH_OF_ANOTHER_COMPILER
    } else {
        f64::INFINITY
    };
    println!("Instructions, and times those of {compiler}; at most {most}");
    let mut failed = false;
    for (name, _) in CASES {
        let count = measure(name);
        let Some(before) = known.get(name) else {
            println!("{count:>8.0}        {name}: no figure is known");
            failed = true;
            continue;
        };
        let growth = count / before;
        failed |= growth > most;
        println!("{count:>8.0}  x {growth:.3}  {name}{}", if growth > most { ": TOO MUCH" } else { "" });
    }
    if failed {
        println!("If what they buy is worth it: cargo bench --bench guard -- --write");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn write() -> ExitCode {
    let mut figures = rustc() + "\n";
    for (name, _) in CASES {
        let line = format!("{:>8.0} {name}\n", measure(name));
        print!("{line}");
        figures += &line;
    }
    fs::write(FIGURES, figures).expect("the figures to be written");
    ExitCode::SUCCESS
}

/// Instructions of one round.
fn measure(name: &str) -> f64 {
    let [few, many] = [FEW, MANY].map(|rounds| instructions(name, rounds));
    (many - few) / (MANY - FEW) as f64
}

fn instructions(name: &str, rounds: u64) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("the program's own path"))
        .args([name, &rounds.to_string()])
        .stdout(Stdio::null())
        .output()
        .expect("valgrind, which counts the instructions");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {said}");
    let count = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim().parse());
    count.and_then(Result::ok).unwrap_or_else(|| panic!("{name}: no count in {said}"))
}

/// The compiler's version, and what it compiles for.
fn rustc() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc, which has a version");
    format!("{} {}", String::from_utf8_lossy(&output.stdout).trim(), env::consts::ARCH)
}

fn parse(length: usize, records: &[usize], rounds: u64) {
    let builder = HelloBuilder::new().sni("frontend.example.com").alpn(&["h2", "http/1.1"]).pad_to(length);
    let hello = builder.records(records).build();
    for _ in 0..rounds {
        let mut reader = Reader::default();
        let Verdict::Hello(found) = reader.read(black_box(&hello)) else { panic!("the hello is good") };
        black_box(found.sni);
        black_box(found.alpn().count());
    }
}

/// Hash tables are keyed anew in every process, so only the mean over many names is the same each time.
fn find(prefix: &str, rounds: u64) {
    let routes = (0..1000).map(|number| {
        format!(
            r#""r{number}":{{"sni":["site{number}.example.com","*.wild{number}.example.com"],"servers":["10.0.0.1:443"]}}"#
        )
    });
    let config = config(&routes.collect::<Vec<_>>().join(","));
    let table = RouteTable::new(&config.routes, &[]);
    let names: Vec<_> = (0..1000).map(|number| format!("{prefix}{number}.example.com").into_bytes()).collect();
    for name in names.iter().cycle().take(rounds as usize) {
        let found = table.find(Some(black_box(name)), [b"h2".as_slice()].into_iter());
        assert!(black_box(found).is_some(), "the route is there");
    }
}

fn pick(balance: &str, count: u32, servers: Servers, rounds: u64) {
    let extra = match servers {
        Servers::OneFree => r#","max_connections":1"#,
        Servers::Backups => r#","backup":true"#,
        Servers::Free | Servers::HalfDrained => "",
    };
    let server = |number: u32| {
        let (host, weight) = (Ipv4Addr::from_bits(0x0A00_0001 + number), 1 + number % 5);
        format!(r#"{{"address":"{host}:443","weight":{weight}{extra}}}"#)
    };
    let list: Vec<_> = (0..count).map(server).collect();
    let route = format!(r#""r":{{"sni":["*"],"balance":"{balance}","servers":[{}]}}"#, list.join(","));
    let mut group = Group::new(&config(&route).routes[0], &mut Spread::new(Time::ZERO, count));
    for index in ServerIndex::all().take(count as usize) {
        match servers {
            Servers::HalfDrained if index.index() % 2 == 1 => {
                group.set(Time::ZERO, index, Override { mode: Mode::Drain, ..Override::default() });
            }
            Servers::OneFree if index.index() + 1 < count as usize => group.opened(index),
            _ => {}
        }
    }
    for round in 0..rounds {
        let client = IpAddr::from((round as u32).wrapping_mul(0x9E37_79B9).to_be_bytes());
        let Pick::Server(index) = group.pick(black_box(client), &[]) else { panic!("a server takes it") };
        group.opened(index);
        group.closed(index);
    }
}

fn header(tlvs: &Tlvs<'_>, rounds: u64) {
    let (source, destination) = (address("203.0.113.7:50000"), address("192.0.2.1:443"));
    let mut room = [0; proxy_header::MAX_LEN];
    for _ in 0..rounds {
        black_box(proxy_header::v2(&mut room, black_box(source), black_box(destination), tlvs));
    }
}

fn log_line(format: LogFormat, rounds: u64) {
    let mut log = AccessLog::new(
        Output::stdout().expect("standard output"),
        Log { format, connections: LogConnections::Close, empty: true },
    );
    log.set_epoch(UnixTime::from_micros(1_700_000_000_000_000));
    let source = address("203.0.113.7:50000");
    let whose = Whose {
        frontend: "https_ingress",
        source,
        accepted: Time::from_micros(5_000_000),
        route: Some("frontend"),
        server: Some("10.0.0.1:443"),
        unique_id: None,
        sni: Some(b"frontend.example.com"),
        alpn: b"\x02h2\x08http/1.1",
    };
    let milliseconds = Duration::from_millis;
    let timing = Timing { queued: Some(milliseconds(0)), connect: Some(milliseconds(3)), total: milliseconds(1234) };
    let counts = Counts { process: 312, frontend: 300, route: 42, server: 21, ahead: 0 };
    let reason = CloseReason::Done;
    let step = Step::Close { timing, bytes_up: 2817, bytes_down: 104_211, reason, counts };
    let poll = mio::Poll::new().expect("a poll, for an output that stalls");
    for round in 0..rounds {
        log.write(black_box(Time::from_micros(6_234_000)), black_box(&whose), black_box(&step));
        if round % 128 == 0 {
            log.flush(Time::from_micros(6_234_000), poll.registry());
        }
    }
}

fn config(routes: &str) -> Config {
    config::parse("guard", &format!(r#"{{"listen":["0.0.0.0:443"],"routes":{{{routes}}}}}"#)).expect("a good file")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
