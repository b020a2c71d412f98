//! One route and its servers.
use std::collections::HashMap;
use std::net::SocketAddr;

use super::addresses::{ip, server_address};
use super::read::{Fields, Path, Report, object};
use super::sni::{Claims, claim, pattern};
use super::tree::Value;
use super::values::{boolean, choice, duration, integer, interface, name as check_name, protocol, server_name, text};
use super::{Balance, OnDown, ProxyProtocol, ProxyTlvs, Route, RouteTimeouts, Server, SniPattern, check, defaults};

pub(super) const ROUTE_TIMEOUTS: RouteTimeouts =
    RouteTimeouts { connect: defaults::CONNECT, tunnel: defaults::TUNNEL, half_closed: defaults::HALF_CLOSED };

/// What the file says for all routes.
pub(super) struct RouteDefaults {
    pub(super) timeouts: RouteTimeouts,
    pub(super) health_check: check::Settings,
}

pub(super) fn route(name: &str, fields: &mut Fields<'_, '_>, defaults: &RouteDefaults, claims: &mut Claims) -> Route {
    if let Err(what) = check_name(name) {
        fields.error_here(what);
    }
    let alpn = alpn(fields);
    let sni = sni(name, fields, &alpn, claims);
    let servers = servers(fields);
    let proxy_protocol = fields.or(
        "proxy_protocol",
        defaults::PROXY_PROTOCOL,
        choice(&[("v2", ProxyProtocol::V2), ("v1", ProxyProtocol::V1), ("off", ProxyProtocol::Off)]),
    );
    let health_check = check::settings(fields, &defaults.health_check, proxy_protocol);
    Route {
        name: name.into(),
        balance: fields.or("balance", defaults::BALANCE, choice(&BALANCES)),
        proxy_tlvs: proxy_tlvs(fields, proxy_protocol),
        on_down: fields.or("on_down", defaults::ON_DOWN, choice(&[("keep", OnDown::Keep), ("close", OnDown::Close)])),
        timeouts: timeouts(fields, defaults.timeouts),
        health_check: health_check.resolve(&sni, proxy_protocol),
        proxy_protocol,
        alpn,
        sni,
        servers,
    }
}

const BALANCES: [(&str, Balance); 3] = [
    ("round_robin", Balance::RoundRobin),
    ("least_connections", Balance::LeastConnections),
    ("source", Balance::Source),
];

fn alpn(fields: &mut Fields<'_, '_>) -> Vec<Box<str>> {
    fields.refuse_empty("alpn", "leave it out to take any hello");
    let mut alpn: Vec<Box<str>> = Vec::new();
    for (index, protocol) in fields.list("alpn", protocol).into_iter().enumerate() {
        match protocol {
            Some(protocol) if alpn.contains(&protocol) => {
                fields.error_in("alpn", index, format_args!("{protocol:?} is in this list already; leave it out"));
            }
            protocol => alpn.extend(protocol),
        }
    }
    alpn
}

fn sni(name: &str, fields: &mut Fields<'_, '_>, alpn: &[Box<str>], claims: &mut Claims) -> Vec<SniPattern> {
    fields.require("sni", "\"sni\": [\"a.example\"], or [\"*\"] for all that no other route takes");
    fields.refuse_empty("sni", "write a name like \"a.example\", or \"*\" for all that no other route takes");
    let mut sni = Vec::new();
    for (index, entry) in fields.list("sni", pattern).into_iter().enumerate() {
        let Some((pattern, written)) = entry else { continue };
        if let Some(what) = claim(claims, name, &pattern, alpn, &written) {
            fields.error_in("sni", index, what);
        }
        sni.push(pattern);
    }
    sni
}

fn proxy_tlvs(fields: &mut Fields<'_, '_>, protocol: ProxyProtocol) -> ProxyTlvs {
    #[derive(Clone, Copy)]
    enum Tlv {
        Authority,
        Alpn,
        UniqueId,
        Crc32c,
    }
    let choices =
        [("authority", Tlv::Authority), ("alpn", Tlv::Alpn), ("unique_id", Tlv::UniqueId), ("crc32c", Tlv::Crc32c)];
    let list = fields.list("proxy_tlvs", choice(&choices));
    if !list.is_empty() && protocol != ProxyProtocol::V2 {
        fields.error("proxy_tlvs", "needs proxy_protocol \"v2\"; leave it out");
    }
    let mut tlvs = ProxyTlvs::default();
    for (index, tlv) in list.into_iter().enumerate() {
        let flag = match tlv {
            Some(Tlv::Authority) => &mut tlvs.authority,
            Some(Tlv::Alpn) => &mut tlvs.alpn,
            Some(Tlv::UniqueId) => &mut tlvs.unique_id,
            Some(Tlv::Crc32c) => &mut tlvs.crc32c,
            None => continue,
        };
        if std::mem::replace(flag, true) {
            fields.error_in("proxy_tlvs", index, "is in this list already; leave it out");
        }
    }
    tlvs
}

fn timeouts(fields: &mut Fields<'_, '_>, base: RouteTimeouts) -> RouteTimeouts {
    let timeouts = fields.object("timeouts", |fields| {
        for key in ["client_hello", "drain"] {
            fields.refuse(key, format_args!("is for all routes alike; write it in timeouts.{key}"));
        }
        route_timeouts(fields, base)
    });
    timeouts.unwrap_or(base)
}

/// The timeouts that the file and a route can set.
pub(super) fn route_timeouts(fields: &mut Fields<'_, '_>, base: RouteTimeouts) -> RouteTimeouts {
    RouteTimeouts {
        connect: fields.or("connect", base.connect, duration(defaults::DURATIONS)),
        tunnel: fields.or("tunnel", base.tunnel, duration(defaults::DURATIONS)),
        half_closed: fields.or("half_closed", base.half_closed, duration(defaults::DURATIONS)),
    }
}

fn servers(fields: &mut Fields<'_, '_>) -> Vec<Server> {
    fields.require("servers", "\"servers\": [\"172.24.0.3:443\"]");
    fields.refuse_empty("servers", "list at least one server, like \"172.24.0.3:443\"");
    let servers = fields.items("servers", server);
    let mut names = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        let Some(server) = server else { continue };
        if let Some(first) = names.get(&server.name) {
            let name = &server.name;
            let what = format!("{name:?} is the name of servers[{first}] already; write a \"name\" of its own");
            fields.error_in("servers", index, what);
        } else {
            names.insert(&server.name, index);
        }
    }
    servers.into_iter().flatten().collect()
}

fn server(value: &Value, path: &Path<'_>, report: &mut Report<'_>) -> Option<Server> {
    match value {
        Value::String(_) => report.take(path, address(value)).map(|(address, name)| Server {
            name,
            address,
            weight: defaults::WEIGHT,
            backup: defaults::BACKUP,
            max_connections: None,
            source: None,
            interface: None,
        }),
        Value::Object(_) => object(value, path, report, server_object)?,
        other => {
            report.add(path, other.is_not("\"172.24.0.3:443\", or an object with \"address\""));
            None
        }
    }
}

fn server_object(fields: &mut Fields<'_, '_>) -> Option<Server> {
    let address = fields.required("address", "\"address\": \"172.24.0.3:443\"", address);
    let name = fields.optional("name", server_name);
    let source = fields.optional("source", ip);
    let weight = fields.or("weight", defaults::WEIGHT, integer(defaults::WEIGHTS));
    let backup = fields.or("backup", defaults::BACKUP, boolean);
    let max_connections = fields.optional("max_connections", integer(defaults::COUNTS));
    let interface = fields.optional("interface", interface);
    let (address, written) = address?;
    if let Some(source) = source.filter(|source| source.is_ipv4() != address.is_ipv4()) {
        let family = if address.is_ipv4() { "an IPv4" } else { "an IPv6" };
        let what = format!("\"{source}\" cannot reach {written:?}; write {family} address");
        fields.error("source", what);
    }
    Some(Server { name: name.unwrap_or(written), address, weight, backup, max_connections, source, interface })
}

/// A server's address, and as it is written.
fn address(value: &Value) -> Result<(SocketAddr, Box<str>), String> {
    let address = server_address(value)?;
    Ok((address, text(value, "")?.into()))
}
