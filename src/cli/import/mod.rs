//! `import`: a configuration out of a haproxy.cfg, and all that cannot be carried over, by its lines.
//!
//! Lines become words ([`lex`]), words sections ([`sections`]), and each section a proxy with what its `defaults` say
//! ([`proxy`]). Rules that are asked in turn become a table of names ([`table`]), backends become routes ([`backend`]).
mod backend;
mod condition;
mod global;
mod keywords;
mod lex;
mod limits;
mod names;
mod output;
mod proxy;
mod report;
mod routes;
mod sections;
mod server;
mod side;
mod table;
mod values;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use condition::Reader;
use fiscalismia_lb::config::plain;
use lex::{Environment, Line};
use limits::limits;
use output::Output;
use proxy::{Mode, Proxy};
use report::Report;
use routes::Assembly;
use sections::{Kind, Section, sections};
use table::Rules;

use super::print;

/// Something was left out.
const WITH_LOSSES: u8 = 3;

/// Write the configuration that a haproxy.cfg comes to
///
/// The configuration goes to stdout. What could not be carried over goes to stderr, by the lines of the input, each with the
/// reason and what comes nearest. Exits with 0 where nothing is lost, with 3 where something is, with 1 where the file cannot
/// be read or passes on nothing.
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
        for line in lines {
            eprintln!("{line}");
        }
        print(&format!("{json}\n"))?;
        Ok(if report.has_losses() { ExitCode::from(WITH_LOSSES) } else { ExitCode::SUCCESS })
    }
}

/// The configuration that the haproxy.cfg at `path` comes to. The error: it cannot be read, is no haproxy.cfg, or has nothing
/// in it that could be a route.
fn import(path: &Path, report: &mut Report) -> Result<Output, String> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{file}: cannot be read: {}", plain(&error)))?;
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
        return Err(format!("{file}: nothing in it passes TLS or TCP on, so there is no route to write"));
    }
    Ok(output)
}

fn assemble(path: &Path, proxies: &[Proxy], environment: &Environment, output: &mut Output, report: &mut Report) {
    let backends: Vec<&str> =
        proxies.iter().filter(|proxy| proxy.is_backend).map(|proxy| proxy.name.as_str()).collect();
    let tables: HashMap<&str, &Line> =
        proxies.iter().filter_map(|proxy| Some((proxy.name.as_str(), proxy.stick_table.as_ref()?))).collect();
    let mut assembly = Assembly::new(proxies, environment);
    for proxy in proxies.iter().filter(|proxy| proxy.serves) {
        if let Some(line) = proxy.opens_tls {
            let why = "TLS is not opened here: the certificates belong to the servers, which get TLS as it comes";
            report.lost(line, &format!("{}: bind … ssl", proxy.name), why);
            continue;
        }
        if proxy.mode == Mode::Http {
            side::http(proxy, output, report);
            continue;
        }
        if proxy.is_admin {
            output.admin.listen.extend(proxy.addresses().iter().map(ToString::to_string));
            continue;
        }
        for bind in proxy.binds.iter().filter(|bind| bind.accepts_proxy) {
            let why = "the balancers in front, by their networks: accept_proxy.from";
            report.lost(bind.number, "bind … accept-proxy", why);
        }
        let mut reader = Reader { configuration: path, report, acls: proxy.acls.clone() };
        let limits = limits(proxy, &mut reader, &tables);
        let rules = Rules::read(proxy, &mut reader, &backends);
        assembly.frontend(proxy, &rules, limits, output, report);
    }
    assembly.conclude(output, report);
}
