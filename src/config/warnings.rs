//! Warns of settings that are valid and probably a mistake.
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::listening::all_of_family;
use super::{Config, Probe, Route, SniPattern};

/// What an operator should look at again, one line each.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(listener_warnings(config));
    warnings.extend(too_many_probes(config));
    if config.admin.listen.is_empty() && config.admin.stats_credentials.is_some() {
        warnings.push("admin.stats_credentials: there is no admin.listen, so there is no /stats".to_owned());
    }
    let by_listen = config.by_listen();
    for listen in std::iter::once(&[][..]).chain(config.owners().map(|owner| &*owner.listen)) {
        let routes = by_listen.get(listen).map(Vec::as_slice).unwrap_or_default();
        warnings.extend(one_label_only(&routes.iter().map(|(_, route)| *route).collect::<Vec<_>>()));
    }
    if !config.listen.is_empty() && config.routes.iter().all(|route| !route.listen.is_empty()) {
        warnings.push("listen: every route has a \"listen\" of its own, so no route serves these addresses".to_owned());
    }
    let addresses: HashSet<SocketAddr> = config.addresses().collect();
    for route in &config.routes {
        warnings.extend(route_warnings(route).into_iter().map(|what| format!("routes.{}: {what}", route.name)));
        let own = route.servers.iter().filter(|server| reaches(server.address, &addresses));
        warnings.extend(own.map(|server| {
            format!("routes.{}: server {} is this proxy itself; a connection to it would loop", route.name, server.name)
        }));
    }
    warnings
}

fn listener_warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, addresses) in listens(config) {
        for (index, address) in addresses.iter().enumerate() {
            if address.port() == 0 {
                warnings.push(format!(
                    "{key}[{index}]: port 0 lets the kernel choose a port, a different one at each start"
                ));
            }
        }
    }
    if let Some(open) = config.admin.listen.iter().find(|address| address.ip().is_unspecified()) {
        warnings.push(format!(
            "admin.listen: \"{open}\" lets every host that reaches this one see the metrics; write an address of the inner \
             network"
        ));
    }
    warnings
}

/// Warns of IPv6 wildcard addresses without an IPv4 one. Not for a start with systemd's sockets, one of which may serve
/// both families.
#[must_use]
pub fn ipv6_only(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, addresses) in listens(config) {
        let only =
            addresses.iter().enumerate().filter(|(_, address)| address.is_ipv6() && address.ip().is_unspecified());
        for (index, address) in only.filter(|_| !addresses.iter().any(SocketAddr::is_ipv4)) {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            warnings.push(format!("{key}[{index}]: \"{address}\" takes IPv6 only; write \"{v4}\" too for IPv4"));
        }
    }
    warnings
}

/// Every key with addresses to listen on, with its addresses.
fn listens(config: &Config) -> impl Iterator<Item = (String, &Vec<SocketAddr>)> {
    let ours =
        [("listen", &config.listen), ("redirect.listen", &config.redirect), ("admin.listen", &config.admin.listen)];
    let of_routes = config.owners().map(|owner| (format!("routes.{}.listen", owner.name), &owner.listen));
    ours.into_iter().map(|(key, addresses)| (key.to_owned(), addresses)).chain(of_routes)
}

/// Probes a second beyond which probing costs more than the traffic, as a rule.
const MAX_PROBES: f64 = 1000.0;

fn too_many_probes(config: &Config) -> Option<String> {
    let probed = config.routes.iter().filter(|route| route.health_check.probe != Probe::Off);
    let rate = |route: &Arc<Route>| route.servers.len() as f64 / route.health_check.interval.as_secs_f64();
    let a_second: f64 = probed.map(rate).sum();
    (a_second > MAX_PROBES)
        .then(|| format!("health_check.interval: causes {a_second:.0} probes a second; write a longer interval"))
}

/// Warns of `*.a.b` where the operator may have meant `**.a.b`: another route's `*` takes the deeper names.
fn one_label_only(routes: &[&Arc<Route>]) -> Vec<String> {
    let Some(default) = routes.iter().find(|route| route.sni.contains(&SniPattern::Default)) else { return Vec::new() };
    let names = || routes.iter().flat_map(|route| route.sni.iter().map(move |name| (*route, name)));
    let all_below: HashSet<&str> = names()
        .filter_map(|(_, name)| if let SniPattern::Subdomains(parent) = name { Some(&**parent) } else { None })
        .collect();
    let is_covered = |parent: &str| {
        parent.match_indices('.').map(|(dot, _)| &parent[dot + 1..]).any(|above| all_below.contains(above))
    };
    let mut warnings = Vec::new();
    for (route, name) in names() {
        if let SniPattern::Wildcard(parent) = name
            && route.name != default.name
            && !all_below.contains(&**parent)
            && !is_covered(parent)
        {
            warnings.push(format!(
                "routes.{}.sni: \"*.{parent}\" matches one label more only, so \"x.y.{parent}\" goes to {:?} by its \"*\"; write \
                 \"**.{parent}\" for all names below, in the route that they are meant for",
                route.name, default.name
            ));
        }
    }
    warnings
}

fn route_warnings(route: &Route) -> Vec<String> {
    let mut warnings: Vec<String> = route.alpn.iter().filter_map(|protocol| misnamed(protocol)).collect();
    warnings.extend(route.sni.iter().filter_map(catch_all));
    if route.servers.iter().all(|server| server.weight == 0) {
        warnings.push("every server has weight 0, so the route takes no new connections".to_owned());
    }
    if route.servers.iter().all(|server| server.backup) {
        warnings.push("every server is a backup, so \"backup\" has no effect".to_owned());
    }
    if matches!(route.health_check.probe, Probe::Tls { sni: None }) {
        warnings.push("health_check: sni has no exact name, so the probe's hello carries no SNI".to_owned());
    }
    if matches!(route.health_check.probe, Probe::Http { .. }) && route.health_check.port.is_none() {
        warnings.push(
            "health_check: \"http\" without \"port\" speaks plain HTTP to the port for TLS, which answers 400; write the \
             port for it"
                .to_owned(),
        );
    }
    warnings
}

/// Warns of a name that other programs read as all names.
fn catch_all(name: &SniPattern) -> Option<String> {
    let SniPattern::Exact(name) = name else { return None };
    let is_catch_all = matches!(&**name, "_" | "default" | "any" | "all");
    is_catch_all.then(|| {
        format!("sni: {name:?} is taken as a literal name; write \"*\" for every name that no other route takes")
    })
}

/// Warns of a protocol under a name that no client sends (IANA's registry of ALPN protocol IDs).
fn misnamed(protocol: &str) -> Option<String> {
    let meant = match &*protocol.to_ascii_lowercase() {
        "http/2" | "http2" | "h2c" | "http/2.0" => "h2",
        "http1.1" | "http/1" | "http" | "http1" | "h1" => "http/1.1",
        "http/3" | "http3" => "h3",
        lower if lower != protocol => return Some(format!("alpn: clients offer {lower:?}, not {protocol:?}")),
        _ => return None,
    };
    Some(format!("alpn: clients offer {meant:?}, not {protocol:?}"))
}

/// Whether a connection to the server would arrive at this process's listener.
fn reaches(server: SocketAddr, addresses: &HashSet<SocketAddr>) -> bool {
    let all = SocketAddr::new(all_of_family(server.ip()), server.port());
    addresses.contains(&server) || server.ip().is_loopback() && addresses.contains(&all)
}
