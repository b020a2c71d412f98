//! What the file says of a route and its servers.
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Balance, HealthCheck, ProxyProtocol, defaults};

/// Where connections for some names go.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The key in `routes`; HAProxy would call it the backend.
    pub name: Box<str>,
    /// Its own addresses, beside those of the file; none: it is served there. Routes that share one share all.
    pub listen: Vec<SocketAddr>,
    /// Names that the route serves; none, on addresses of its own: whatever comes there.
    pub sni: Vec<SniPattern>,
    /// Only hellos that offer one of these; empty: any hello.
    pub alpn: Vec<Box<str>>,
    /// Servers in the order of the file; names are unique within the route.
    pub servers: Vec<Server>,
    /// How a server is picked.
    pub balance: Balance,
    /// The PROXY header that is written to each server.
    pub proxy_header: ProxyHeader,
    /// What happens to connections while servers are down.
    pub outage: Outage,
    /// Clients that may come; empty: all.
    pub allow_from: Vec<IpNet>,
    /// Requests over plain HTTP that go to its servers.
    pub http: Option<Http>,
    /// Timeouts, the file's own where the route has none.
    pub timeouts: RouteTimeouts,
    /// How its servers are probed, the file's own where the route has none.
    pub health_check: HealthCheck,
}

impl Route {
    /// A route that is not in the file: connections that another process began go on in it, and no other gets it.
    #[must_use]
    pub fn gone(name: &str, timeouts: RouteTimeouts) -> Route {
        Route {
            name: name.into(),
            listen: Vec::new(),
            sni: Vec::new(),
            alpn: Vec::new(),
            servers: Vec::new(),
            balance: defaults::BALANCE,
            proxy_header: ProxyHeader { protocol: defaults::PROXY_PROTOCOL, tlvs: ProxyTlvs::default() },
            outage: Outage { on_down: defaults::ON_DOWN, on_all_down: defaults::ON_ALL_DOWN },
            allow_from: Vec::new(),
            http: None,
            timeouts,
            health_check: HealthCheck::off(),
        }
    }

    /// Whether a client with this address may come.
    #[must_use]
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow_from.is_empty() || self.allow_from.iter().any(|network| network.contains(&client))
    }
}

/// Requests over plain HTTP that go to a route's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The port of each server that takes them.
    pub port: u16,
    /// How their paths begin.
    pub paths: Vec<Box<str>>,
}

/// A name of `routes.NAME.sni`, in lower case, without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SniPattern {
    /// `a.b`: this name.
    Exact(Box<str>),
    /// `*.a.b`, kept as `a.b`: one label more than this name.
    Wildcard(Box<str>),
    /// `**.a.b`, kept as `a.b`: one label or more than this name.
    Subdomains(Box<str>),
    /// `*`: everything else, a hello without SNI too.
    Default,
}

impl fmt::Display for SniPattern {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SniPattern::Exact(name) => f.write_str(name),
            SniPattern::Wildcard(parent) => write!(f, "*.{parent}"),
            SniPattern::Subdomains(parent) => write!(f, "**.{parent}"),
            SniPattern::Default => f.write_str("*"),
        }
    }
}

/// One server of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Unique within the route; the address as written where no name is given.
    pub name: Box<str>,
    /// Where to connect.
    pub address: SocketAddr,
    /// Share of new connections, 0 to 256; 0: none.
    pub weight: u16,
    /// Used only when no other server of the route is up.
    pub backup: bool,
    /// Connections at once; more go to another server or wait.
    pub max_connections: Option<u32>,
    /// Local address to connect from.
    pub source: Option<IpAddr>,
    /// Device to connect through.
    pub interface: Option<Box<str>>,
}

impl Server {
    /// A server that is not in the file: connections that another process began go on there.
    #[must_use]
    pub fn gone(name: &str, address: SocketAddr) -> Server {
        Server {
            name: name.into(),
            address,
            weight: 0,
            backup: false,
            max_connections: None,
            source: None,
            interface: None,
        }
    }

    /// `source` as bind(2) takes it. A link-local address is one in a zone only, and reaches nothing in another (RFC 4007
    /// section 9): it is meant in the server's.
    #[must_use]
    pub fn from_address(&self) -> Option<SocketAddr> {
        self.source.map(|source| match (source, self.address) {
            (IpAddr::V6(source), SocketAddr::V6(server)) => SocketAddrV6::new(source, 0, 0, server.scope_id()).into(),
            _ => SocketAddr::new(source, 0),
        })
    }
}

/// The PROXY header that a server gets in front of each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Which version, or none.
    pub protocol: ProxyProtocol,
    /// What version 2 says beyond addresses.
    pub tlvs: ProxyTlvs,
}

/// TLVs of a PROXY v2 header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four, as the file lists them")]
pub struct ProxyTlvs {
    /// `PP2_TYPE_AUTHORITY`: the SNI.
    pub authority: bool,
    /// `PP2_TYPE_ALPN`: the client's first protocol.
    pub alpn: bool,
    /// `PP2_TYPE_UNIQUE_ID`: 16 bytes, also in the log.
    pub unique_id: bool,
    /// `PP2_TYPE_CRC32C` over the header.
    pub crc32c: bool,
    /// What a balancer in front told.
    pub received: bool,
}

/// One of them, as the file lists it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tlv {
    Authority,
    Alpn,
    UniqueId,
    Crc32c,
    Received,
}

/// What happens to connections while servers are down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// To open ones, when their server goes down.
    pub on_down: OnDown,
    /// To new ones, while no server is up.
    pub on_all_down: OnAllDown,
}

/// What happens to open connections of a server that goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDown {
    /// They go on.
    Keep,
    /// They are closed.
    Close,
}

/// What happens to new connections while no server of a route is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAllDown {
    /// They are refused at once.
    Refuse,
    /// They try a server all the same.
    Try,
}

/// Timeouts of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteTimeouts {
    /// For one try to connect.
    pub connect: Duration,
    /// No byte either way.
    pub tunnel: Duration,
    /// No byte while one side has ended its direction.
    pub half_closed: Duration,
}

impl Default for RouteTimeouts {
    fn default() -> RouteTimeouts {
        RouteTimeouts { connect: defaults::CONNECT, tunnel: defaults::TUNNEL, half_closed: defaults::HALF_CLOSED }
    }
}
