//! What the file says of probes.
use std::time::Duration;

use super::{ProxyProtocol, defaults};

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
