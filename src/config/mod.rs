//! The checked configuration. A value of these types is good: nothing downstream checks it again.
mod addresses;
mod check;
mod defaults;
mod diff;
mod error;
mod file;
mod keys;
mod kinds;
mod listening;
mod read;
mod regular_file;
mod route;
mod sni;
mod suggest;
mod syntax;
mod tree;
mod values;
mod warnings;
mod words;

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::vocabulary::{Balance, ProxyProtocol, Reject};
pub use diff::{diff, summary};
pub use error::Error;
pub use file::{load, parse};
pub use keys::schema;
pub use regular_file::{Unreadable, read_regular_file};
pub use warnings::{ipv6_only, warnings};
pub use words::{count, plain};

/// A whole configuration file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses for TLS of all routes without their own, in the order of the file. An IPv6 address takes IPv6 only.
    pub listen: Vec<SocketAddr>,
    /// Routes in the order of the file; names are unique.
    pub routes: Vec<Arc<Route>>,
    /// Timeouts that belong to no route.
    pub timeouts: Timeouts,
    /// More tries after a failed connect.
    pub retries: u32,
    /// Limits on clients.
    pub limits: Limits,
    /// What a client that is not let in gets to see.
    pub reject: Reject,
    /// Networks of balancers in front, which begin each connection with a PROXY header.
    pub accept_proxy: Vec<IpNet>,
    /// Addresses of the plain HTTP redirect.
    pub redirect: Vec<SocketAddr>,
    /// The endpoints for whoever runs the proxy.
    pub admin: Admin,
    /// What is logged, and how.
    pub log: Log,
    /// Whether bulk directions are spliced.
    pub zero_copy: ZeroCopy,
    /// The path of the control socket.
    pub control: Option<PathBuf>,
    /// The text that it was read from.
    pub text: Arc<str>,
}

impl Config {
    /// Whether a connection from `ip` is a balancer's.
    #[must_use]
    pub fn is_balancer(&self, ip: IpAddr) -> bool {
        self.accept_proxy.iter().any(|network| network.contains(&ip))
    }

    /// Servers of all routes together.
    #[must_use]
    pub fn server_count(&self) -> usize {
        self.routes.iter().map(|route| route.servers.len()).sum()
    }
}

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
    pub proxy_protocol: ProxyProtocol,
    /// What a PROXY v2 header says beyond addresses.
    pub proxy_tlvs: ProxyTlvs,
    /// What happens to open connections of a server that goes down.
    pub on_down: OnDown,
    /// What happens to new connections while no server is up.
    pub on_all_down: OnAllDown,
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
            proxy_protocol: defaults::PROXY_PROTOCOL,
            proxy_tlvs: ProxyTlvs::default(),
            on_down: defaults::ON_DOWN,
            on_all_down: defaults::ON_ALL_DOWN,
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
enum Tlv {
    Authority,
    Alpn,
    UniqueId,
    Crc32c,
    Received,
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

/// Timeouts of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to a whole hello.
    pub client_hello: Duration,
    /// From SIGTERM to the end of the process.
    pub drain: Duration,
    /// Silence after which the kernel asks a peer whether it is there; zero: never.
    pub keepalive: Duration,
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

/// How servers are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked of the server.
    pub probe: Probe,
    /// From one probe's start to the next.
    pub interval: Duration,
    /// The same while a verdict is pending: some probes have passed or failed, and not enough of them yet.
    pub fast_interval: Duration,
    /// For one probe, from connect to verdict.
    pub timeout: Duration,
    /// Failures in a row that take a server down.
    pub fall: u32,
    /// Passes in a row that bring it back.
    pub rise: u32,
    /// The port, where it is not the server's.
    pub port: Option<u16>,
    /// The PROXY header that a probe begins with: the route's kind, or none.
    pub proxy_header: ProxyProtocol,
}

impl HealthCheck {
    /// None: the server counts as up.
    #[must_use]
    pub fn off() -> HealthCheck {
        HealthCheck {
            probe: Probe::Off,
            interval: defaults::CHECK_INTERVAL,
            fast_interval: defaults::CHECK_INTERVAL,
            timeout: defaults::CHECK_TIMEOUT,
            fall: defaults::CHECK_FALL,
            rise: defaults::CHECK_RISE,
            port: None,
            proxy_header: ProxyProtocol::Off,
        }
    }
}

/// What a probe asks of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing: servers count as up.
    Off,
    /// Connect, and send the PROXY header whole.
    Tcp,
    /// Send a hello; a ServerHello passes.
    Tls {
        /// The SNI of the hello: the route's first exact name.
        sni: Option<Box<str>>,
    },
    /// GET over plain HTTP.
    Http {
        /// The path asked for.
        path: Box<str>,
        /// Lowest and highest status that pass.
        expect: [u16; 2],
        /// The Host header: the route's first exact name, else the server's address.
        host: Option<Box<str>>,
    },
}

/// Limits on clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Clients at once, in all; more wait in the backlog.
    pub connections: u32,
    /// Limits for each source address.
    pub per_source: Option<PerSource>,
}

/// Limits for each source address.
#[derive(Clone, Debug, PartialEq)]
pub struct PerSource {
    /// New connections in `period`.
    pub rate: Option<u32>,
    /// The window of `rate`.
    pub period: Duration,
    /// Open connections.
    pub concurrent: Option<u32>,
    /// How many leading bits of an IPv6 address are one source, 1 to 128.
    pub ipv6_prefix: u8,
    /// Sources without a limit.
    pub exempt: Vec<IpNet>,
}

/// The endpoints for whoever runs the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Addresses; none: no endpoints.
    pub listen: Vec<SocketAddr>,
    /// Files with user name and password for /stats.
    pub stats_credentials: Option<CredentialFiles>,
}

/// Files with user name and password for /stats; a trailing newline in them does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The file that holds the user name.
    pub username_file: std::path::PathBuf,
    /// The file that holds the password.
    pub password_file: std::path::PathBuf,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// Which lines a connection gets.
    pub connections: LogConnections,
    /// Whether connections that end before their first byte get lines.
    pub empty: bool,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// HAProxy's grammar.
    Haproxy,
    /// One JSON object a line.
    Json,
}

/// Which lines a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogConnections {
    /// Accept, connect and close.
    All,
    /// Close only.
    Close,
    /// None.
    Off,
}

/// Whether bulk directions are spliced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Once a direction proves to be bulk.
    Auto,
    /// Never.
    Off,
}

#[cfg(test)]
mod tests;
