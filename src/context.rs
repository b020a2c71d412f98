//! What the one thread lends to sessions, probes and admin clients while they work.
use std::rc::Rc;

use mio::Registry;

use crate::access_log::{AccessLog, Counts};
use crate::config::Config;
use crate::fleet::{Fleet, Open, ServerId};
use crate::metrics::Process;
use crate::net::Key;
use crate::policy::time::Time;
use crate::policy::timers::Timers;

/// Everything that is shared, in one place, lent to one at a time.
pub struct Context {
    /// The moment of this turn.
    pub now: Time,
    /// The configuration in force for new connections.
    pub config: Rc<Config>,
    /// Routes and servers.
    pub fleet: Fleet,
    /// Counters of the process.
    pub process: Process,
    /// Clients now.
    pub sessions: u64,
    /// Clients of the redirect now.
    pub redirects: u64,
    /// Clients of the admin endpoints now.
    pub admins: u64,
    /// The log.
    pub log: AccessLog,
    /// What else comes up when.
    pub timers: Timers<Timer>,
    /// The poll.
    pub registry: Registry,
    /// Servers that went down in this turn.
    pub fallen: Vec<ServerId>,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The next probe of a server.
    NextProbe(ServerId),
    /// A running probe's deadline.
    Probe(Key),
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
}

impl Context {
    /// How many connections there are, for a log line of one that has these on its route and server.
    #[must_use]
    pub fn counts(&self, open: Open) -> Counts {
        Counts {
            process: self.sessions + self.redirects + self.admins,
            frontend: self.sessions,
            route: open.route,
            server: open.server,
            ahead: 0,
        }
    }
}
