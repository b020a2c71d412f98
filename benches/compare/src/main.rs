//! Measures fiscalismia-lb beside other proxies that do the same job.
mod bare;
mod client;
mod disturbed;
mod hello;
mod load;
mod origin;
mod peer;
mod picture;
mod proxy;
mod results;
mod scenario;
mod service;
mod soak;
mod transfer;

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::peer::{Kind, Peer};
use crate::proxy::{Cores, pin, text};
use crate::results::{Results, Row, report, section};
use crate::scenario::{Bench, Case, Group, Scale, cases};

/// Measure fiscalismia-lb beside HAProxy, nginx, sniproxy and sozu: the same job for each (match the SNI, send a PROXY
/// header where it can), one thread on one core, clients and origin on another, in turn over several rounds.
/// Instructions are what `perf stat` counts for the proxy's process; without perf those columns stay away.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// A proxy to measure: fiscalismia-lb, haproxy, nginx, sniproxy, sozu, each as often as wanted. Kinds that are
    /// not named are looked for in PATH, and fiscalismia-lb beside this source tree
    #[arg(long = "peer", value_name = "KIND=PATH")]
    peers: Vec<String>,
    /// Measure only proxies of these kinds
    #[arg(long, value_delimiter = ',', default_values = ["fiscalismia-lb", "haproxy", "nginx", "sniproxy", "sozu", "bare"])]
    kinds: Vec<Kind>,
    /// Measure only these groups
    #[arg(long, value_delimiter = ',')]
    only: Vec<Group>,
    /// Only cases whose title has this in it
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Less of everything, in one round: shows that it works, not what it costs
    #[arg(long)]
    quick: bool,
    /// How often each proxy's turn comes
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The core that the proxy gets
    #[arg(long, default_value_t = 1)]
    proxy_core: usize,
    /// The core that clients and origin get
    #[arg(long, default_value_t = 0)]
    load_core: usize,
    /// Where compare.json, compare.md and compare.svg go
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Draw the picture of a run from its JSON
    Draw {
        /// compare.json of the run
        json: PathBuf,
        /// The picture
        svg: PathBuf,
    },
    /// Put the JSON of runs that measured a part each together, as if it had been one run
    Merge {
        /// compare.json of each run, in the order of the tables
        #[arg(required = true)]
        parts: Vec<PathBuf>,
        /// Where compare.json, compare.md and compare.svg go
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Run fiscalismia-lb through a million connections, faults, reloads and restarts, and see that it holds no more at
    /// the end; writes soak.md and soak.svg
    Soak {
        /// How long; from five minutes on, until there were a million connections
        #[arg(long, default_value_t = 12)]
        minutes: u64,
        /// The program
        #[arg(long)]
        program: Option<PathBuf>,
        /// Where soak.md and soak.svg go
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Serve as the bare loop: only the system calls that a proxy cannot do without
    Bare {
        /// Where to listen
        listen: SocketAddr,
        /// Where every connection goes
        server: SocketAddr,
        /// Move bytes with splice
        #[arg(long)]
        splice: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Draw { json, svg }) => draw(json, svg),
        Some(Command::Merge { parts, out }) => merge(parts, out),
        Some(Command::Bare { listen, server, splice }) => bare::serve(*listen, *server, *splice).map_err(text),
        Some(Command::Soak { minutes, program, out }) => soak(program.as_deref(), *minutes, out, &arguments),
        None => compare(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("compare: {why}");
            ExitCode::FAILURE
        }
    }
}

fn soak(program: Option<&Path>, minutes: u64, out: &Path, arguments: &Arguments) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).map_err(text)?;
    pin(arguments.load_core).map_err(text)?;
    let program = program.map(Path::to_owned).or_else(|| usual_place(Kind::FiscalismiaLb));
    let dir = env::temp_dir().join(format!("soak-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(text)?;
    let cores = Cores { proxy: arguments.proxy_core, load: arguments.load_core };
    let length = Duration::from_mins(minutes);
    let done = soak::run(program.ok_or("fiscalismia-lb is not here")?, cores, length, &dir, out);
    let _ = fs::remove_dir_all(dir);
    done
}

fn draw(json: &Path, svg: &Path) -> Result<(), String> {
    fs::write(svg, picture::draw(&read(json)?)).map_err(text)
}

fn merge(parts: &[PathBuf], out: &Path) -> Result<(), String> {
    let mut parts = parts.iter().map(|part| read(part));
    let mut results = parts.next().unwrap_or_else(|| Err("no parts".into()))?;
    for part in parts {
        let Results { machine, rounds, rows } = part?;
        if (&machine, rounds) != (&results.machine, results.rounds) {
            return Err(format!("{machine}, {rounds} rounds: not of one run with the part before"));
        }
        results.rows.extend(rows);
    }
    write(&results, out)
}

fn read(json: &Path) -> Result<Results, String> {
    let say = |error: &dyn std::fmt::Display| format!("{}: {error}", json.display());
    serde_json::from_str(&fs::read_to_string(json).map_err(|error| say(&error))?).map_err(|error| say(&error))
}

/// Writes the results as JSON, tables and picture.
fn write(results: &Results, out: &Path) -> Result<(), String> {
    let write = |name: &str, text: String| fs::write(out.join(name), text).map_err(|error| format!("{name}: {error}"));
    write("compare.json", serde_json::to_string_pretty(results).map_err(text)? + "\n")?;
    write("compare.md", report(results))?;
    write("compare.svg", picture::draw(results))
}

fn compare(arguments: &Arguments) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).map_err(text)?;
    pin(arguments.load_core).map_err(text)?;
    let peers = peers(&arguments.kinds, &arguments.peers)?;
    let dir = env::temp_dir().join(format!("compare-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(text)?;
    let mut bench = Bench {
        load: load::Load::new().map_err(text)?,
        cores: Cores { proxy: arguments.proxy_core, load: arguments.load_core },
        scale: if arguments.quick { Scale::QUICK } else { Scale::FULL },
        dir: dir.clone(),
    };
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    let mut results = Results { machine: machine(), rounds, rows: Vec::new() };
    print!("{}", report(&results));
    for case in cases() {
        if wanted(arguments, &case) {
            let rows = rounds_of(&case, &peers, rounds, &mut bench);
            print!("{}", section(&rows));
            results.rows.extend(rows);
        }
    }
    let _ = fs::remove_dir_all(dir);
    write(&results, &arguments.out)
}

fn wanted(arguments: &Arguments, case: &Case) -> bool {
    (arguments.only.is_empty() || arguments.only.contains(&case.group))
        && arguments.case.as_ref().is_none_or(|part| case.title.contains(part))
}

/// Every proxy in turn, `rounds` times. One that fails is reported and left out from then on.
fn rounds_of(case: &Case, peers: &[Peer], rounds: usize, bench: &mut Bench) -> Vec<Row> {
    let mut turns: Vec<(Peer, Vec<_>, bool)> = peers
        .iter()
        .flat_map(|peer| [Some(peer.clone()), peer.other_way().filter(|_| case.splices())])
        .flatten()
        .filter(|peer| case.suits(peer))
        .map(|peer| (peer, Vec::new(), true))
        .collect();
    for _ in 0..rounds {
        for (peer, samples, able) in turns.iter_mut().filter(|turn| turn.2) {
            match case.measure(peer, bench) {
                Ok(figures) => samples.push(figures),
                Err(why) => {
                    eprintln!("{}: {}: {why}", case.title, peer.label);
                    *able = false;
                }
            }
        }
    }
    let group = format!("{:?}", case.group).to_lowercase();
    turns
        .iter()
        .filter(|(_, samples, able)| *able && !samples.is_empty())
        .map(|(peer, samples, _)| Row::new(&group, case.title, &peer.label, samples))
        .collect()
}

/// The proxies that were named, and of the other kinds what this machine has; ours first.
fn peers(kinds: &[Kind], named: &[String]) -> Result<Vec<Peer>, String> {
    let mut found = Vec::new();
    for &kind in kinds {
        let paths: Vec<PathBuf> = named
            .iter()
            .filter_map(|peer| peer.strip_prefix(kind.name())?.strip_prefix('='))
            .map(PathBuf::from)
            .collect();
        let paths = if paths.is_empty() { usual_place(kind).into_iter().collect() } else { paths };
        if paths.is_empty() {
            eprintln!("{} is not here: left out (--peer {0}=PATH says where it is)", kind.name());
        }
        for path in paths {
            found.push(Peer::at(kind, path.clone()).map_err(|error| format!("{}: {error}", path.display()))?);
        }
    }
    match named
        .iter()
        .find(|peer| !Kind::value_variants().iter().any(|kind| peer.starts_with(&format!("{}=", kind.name()))))
    {
        Some(odd) => Err(format!("--peer {odd}: write KIND=PATH with one of the kinds --help names")),
        None => Ok(found),
    }
}

fn usual_place(kind: Kind) -> Option<PathBuf> {
    let own = match kind {
        Kind::FiscalismiaLb => Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/fiscalismia-lb")),
        Kind::Bare => env::current_exe().ok(),
        _ => None,
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = own.into_iter().chain(env::split_paths(&path).map(|dir| dir.join(kind.name())));
    places.find(|place| place.is_file())
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let version = kernel.split(|letter: char| letter != '.' && !letter.is_ascii_digit()).next().unwrap_or_default();
    format!("{}, {cores} cores, Linux {version}", model.map_or("unknown CPU", |(_, name)| name.trim()))
}
