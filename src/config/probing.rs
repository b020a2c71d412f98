//! The checked settings of probes.
use std::time::Duration;

use super::{ProxyProtocol, defaults};

/// How servers are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The question that a probe asks.
    pub probe: Probe,
    /// Time from one probe's start to the next.
    pub interval: Duration,
    /// Time from one probe's start to the next while fewer probes in a row have passed or failed than `rise` or `fall`
    /// asks for.
    pub fast_interval: Duration,
    /// Time for one probe, from connect to verdict.
    pub timeout: Duration,
    /// Failures in a row that take a server down.
    pub fall: u32,
    /// Passes in a row that bring a server back.
    pub rise: u32,
    /// The port to probe, if it is not the server's.
    pub port: Option<u16>,
    /// The version of the PROXY header that a probe begins with, or `Off`.
    pub proxy_header: ProxyProtocol,
}

impl HealthCheck {
    /// No probes: the server counts as up.
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

/// The question that a probe asks a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No probe: every server counts as up.
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
