//! One route and its servers.
use std::collections::HashMap;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::addresses::needs_link;
use super::file::take;
use super::keys::{http as http_keys, route as keys, server as server_keys, timeouts as timeout_keys};
use super::listening::Taken;
use super::read::Fields;
use super::sni::{Claims, claim};
use super::values::name as check_name;
use super::{
    Http, Outage, ProxyHeader, ProxyProtocol, ProxyTlvs, Route, RouteTimeouts, Server, SniPattern, Tlv, check, defaults,
};
use crate::vocabulary::{CONTROL_SOCKET, Role};

pub(super) const ROUTE_TIMEOUTS: RouteTimeouts =
    RouteTimeouts { connect: defaults::CONNECT, tunnel: defaults::TUNNEL, half_closed: defaults::HALF_CLOSED };

/// Settings of the file that apply to every route.
pub(super) struct RouteDefaults {
    pub(super) timeouts: RouteTimeouts,
    pub(super) health_check: check::Settings,
    /// Whether `accept_proxy` is set, so that a header can have been received.
    pub(super) has_balancers: bool,
}

/// What earlier routes hold, and this one must not take.
pub(super) struct Others {
    pub(super) taken: Taken,
    /// Names, by the addresses where they apply; the file's own addresses are the empty list.
    pub(super) claims: HashMap<Vec<SocketAddr>, Claims>,
    /// Addresses of routes, and the first route that has them.
    pub(super) owners: HashMap<Vec<SocketAddr>, Owner>,
}

pub(super) struct Owner {
    name: Box<str>,
    has_names: bool,
}

pub(super) fn route(name: &str, fields: &mut Fields<'_, '_>, defaults: &RouteDefaults, others: &mut Others) -> Route {
    if let Err(what) = check_name(name) {
        fields.error_here(what);
    }
    let alpn = alpn(fields);
    let listen = listen(name, fields, others);
    let sni = sni(name, fields, &alpn, others.claims.entry(listen.clone()).or_default());
    let servers = servers(fields);
    let proxy_protocol = fields.or(&keys::PROXY_PROTOCOL, defaults::PROXY_PROTOCOL);
    let health_check = check::settings(fields, &keys::HEALTH_CHECK, &defaults.health_check, proxy_protocol);
    if !health_check.is_http() {
        check::refuse_http_only(fields, &keys::HEALTH_CHECK);
    }
    Route {
        name: name.into(),
        balance: fields.or(&keys::BALANCE, defaults::BALANCE),
        proxy_header: ProxyHeader {
            protocol: proxy_protocol,
            tlvs: proxy_tlvs(fields, proxy_protocol, defaults.has_balancers),
        },
        outage: Outage {
            on_down: fields.or(&keys::ON_DOWN, defaults::ON_DOWN),
            on_all_down: fields.or(&keys::ON_ALL_DOWN, defaults::ON_ALL_DOWN),
        },
        allow_from: allow_from(fields),
        http: http(fields, &sni),
        timeouts: fields
            .object(&keys::TIMEOUTS, |fields| route_timeouts(fields, defaults.timeouts))
            .unwrap_or(defaults.timeouts),
        health_check: health_check.resolve(&sni, proxy_protocol),
        listen,
        alpn,
        sni,
        servers,
    }
}

fn alpn(fields: &mut Fields<'_, '_>) -> Vec<Box<str>> {
    fields.refuse_empty(&keys::ALPN, "leave it out to match any hello");
    let mut alpn: Vec<Box<str>> = Vec::new();
    for (index, protocol) in fields.list(&keys::ALPN).into_iter().enumerate() {
        match protocol {
            Some(protocol) if alpn.contains(&protocol) => {
                fields.error_in(&keys::ALPN, index, format_args!("{protocol:?} is in this list already; leave it out"));
            }
            protocol => alpn.extend(protocol),
        }
    }
    alpn
}

/// The route's own addresses. Two routes share all of them or none, as a table of names belongs to one set of addresses.
fn listen(name: &str, fields: &mut Fields<'_, '_>, others: &mut Others) -> Vec<SocketAddr> {
    fields.refuse_empty(&keys::LISTEN, "leave it out to use the file's \"listen\"");
    let addresses = fields.list(&keys::LISTEN);
    let listen: Vec<SocketAddr> = addresses.iter().copied().flatten().collect();
    if listen.is_empty() {
        return listen;
    }
    if is_reserved(name) {
        let what = format!("a frontend or a socket of the program is named {name:?}; give the route another name");
        fields.error(&keys::LISTEN, what);
    }
    let has_names = fields.has(&keys::SNI);
    if let Some(Owner { name: other, has_names: other_has_names }) = others.owners.get(&listen) {
        if !has_names || !other_has_names {
            let plain = if has_names { other } else { name };
            let what = format!(
                "{other:?} listens there too, and {plain:?} takes every client there; write \"sni\" for {plain:?}"
            );
            fields.error(&keys::LISTEN, what);
        }
    } else {
        take(fields, &keys::LISTEN, &addresses, &format!("routes.{name}.listen"), &mut others.taken);
        others.owners.insert(listen.clone(), Owner { name: name.into(), has_names });
    }
    listen
}

/// Whether the program itself has a frontend or a passed socket of this name. A route with its own addresses is a
/// frontend too, and its passed sockets have its name. A socket named `https` serves such a route as well.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let sockets = [Role::Http.socket_name(), Role::Admin.socket_name(), CONTROL_SOCKET];
    sockets.contains(&name) || Role::ALL.iter().any(|role| role.name() == name)
}

fn sni(name: &str, fields: &mut Fields<'_, '_>, alpn: &[Box<str>], claims: &mut Claims) -> Vec<SniPattern> {
    if fields.has(&keys::LISTEN) && !fields.has(&keys::SNI) {
        if !alpn.is_empty() {
            fields.error(&keys::ALPN, "needs \"sni\"; without names the proxy reads no hello");
        }
        return Vec::new();
    }
    fields.require(&keys::SNI, "\"sni\": [\"a.example\"], or [\"*\"] for every name that no other route takes");
    fields
        .refuse_empty(&keys::SNI, "write a name like \"a.example\", or \"*\" for every name that no other route takes");
    let mut sni = Vec::new();
    for (index, entry) in fields.list(&keys::SNI).into_iter().enumerate() {
        let Some((pattern, written)) = entry else { continue };
        if let Some(what) = claim(claims, name, &pattern, alpn, &written) {
            fields.error_in(&keys::SNI, index, what);
        }
        sni.push(pattern);
    }
    sni
}

fn allow_from(fields: &mut Fields<'_, '_>) -> Vec<IpNet> {
    fields.refuse_empty(&keys::ALLOW_FROM, "leave it out to let all clients in");
    fields.list(&keys::ALLOW_FROM).into_iter().flatten().collect()
}

fn proxy_tlvs(fields: &mut Fields<'_, '_>, protocol: ProxyProtocol, has_balancers: bool) -> ProxyTlvs {
    let list = fields.list(&keys::PROXY_TLVS);
    if !list.is_empty() && protocol != ProxyProtocol::V2 {
        fields.error(&keys::PROXY_TLVS, "needs proxy_protocol \"v2\"; leave it out");
    }
    let mut tlvs = ProxyTlvs::default();
    for (index, tlv) in list.into_iter().enumerate() {
        let flag = match tlv {
            Some(Tlv::Authority) => &mut tlvs.authority,
            Some(Tlv::Alpn) => &mut tlvs.alpn,
            Some(Tlv::UniqueId) => &mut tlvs.unique_id,
            Some(Tlv::Crc32c) => &mut tlvs.crc32c,
            Some(Tlv::Received) => &mut tlvs.received,
            None => continue,
        };
        if std::mem::replace(flag, true) {
            fields.error_in(&keys::PROXY_TLVS, index, "is in this list already; leave it out");
        } else if tlvs.received && !has_balancers {
            fields.error_in(&keys::PROXY_TLVS, index, "\"received\" needs accept_proxy.from; leave it out");
            tlvs.received = false;
        }
    }
    tlvs
}

fn http(fields: &mut Fields<'_, '_>, sni: &[SniPattern]) -> Option<Http> {
    if sni.is_empty() && fields.has(&keys::HTTP) && fields.has(&keys::LISTEN) {
        fields.error(&keys::HTTP, "needs \"sni\"; a request finds its route by its Host");
    }
    fields.object(&keys::HTTP, |fields| {
        let port = fields.or(&http_keys::PORT, defaults::HTTP_PORT);
        fields.require(&http_keys::PATHS, "\"paths\": [\"/.well-known/acme-challenge/\"]");
        fields.refuse_empty(&http_keys::PATHS, "write the beginning of a path, like \"/.well-known/acme-challenge/\"");
        Http { port, paths: fields.list(&http_keys::PATHS).into_iter().flatten().collect() }
    })
}

/// The timeouts that the file and a route can set.
pub(super) fn route_timeouts(fields: &mut Fields<'_, '_>, base: RouteTimeouts) -> RouteTimeouts {
    RouteTimeouts {
        connect: fields.or(&timeout_keys::CONNECT, base.connect),
        tunnel: fields.or(&timeout_keys::TUNNEL, base.tunnel),
        half_closed: fields.or(&timeout_keys::HALF_CLOSED, base.half_closed),
    }
}

fn servers(fields: &mut Fields<'_, '_>) -> Vec<Server> {
    fields.require(&keys::SERVERS, "\"servers\": [\"172.24.0.3:443\"]");
    fields.refuse_empty(&keys::SERVERS, "list at least one server, like \"172.24.0.3:443\"");
    let wanted = "\"172.24.0.3:443\", or an object with \"address\"";
    let servers = fields.list_of_either(&keys::SERVERS, plain_server, server, wanted);
    for (index, server) in servers.iter().enumerate() {
        if let Some(server) = server.as_ref().filter(|server| needs_link(server.address) && server.interface.is_none())
        {
            let address = server.address;
            let what = format!(
                "\"{address}\" is link-local and names no device; write {{ \"address\": \"{address}\", \"interface\": \"eth1\" }}"
            );
            fields.error_in(&keys::SERVERS, index, what);
        }
    }
    let mut names = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        let Some(server) = server else { continue };
        if let Some(first) = names.get(&server.name) {
            let name = &server.name;
            let what = format!("{name:?} is the name of servers[{first}] already; write a \"name\" of its own");
            fields.error_in(&keys::SERVERS, index, what);
        } else {
            names.insert(&server.name, index);
        }
    }
    servers.into_iter().flatten().collect()
}

/// A server written as its address alone.
fn plain_server((address, name): server_keys::Address) -> Server {
    Server {
        name,
        address,
        weight: defaults::WEIGHT,
        backup: defaults::BACKUP,
        max_connections: None,
        source: None,
        interface: None,
    }
}

fn server(fields: &mut Fields<'_, '_>) -> Option<Server> {
    let address = fields.required(&server_keys::ADDRESS, "\"address\": \"172.24.0.3:443\"");
    let name = fields.optional(&server_keys::NAME);
    let source = fields.optional(&server_keys::SOURCE);
    let weight = fields.or(&server_keys::WEIGHT, defaults::WEIGHT);
    let backup = fields.or(&server_keys::BACKUP, defaults::BACKUP);
    let max_connections = fields.optional(&server_keys::MAX_CONNECTIONS);
    let interface = fields.optional(&server_keys::INTERFACE);
    let (address, written) = address?;
    if let Some(source) = source.filter(|source| source.is_ipv4() != address.is_ipv4()) {
        let family = if address.is_ipv4() { "an IPv4" } else { "an IPv6" };
        fields.error(&server_keys::SOURCE, format!("\"{source}\" cannot reach {written:?}; write {family} address"));
    }
    Some(Server { name: name.unwrap_or(written), address, weight, backup, max_connections, source, interface })
}
