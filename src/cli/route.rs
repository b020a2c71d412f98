//! `route`: the route of a hello, its servers, and why.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use clap::Args;
use fiscalismia_lb::config::{self, Balance, Config, File, MAX_HOST_NAME, Server, SniPattern, count};
use fiscalismia_lb::policy::health::Spread;
use fiscalismia_lb::policy::routes::{Match, NameMatch, RouteTable};
use fiscalismia_lb::policy::servers::{Group, Pick};
use fiscalismia_lb::policy::time::Time;

use super::{ConfigFile, Outcome, load, print};

/// Show which route and servers a hello with that name gets, and why
///
/// Exits with 0 even if no route takes the hello, and with 1 if the configuration is rejected.
#[derive(Args)]
pub(super) struct Route {
    #[command(flatten)]
    file: ConfigFile,
    /// The SNI of the hello; "" for a hello without SNI
    #[arg(value_name = "NAME", value_parser = sni)]
    sni: String,
    /// An ALPN protocol that the hello offers; repeat it in the client's order
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// The client's address: shows whether the route admits it, and which server "balance": "source" picks
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The port that the client connects to, for routes with their own "listen"
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

impl Route {
    pub(super) fn run(self) -> Outcome {
        let (sni, alpn) = (&*self.sni, &*self.alpn);
        let File { config, .. } = load(&self.file.config)?;
        let (listen, owner) = frontend(&config, self.port)?;
        if let Some(owner) = owner.filter(|owner| owner.sni.is_empty()) {
            let from = self.from.map(|from| from_line(owner, from)).unwrap_or_default();
            return print(&(describe(owner, "every client at its own listen") + &from));
        }
        let table = RouteTable::new(&config.routes, listen);
        let find = |offered: &[String]| {
            let name = (!sni.is_empty()).then_some(sni.as_bytes());
            let found = table.find(name, offered.iter().map(String::as_bytes))?;
            Some((config.routes.get(found.route)?, found))
        };
        let found = find(alpn);
        let mut text = match found {
            Some((route, found)) => {
                explain(route, found, sni) + &self.from.map(|from| from_line(route, from)).unwrap_or_default()
            }
            None => explain_none(&config, sni, alpn),
        };
        for (protocol, (route, other)) in protocols(&config).filter_map(|p| Some((p, find(&[p.to_owned()])?))) {
            if found.is_none_or(|(_, found)| found.name == NameMatch::Default && other.name != NameMatch::Default) {
                let _ = writeln!(text, "route {} would take it with ALPN {protocol}", route.name);
            }
        }
        print(&text)
    }
}

/// What the client's address means for the route.
fn from_line(route: &config::Route, from: IpAddr) -> String {
    let from = from.to_canonical();
    if !route.allows(from) {
        return format!("from {from}: refused, as it is not in allow_from\n");
    }
    if route.balance != Balance::Source {
        return format!("from {from}: any of them, by {}\n", route.balance.word());
    }
    let mut group = Group::new(route, &mut Spread::new(Time::ZERO, route.servers.len() as u32));
    match group.pick(from, &[]) {
        Pick::Server(index) => {
            let name = group.member(index).map(|member| &*member.server().name).unwrap_or_default();
            format!("from {from}: {name}, while all of them are up\n")
        }
        _ => format!("from {from}: none of them, as each has weight 0\n"),
    }
}

/// The addresses where a hello comes in, and the route that owns them: those with that port. Without a port they are
/// the file's, or the first route's if the file has none.
pub(super) fn frontend(
    config: &Config,
    port: Option<u16>,
) -> Result<(&[SocketAddr], Option<&config::Route>), Vec<String>> {
    let has = |listen: &[SocketAddr]| port.is_none_or(|port| listen.iter().any(|address| address.port() == port));
    let owner = config.owners().find(|owner| has(&owner.listen));
    match (owner, port) {
        _ if !config.listen.is_empty() && has(&config.listen) => Ok((&[], None)),
        (Some(owner), _) => Ok((&owner.listen, Some(owner))),
        (None, port) => Err(vec![format!("nothing listens on port {}", port.unwrap_or_default())]),
    }
}

/// Every protocol that a route asks for, each once.
fn protocols(config: &Config) -> impl Iterator<Item = &str> {
    let all: BTreeSet<&str> =
        config.routes.iter().flat_map(|route| route.alpn.iter().map(|protocol| &**protocol)).collect();
    all.into_iter()
}

fn explain(route: &config::Route, found: Match, sni: &str) -> String {
    let sni = sni.strip_suffix('.').unwrap_or(sni).to_ascii_lowercase();
    let mut why = match found.name {
        NameMatch::Exact => format!("exact name {sni}"),
        NameMatch::Wildcard => format!("wildcard *.{}", sni.split_once('.').map_or("", |(_, parent)| parent)),
        NameMatch::Subdomains => format!("wildcard {}, the longest that fits", longest(route, &sni)),
        NameMatch::Default => "default *, as no other route takes this hello".to_owned(),
    };
    if let Some(protocol) = found.alpn.and_then(|position| route.alpn.get(position)) {
        let _ = write!(why, ", ALPN {protocol}");
    }
    describe(route, &why)
}

fn describe(route: &config::Route, why: &str) -> String {
    let balance = route.balance.word();
    let servers: String = route.servers.iter().map(server_line).collect();
    format!("route {}: {why}\nbalance {balance} over {}\n{servers}", route.name, count(route.servers.len(), "server"))
}

/// The longest of the route's `**` names that match this name.
fn longest(route: &config::Route, sni: &str) -> String {
    let below = |parent: &str| sni.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
    let fit = route.sni.iter().filter(|name| matches!(name, SniPattern::Subdomains(parent) if below(parent)));
    fit.map(ToString::to_string).max_by_key(String::len).unwrap_or_default()
}

fn server_line(server: &Server) -> String {
    let backup = if server.backup { ", backup" } else { "" };
    let name = if *server.name == *server.address.to_string() { String::new() } else { format!("{} ", server.name) };
    format!("  {name}{}, weight {}{backup}\n", server.address, server.weight)
}

pub(super) fn explain_none(config: &Config, sni: &str, alpn: &[String]) -> String {
    let hello = if sni.is_empty() { "a hello without a name".to_owned() } else { format!("{sni:?}") };
    let offer = if alpn.is_empty() { String::new() } else { format!(" with ALPN {}", alpn.join(", ")) };
    let (reject, effect) = (config.reject.word(), config.reject.effect());
    format!("no route takes {hello}{offer}, not even by \"*\"\nreject {reject}: {effect}\n")
}

/// Refuses a name that no `ClientHello` can carry.
pub(super) fn sni(text: &str) -> Result<String, String> {
    let length = text.strip_suffix('.').unwrap_or(text).len();
    if length > MAX_HOST_NAME {
        return Err(format!("a name has at most {MAX_HOST_NAME} bytes, not {length}"));
    }
    if text == "." {
        return Err("a name cannot be a dot alone".to_owned());
    }
    if !text.is_ascii() {
        return Err("this is not ASCII; write the form that TLS sends, which starts with \"xn--\"".to_owned());
    }
    Ok(text.to_owned())
}
