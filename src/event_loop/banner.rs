//! The first lines of the log: the version, what it serves, and its limits.
use std::collections::HashMap;
use std::fmt::Write as _;

use super::EventLoop;
use crate::config::{self, Config, PerSource, Route, Server, count};
use crate::net;

/// The most routes that get a line each.
const MAX_ROUTES: usize = 40;
/// The most names and servers of a route that its line has.
const MAX_PARTS: usize = 8;

/// Logs the lines.
pub(super) fn say(event_loop: &mut EventLoop) {
    let mut lines = vec![title(event_loop)];
    lines.extend(event_loop.door.listeners.iter().map(|listener| {
        let whose = if listener.inherited { ", on a socket from systemd" } else { "" };
        format!("Listening on {} for {}{whose}.", listener.bound, event_loop.door.listeners.purpose(listener))
    }));
    let config = &event_loop.context.config;
    lines.extend(config.routes.iter().take(MAX_ROUTES).map(|route| describe_route(route)));
    if let more @ 1.. = config.routes.len().saturating_sub(MAX_ROUTES) {
        lines.push(format!("And {}.", count(more, "more route")));
    }
    lines.push(limits(event_loop));
    for line in lines {
        log::info!("{line}");
    }
    let warnings = config::warnings(&event_loop.context.config);
    warn(event_loop, &warnings);
}

/// Logs the warnings about a configuration.
pub(super) fn warn(event_loop: &mut EventLoop, warnings: &[String]) {
    let EventLoop { door, admins, control, context, .. } = event_loop;
    let fds = door.fds.demand(&context.config).warning(door.fds.limit());
    let credentials = admins.warnings().iter().cloned();
    let file = warnings.iter().cloned();
    let ipv6_only = if door.listeners.are_passed() { Vec::new() } else { config::ipv6_only(&context.config) };
    for warning in fds
        .into_iter()
        .chain(file)
        .chain(ipv6_only)
        .chain(credentials)
        .chain(lacking(&context.config))
        .chain(control.warning())
    {
        log::warn!("Warning: {warning}");
    }
    door.listeners.name_unused_sockets(context);
}

/// Devices and local addresses that the configuration names and this host does not have.
fn lacking(config: &Config) -> Vec<String> {
    let (mut devices, mut sources) = (HashMap::new(), HashMap::new());
    let mut lacking = Vec::new();
    for (route, server) in
        config.routes.iter().flat_map(|route| route.servers.iter().map(move |server| (route, server)))
    {
        let mut tell = |what: String| {
            lacking.push(format!(
                "routes.{}: server {}: this host has no {what}, so no connection can reach the server",
                route.name, server.name
            ));
        };
        if let Some(device) = &server.interface
            && !*devices.entry(device).or_insert_with(|| net::has_device(device))
        {
            tell(format!("device {device:?}"));
        }
        if let Some(source) = server.source
            && !*sources.entry(source).or_insert_with(|| net::has_address(source))
        {
            tell(format!("address {source}"));
        }
    }
    lacking
}

fn title(event_loop: &EventLoop) -> String {
    let config = &event_loop.context.config;
    let version = env!("CARGO_PKG_VERSION");
    let (path, routes, servers) = (
        event_loop.operator.path.display(),
        count(config.routes.len(), "route"),
        count(config.server_count(), "server"),
    );
    format!("fiscalismia-lb {version} serves {path}: {routes}, {servers}.")
}

fn limits(event_loop: &EventLoop) -> String {
    let config = &event_loop.context.config;
    let (capacity, fds) = (event_loop.sessions.shared.capacity, event_loop.door.fds.limit());
    let mut line = format!("Limits: {capacity} connections (of {fds} fds)");
    if let Some(limits) = &config.limits.per_source {
        line.push_str(&describe_source(limits));
    }
    let reject = config.reject.word();
    let (hello, drain) = (config.timeouts.client_hello, config.timeouts.drain);
    let _ = write!(line, "; {hello:?} for a hello, {drain:?} to drain; refused clients get: {reject}.");
    line
}

fn describe_source(limits: &PerSource) -> String {
    let rate = limits.rate.map(|rate| format!(", {rate} new connections in {:?}", limits.period)).unwrap_or_default();
    let concurrent = limits.concurrent.map(|most| format!(", {most} open connections")).unwrap_or_default();
    let exempt = match limits.exempt.len() {
        0 => String::new(),
        1 => ", 1 network exempt".to_owned(),
        count => format!(", {count} networks exempt"),
    };
    format!("; for each source address{rate}{concurrent} (IPv6 by /{}{exempt})", limits.ipv6_prefix)
}

fn describe_route(route: &Route) -> String {
    let names = if route.sni.is_empty() { "every client".to_owned() } else { list(&route.sni, ToString::to_string) };
    let alpn = if route.alpn.is_empty() { String::new() } else { format!(" with {}", route.alpn.join(" or ")) };
    let balance = if route.servers.len() == 1 { String::new() } else { format!(" by {}", route.balance.word()) };
    let header = route.proxy_header.protocol.header();
    let servers = list(&route.servers, describe_server);
    format!("Route {}: {names}{alpn} to {servers}{balance}, {header}.", route.name)
}

fn describe_server(server: &Server) -> String {
    let address = server.address.to_string();
    let name = if *server.name == *address { String::new() } else { format!("{} ", server.name) };
    let weight = if server.weight == 1 { String::new() } else { format!(" weight {}", server.weight) };
    let backup = if server.backup { " backup" } else { "" };
    format!("{name}{address}{weight}{backup}")
}

/// The first items, and the number of the others.
fn list<T>(all: &[T], describe: impl Fn(&T) -> String) -> String {
    let mut told: Vec<String> = all.iter().take(MAX_PARTS).map(describe).collect();
    if let more @ 1.. = all.len().saturating_sub(MAX_PARTS) {
        told.push(format!("{more} more"));
    }
    told.join(", ")
}
