//! What the one thread lends to sessions, probes and admin clients while they work.
use std::rc::Rc;

use mio::Registry;

use crate::access_log::{AccessLog, Counts};
use crate::config::Config;
use crate::fleet::{Fleet, ServerId};
use crate::metrics::Process;
use crate::net::{Key, Pipes};
use crate::policy::rate_limit::RateLimit;
use crate::policy::time::Time;
use crate::policy::timers::{SlotDeadlines, Timers};

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
    /// Clients that there may be: the limit of the configuration, or what the fd limit holds.
    pub capacity: u64,
    /// What each source address may take.
    pub sources: RateLimit,
    /// Clients refused by `sources` that are still there: they are turned away once their hello has come.
    pub refused: u64,
    /// Clients of the redirect now.
    pub redirects: u64,
    /// Clients of the admin endpoints now.
    pub admins: u64,
    /// The log.
    pub log: AccessLog,
    /// When sessions are over, unless something happens.
    pub deadlines: SlotDeadlines<Key>,
    /// What else comes up when.
    pub timers: Timers<Timer>,
    /// The poll.
    pub registry: Registry,
    /// When a session spoke last that does not move bulk.
    pub spoken: Time,
    /// Room for one read, which all connections share.
    pub scratch: Vec<u8>,
    /// Pipes for bulk transfers.
    pub pipes: Pipes,
    /// Routes whose queue may move on: in this turn a server of theirs may have got room, come up or gone down.
    pub roomy: Vec<u32>,
    /// Servers that went down in this turn.
    pub fallen: Vec<ServerId>,
    /// Gives every connection an id of its own.
    pub unique_ids: UniqueIds,
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

/// 16 bytes for each connection: random ones of the process, then a count.
pub struct UniqueIds {
    process: u64,
    next: u64,
}

impl UniqueIds {
    /// Ids that begin with `process`.
    #[must_use]
    pub fn new(process: u64) -> UniqueIds {
        UniqueIds { process, next: 0 }
    }

    /// One that was not given out before.
    pub fn draw(&mut self) -> [u8; 16] {
        self.next += 1;
        (u128::from(self.process) << 64 | u128::from(self.next)).to_be_bytes()
    }
}

impl Context {
    /// Counts a connection off its server, which may give its room to one that waits.
    pub fn release(&mut self, id: ServerId) {
        let Some(route) = self.fleet.route_mut(id.route) else { return };
        route.group.closed(id.server);
        if !route.queue.is_empty() {
            self.roomy.push(id.route);
        }
    }

    /// How many connections there are, for a log line of one that has this route and server.
    #[must_use]
    pub fn counts(&self, route: Option<u32>, server: Option<u32>) -> Counts {
        let route = route.and_then(|place| self.fleet.route(place));
        let member = route.zip(server).and_then(|(route, server)| route.group.member(server));
        Counts {
            process: self.sessions + self.redirects + self.admins,
            frontend: self.sessions,
            route: route.map_or(0, |route| route.open),
            server: member.map_or(0, |member| member.open().into()),
            ahead: 0,
        }
    }
}
