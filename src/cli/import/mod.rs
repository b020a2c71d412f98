//! `import`: converts a haproxy.cfg to a configuration, and names each line that has no equivalent.
//!
//! Lines become words ([`lex`]), words sections ([`sections`]), and each section a proxy with the settings of its
//! `defaults` ([`proxy`]). Rules, which HAProxy evaluates in order, become a table of names ([`table`]); backends
//! become routes ([`backend`]).
mod backend;
mod balancers;
mod bound;
mod condition;
mod decisions;
mod global;
mod handed_on;
mod index;
mod keywords;
mod lex;
mod limits;
mod names;
mod networks;
mod output;
mod pool;
mod proxy;
mod report;
mod routes;
mod sections;
mod server;
mod side;
mod table;
mod target;
mod timed;
mod values;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use balancers::Balancers;
use clap::Args;
use condition::Reader;
use fiscalismia_lb::config::{parse, read_regular_file};
use lex::{Environment, Line};
use limits::limits;
use output::Output;
use proxy::{Mode, Proxy};
use report::Report;
use routes::Assembly;
use sections::{Kind, Section, sections};
use table::Rules;

use super::{complain, print};

/// Size limit of a haproxy.cfg, or of a file that it names, in bytes.
const MAX_FILE: usize = 16 << 20;

/// The exit code if something was left out.
const WITH_LOSSES: u8 = 3;

/// Convert a haproxy.cfg to a configuration
///
/// The configuration goes to stdout. Each line of the input that has no equivalent goes to stderr, with the reason and
/// the nearest alternative. Exit code: 0 if nothing is lost, 3 if something is, 1 if the file cannot be read or has no
/// route.
#[derive(Args)]
pub(super) struct Import {
    /// The haproxy.cfg
    #[arg(value_name = "HAPROXY_CFG")]
    file: PathBuf,
}

impl Import {
    pub(super) fn run(self) -> Result<ExitCode, Vec<String>> {
        let mut report = Report::default();
        let imported = import(&self.file, &mut report);
        let lines = report.lines(&self.file);
        let output = imported.map_err(|error| lines.iter().cloned().chain([error]).collect::<Vec<_>>())?;
        let json = serde_json::to_string_pretty(&output).map_err(|error| vec![error.to_string()])?;
        // Errors that HAProxy reports too, such as two servers of one name, and limits that are narrower here.
        let refused = parse("the output", &json).err().unwrap_or_default();
        complain(lines);
        complain(refused.iter().map(|error| format!("{}: lost: check refuses {error}", self.file.display())));
        print(&format!("{json}\n"))?;
        let is_whole = !report.has_losses() && refused.is_empty();
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(WITH_LOSSES) })
    }
}

/// Converts the haproxy.cfg at `path`. Fails if the file cannot be read, is not a haproxy.cfg, or has no route.
fn import(path: &Path, report: &mut Report) -> Result<Output, String> {
    let file = path.display();
    let text = read_regular_file(path, MAX_FILE).map_err(|error| format!("{file}: cannot be read: {error}"))?;
    let mut environment = Environment::of_this_process();
    let sections =
        sections(&text, &mut environment, report).map_err(|(line, what)| format!("{file}:{line}: {what}"))?;
    let mut output = Output::default();
    for section in sections.iter().filter(|section| section.kind == Kind::Global) {
        global::global(&section.lines, &mut output, report);
    }
    let is_proxy = |section: &Section| [Kind::Frontend, Kind::Backend, Kind::Listen].contains(&section.kind);
    let indexes = (0..sections.len()).filter(|index| sections.get(*index).is_some_and(is_proxy));
    let proxies: Vec<Proxy> = indexes.filter_map(|index| Proxy::new(&sections, index, &environment, report)).collect();
    assemble(path, &proxies, &environment, &mut output, report);
    if output.routes.is_empty() {
        return Err(format!("{file}: no section passes TLS or TCP on, so there is no route to write"));
    }
    Ok(output)
}

fn assemble(path: &Path, proxies: &[Proxy], environment: &Environment, output: &mut Output, report: &mut Report) {
    let backends: Vec<&str> =
        proxies.iter().filter(|proxy| proxy.is_backend).map(|proxy| proxy.name.as_str()).collect();
    let tables: HashMap<&str, &Line> =
        proxies.iter().filter_map(|proxy| Some((proxy.name.as_str(), proxy.stick_table.as_ref()?))).collect();
    let mut assembly = Assembly::new(proxies, environment);
    let mut balancers = Balancers::default();
    let mut of_http = Vec::new();
    for proxy in proxies.iter().filter(|proxy| proxy.serves) {
        if let Some(line) = proxy.bound.terminates_tls {
            let why = "TLS is not terminated here: the servers have the certificates, and get the bytes unchanged";
            report.lost(line, &format!("{}: bind … ssl", proxy.name), why);
            continue;
        }
        let mut reader = Reader { configuration: path, report, acls: proxy.decisions.acls.clone() };
        if proxy.mode == Mode::Http || proxy.decisions.ask_for_requests() {
            let rules = handed_on::Rules::read(proxy, &mut reader);
            if proxy.mode == Mode::Http || rules.ask_for_requests() {
                of_http.push((proxy, rules));
                continue;
            }
        }
        if proxy.is_admin {
            output.admin.listen.extend(proxy.bound.addresses().iter().map(ToString::to_string));
            continue;
        }
        balancers.frontend(proxy, &mut reader);
        let limits = limits(proxy, &mut reader, &tables);
        let rules = Rules::read(proxy, &mut reader, &backends);
        assembly.frontend(proxy, &rules, limits, output, report);
    }
    // Requests over plain HTTP go by the names of routes, so these come first.
    for (proxy, rules) in of_http {
        let mut reader = Reader { configuration: path, report, acls: proxy.decisions.acls.clone() };
        if side::http(proxy, &assembly, &mut reader, &rules, output) {
            balancers.frontend(proxy, &mut reader);
        }
    }
    balancers.conclude(output, report);
    assembly.conclude(output, report);
}
