//! What is allowed in a file, but hardly meant.
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;

use super::{Config, Probe, Route, Server, SniPattern};

/// What an operator should look at again, a line each.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.admin.listen.is_empty() && config.admin.stats_credentials.is_some() {
        warnings.push("admin.stats_credentials: there is no admin.listen, so there is no /stats".to_owned());
    }
    warnings.extend(one_label_only(&config.routes));
    for route in &config.routes {
        warnings.extend(route_warnings(route).into_iter().map(|what| format!("routes.{}: {what}", route.name)));
        let own = route.servers.iter().filter(|server| config.listen.iter().any(|listen| reaches(server, *listen)));
        warnings.extend(own.map(|server| {
            format!(
                "routes.{}: server {} is this proxy itself: a connection would go in circles",
                route.name, server.name
            )
        }));
    }
    warnings
}

/// `*.a.b` was meant for all below `a.b`, perhaps: then the `*` of another route takes what is deeper.
fn one_label_only(routes: &[Rc<Route>]) -> Vec<String> {
    let Some(default) = routes.iter().find(|route| route.sni.contains(&SniPattern::Default)) else { return Vec::new() };
    let names = || routes.iter().flat_map(|route| route.sni.iter().map(move |name| (route, name)));
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
                "routes.{}.sni: \"*.{parent}\" is one label more, so \"x.y.{parent}\" goes to {:?} by its \"*\"; write \
                 \"**.{parent}\" for all names below, in the route that they are meant for",
                route.name, default.name
            ));
        }
    }
    warnings
}

fn route_warnings(route: &Route) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if route.servers.iter().all(|server| server.weight == 0) {
        warnings.push("every server has weight 0, so it gets no new connections");
    }
    if route.servers.iter().all(|server| server.backup) {
        warnings.push("every server is a backup, so there is none that they stand in for");
    }
    if matches!(route.health_check.probe, Probe::Tls { sni: None }) {
        warnings.push("health_check: there is no exact name in sni, so the probe's hello goes without one");
    }
    warnings
}

/// Whether a connection to the server ends at this listener.
fn reaches(server: &Server, listen: SocketAddr) -> bool {
    let ip = server.address.ip();
    let same_family = listen.is_ipv4() == ip.is_ipv4();
    server.address.port() == listen.port()
        && (ip == listen.ip() || ip.is_loopback() && listen.ip().is_unspecified() && same_family)
}
