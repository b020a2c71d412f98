//! What the one thread lends to sessions, probes and admin clients while they work.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::Registry;
use rustix::io::Errno;

use crate::access_log::{AccessLog, Counts};
use crate::config::Config;
use crate::fleet::{Fleet, Open, Own, Route, RouteId, ServerId};
use crate::metrics::Process;
use crate::net::{self, Key, Stream};
use crate::policy::time::Time;
use crate::policy::timers::Timers;
use crate::preface::Told;

/// What all actors need, lent to one at a time.
pub struct Context {
    /// The time of this turn.
    pub now: Time,
    /// The configuration in force for new connections.
    pub config: Arc<Config>,
    /// Routes and servers.
    pub fleet: Fleet,
    /// Counters of the process.
    pub process: Process,
    /// Current clients.
    pub clients: Clients,
    /// Clients of the redirect that are handed on to a server in this turn.
    pub to_hand_on: Vec<Handed>,
    /// The log.
    pub log: AccessLog,
    /// Timers other than those of sessions and HTTP clients.
    pub timers: Timers<Timer>,
    /// The poll's registry.
    pub registry: Registry,
    /// When the log last said that local ports are used up.
    pub told_no_port: Option<Time>,
    /// Servers that went down in this turn.
    pub fallen: Vec<ServerId>,
}

/// Current clients; each owner counts its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clients {
    /// Clients that are sessions.
    pub sessions: u64,
    /// Sessions that the redirect handed on: their clients came in at its addresses.
    handed_on: u64,
    /// Clients of the redirect.
    pub redirects: u64,
    /// Clients of the admin endpoints.
    pub admins: u64,
}

/// A client of the redirect that goes on to a server, with the bytes it has sent.
pub struct Handed {
    /// The client's socket.
    pub stream: Stream,
    /// The client's address.
    pub source: SocketAddr,
    /// What a balancer in front said of the client.
    pub told: Option<Box<Told>>,
    /// When the client was accepted.
    pub accepted: Time,
    /// The client's request, and the bytes after it.
    pub sent: Vec<u8>,
    /// The route that serves the request.
    pub route: RouteId,
    /// The port of the route's servers.
    pub port: u16,
}

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The next probe of a server.
    NextProbe(ServerId),
    /// A running probe's deadline.
    Probe(Key),
    /// The number of wrong passwords is logged.
    Refusals,
    /// The redirect may accept another client.
    NextRedirect,
    /// Accepting goes on after a shortage.
    Accept,
    /// The drain is over.
    Drain,
    /// The drain may be over, if nothing is open.
    LeastDrain,
    /// The next sample of the history.
    Sample,
    /// WATCHDOG is sent to systemd.
    Watchdog,
    /// The status is sent to systemd.
    Status,
    /// An operator's setting of a server may expire.
    Override(ServerId),
}

/// The shortest time between two log lines about used up ports.
const NO_PORT_PACE: Duration = Duration::from_mins(1);

impl Clients {
    fn all(&self) -> u64 {
        self.sessions + self.redirects + self.admins
    }

    /// Counts a session that the redirect handed on.
    pub fn count_handed_on(&mut self) {
        self.handed_on += 1;
    }

    /// Uncounts such a session at its end.
    pub fn uncount_handed_on(&mut self) {
        debug_assert!(self.handed_on > 0, "a session is counted off twice");
        self.handed_on = self.handed_on.saturating_sub(1);
    }

    /// Clients that came in at the redirect's addresses.
    #[must_use]
    pub fn at_redirect(&self) -> u64 {
        self.redirects + self.handed_on
    }
}

impl Context {
    /// Counts a socket that could not be opened or connected. Logs the reason if an operator can mend it.
    pub fn note_shortage(&mut self, error: Errno) {
        if error != net::NO_PORT {
            return;
        }
        self.process.ports_short += 1;
        if self.told_no_port.is_none_or(|told| self.now.since(told) >= NO_PORT_PACE) {
            self.told_no_port = Some(self.now);
            log::warn!(
                "This host has no free local port for a server: connections to it wait, and end as RC after \
                 timeouts.connect. Widen net.ipv4.ip_local_port_range, or add servers or a source address."
            );
        }
    }

    /// The current connections for a log line: `frontend` is the route whose address the client came to, `open` those
    /// of its route and server.
    #[must_use]
    pub fn counts(&self, frontend: Option<RouteId>, open: Open) -> Counts {
        Counts {
            process: self.clients.all(),
            frontend: self.at(frontend),
            route: open.route,
            server: open.server,
            ahead: 0,
        }
    }

    /// Current clients at a route's own addresses; `None`: at the file's.
    #[must_use]
    pub fn at(&self, frontend: Option<RouteId>) -> u64 {
        match frontend {
            None => self.clients.sessions - self.fleet.at_owners() - self.clients.handed_on,
            Some(id) => self.fleet.route(id).and_then(Route::own).map_or(0, Own::open),
        }
    }
}
