//! The checked configuration. Every value of these types is valid, so no other module checks it again.
mod addresses;
mod check;
mod defaults;
mod diff;
mod error;
mod file;
mod keys;
mod kinds;
mod listening;
mod probing;
mod read;
mod regular_file;
mod route;
mod routing;
mod sni;
mod suggest;
mod syntax;
mod tree;
mod values;
mod warnings;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use crate::vocabulary::{Balance, ProxyProtocol, Reject};
pub use defaults::WEIGHTS;
pub use diff::{diff, summary};
pub use error::Error;
pub use file::{load, parse};
pub use keys::schema;
pub use probing::{HealthCheck, Probe};
pub use regular_file::{Unreadable, read_regular_file};
pub use route::is_reserved;
use routing::Tlv;
pub use routing::{Http, OnAllDown, OnDown, Outage, ProxyHeader, ProxyTlvs, Route, RouteTimeouts, Server, SniPattern};
pub use sni::{MAX_HOST_NAME, is_host_name};
pub use warnings::{ipv6_only, warnings};
pub use words::{count, plain};

/// A whole configuration file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses for TLS of all routes without their own, in the order of the file. An IPv6 address accepts IPv6 only.
    pub listen: Vec<SocketAddr>,
    /// Routes in the order of the file; names are unique.
    pub routes: Vec<Arc<Route>>,
    /// Timeouts that belong to no route.
    pub timeouts: Timeouts,
    /// Further attempts after a failed connect.
    pub retries: u32,
    /// Limits on clients.
    pub limits: Limits,
    /// What a refused client sees.
    pub reject: Reject,
    /// Networks of balancers in front, which begin each connection with a PROXY header.
    pub accept_proxy: Vec<IpNet>,
    /// Addresses of the plain HTTP redirect.
    pub redirect: Vec<SocketAddr>,
    /// The endpoints for the operator.
    pub admin: Admin,
    /// What is logged, and how.
    pub log: Log,
    /// Whether bulk directions are spliced.
    pub zero_copy: ZeroCopy,
    /// The path of the control socket.
    pub control: Option<PathBuf>,
}

/// A configuration file as it was read.
#[derive(Clone, Debug)]
pub struct File {
    /// The configuration that it holds.
    pub config: Config,
    /// Its text.
    pub text: Arc<str>,
}

impl Config {
    /// Whether a connection from `ip` comes from a balancer in front.
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

/// Timeouts of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Time from accept to a whole hello.
    pub client_hello: Duration,
    /// Time from SIGTERM to the end of the process.
    pub drain: Duration,
    /// Silence after which the kernel sends a keepalive probe to a peer; zero: never.
    pub keepalive: Duration,
}

/// Limits on clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Most clients at once, on all listeners together; further clients wait in the backlog.
    pub connections: u32,
    /// Limits for each source address.
    pub per_source: Option<PerSource>,
}

/// Limits for each source address.
#[derive(Clone, Debug, PartialEq)]
pub struct PerSource {
    /// Most new connections in `period`.
    pub rate: Option<u32>,
    /// The window of `rate`.
    pub period: Duration,
    /// Most open connections.
    pub concurrent: Option<u32>,
    /// How many leading bits of an IPv6 address are one source, 1 to 128.
    pub ipv6_prefix: u8,
    /// Networks whose clients have no limit.
    pub exempt: Vec<IpNet>,
}

/// The endpoints for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Addresses to listen on; empty: no endpoints.
    pub listen: Vec<SocketAddr>,
    /// Files with user name and password for /stats.
    pub stats_credentials: Option<CredentialFiles>,
}

/// Files with user name and password for /stats. One trailing newline in each is ignored.
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
