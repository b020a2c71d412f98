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

/// Everything that is shared, in one place, lent to one at a time.
pub struct Context {
    /// The moment of this turn.
    pub now: Time,
    /// The configuration in force for new connections.
    pub config: Arc<Config>,
    /// Routes and servers.
    pub fleet: Fleet,
    /// Counters of the process.
    pub process: Process,
    /// Clients now.
    pub clients: Clients,
    /// Clients of the redirect that are handed on in this turn.
    pub to_hand_on: Vec<Handed>,
    /// The log.
    pub log: AccessLog,
    /// What else comes up when.
    pub timers: Timers<Timer>,
    /// The poll.
    pub registry: Registry,
    /// When the log was told last that local ports are used up.
    pub told_no_port: Option<Time>,
    /// Servers that went down in this turn.
    pub fallen: Vec<ServerId>,
}

/// Clients now, each kind counted by its owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clients {
    /// Sessions.
    pub sessions: u64,
    /// Of these, those that the redirect has handed on: they came in at its addresses.
    pub handed_on: u64,
    /// Clients of the redirect.
    pub redirects: u64,
    /// Clients of the admin endpoints.
    pub admins: u64,
}

/// A client of the redirect that goes on to a server, with what it has sent so far.
pub struct Handed {
    /// The client's socket.
    pub stream: Stream,
    /// The client's address.
    pub source: SocketAddr,
    /// What a balancer told of it.
    pub told: Option<Box<Told>>,
    /// When it was let in.
    pub accepted: Time,
    /// Its request, and what came behind it.
    pub sent: Vec<u8>,
    /// The route that it goes on by.
    pub route: RouteId,
    /// The port of the route's servers.
    pub port: u16,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The next probe of a server.
    NextProbe(ServerId),
    /// A running probe's deadline.
    Probe(Key),
    /// Wrong passwords are to be summed up.
    Refusals,
    /// The redirect may take another client.
    NextRedirect,
    /// Accepting goes on, after the kernel had run short.
    Accept,
    /// The drain is over.
    Drain,
    /// The history's next sample.
    Sample,
    /// The service manager is to hear that the loop turns.
    Watchdog,
    /// The service manager is to hear the status.
    Status,
    /// What an operator has set for a server may be over.
    Override(ServerId),
}

/// The log is told of used up ports no more often than this.
const NO_PORT_PACE: Duration = Duration::from_mins(1);

impl Clients {
    fn all(&self) -> u64 {
        self.sessions + self.redirects + self.admins
    }

    /// Those that came in at the redirect's addresses.
    #[must_use]
    pub fn at_redirect(&self) -> u64 {
        self.redirects + self.handed_on
    }
}

impl Context {
    /// Counts a socket that could not be had, and says so where the reason is one that an operator can mend.
    pub fn note_shortage(&mut self, error: Errno) {
        if error != net::NO_PORT {
            return;
        }
        self.process.ports_short += 1;
        if self.told_no_port.is_none_or(|told| self.now.since(told) >= NO_PORT_PACE) {
            self.told_no_port = Some(self.now);
            log::warn!(
                "This host has run out of local ports for a server: connections to it wait, and are ended as RC after \
                 timeouts.connect. Widen net.ipv4.ip_local_port_range, or add servers or a source address."
            );
        }
    }

    /// How many connections there are, for a log line of one that came in at `frontend` and has these on its route and server.
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

    /// How many clients are connected at the addresses of a route; `None`: at the file's own.
    #[must_use]
    pub fn at(&self, frontend: Option<RouteId>) -> u64 {
        match frontend {
            None => self.clients.sessions - self.fleet.at_owners() - self.clients.handed_on,
            Some(id) => self.fleet.route(id).and_then(Route::own).map_or(0, Own::open),
        }
    }
}
