//! The checked settings of a route and its servers.
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Balance, HealthCheck, ProxyProtocol, defaults};

/// A route: which clients it takes, and where they go.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The key in `routes`; HAProxy would call it the backend.
    pub name: Box<str>,
    /// Its own addresses; empty: the route is served at the file's addresses. Routes that share one address share all.
    pub listen: Vec<SocketAddr>,
    /// Names that the route serves. Empty, on addresses of its own: every client there.
    pub sni: Vec<SniPattern>,
    /// ALPN protocols, one of which a hello must offer; empty: any hello.
    pub alpn: Vec<Box<str>>,
    /// Servers in the order of the file; names are unique within the route.
    pub servers: Vec<Server>,
    /// How a server is picked.
    pub balance: Balance,
    /// The PROXY header that is written to each server.
    pub proxy_header: ProxyHeader,
    /// What happens to connections while servers are down.
    pub outage: Outage,
    /// Networks that clients may come from; empty: all.
    pub allow_from: Vec<IpNet>,
    /// Requests over plain HTTP that go to the route's servers.
    pub http: Option<Http>,
    /// Timeouts; the file's own where the route sets none.
    pub timeouts: RouteTimeouts,
    /// How the servers are probed; the file's own where the route sets nothing.
    pub health_check: HealthCheck,
}

impl Route {
    /// A route that left the file. Connections that the previous process began go on in it; no new client gets it.
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

    /// Whether a client with this address may connect.
    #[must_use]
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow_from.is_empty() || self.allow_from.iter().any(|network| network.contains(&client))
    }
}

/// Requests over plain HTTP that go to a route's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The port of each server that takes these requests.
    pub port: u16,
    /// The beginnings of their paths.
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
    /// `*`: every other name, and a hello without SNI.
    Default,
}

impl fmt::Display for SniPattern {
    /// As the file writes it.
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
    /// Unique within the route; the address as written, if the file gives no name.
    pub name: Box<str>,
    /// Where to connect.
    pub address: SocketAddr,
    /// Share of new connections, 0 to 256; 0: none.
    pub weight: u16,
    /// Used only while no other server of the route is up.
    pub backup: bool,
    /// Most connections at once; further ones go to another server or wait.
    pub max_connections: Option<u32>,
    /// Local address to connect from.
    pub source: Option<IpAddr>,
    /// Device to connect through.
    pub interface: Option<Box<str>>,
}

impl Server {
    /// A server that left the file. Connections that the previous process began go on there.
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

    /// `source` as bind(2) takes it. A link-local address needs a zone (RFC 4007 section 6); it gets the zone of the
    /// server's address.
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
    /// TLVs of version 2.
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
    /// What a balancer in front sent.
    pub received: bool,
}

/// One TLV, as the file lists it.
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
    /// To open connections, when their server goes down.
    pub on_down: OnDown,
    /// To new connections, while no server is up.
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
    /// Time for one attempt to connect.
    pub connect: Duration,
    /// Time without a byte in either direction.
    pub tunnel: Duration,
    /// The same once one side has ended its direction (half-close).
    pub half_closed: Duration,
}

impl Default for RouteTimeouts {
    fn default() -> RouteTimeouts {
        RouteTimeouts { connect: defaults::CONNECT, tunnel: defaults::TUNNEL, half_closed: defaults::HALF_CLOSED }
    }
}
