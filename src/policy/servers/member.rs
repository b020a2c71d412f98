//! A server of a route.
use std::cmp::Ordering;

use super::update::Rise;
use super::{Mode, Override, ServerIndex};
use crate::config::{HealthCheck, Server};
use crate::policy::health::{Health, Spread};

/// A server of a route, with what it takes to pick it.
#[derive(Debug)]
pub struct Member {
    pub(super) server: Server,
    pub(super) health: Health,
    pub(super) open: u32,
    /// What an operator has set.
    pub(super) set: Override,
    /// Gone from the file; the last of its connections may still be open.
    pub(super) retired: bool,
}

impl Member {
    pub(super) fn new(server: &Server, check: &HealthCheck, spread: &mut Spread) -> Member {
        let health = Health::new(check, spread.now(), spread.first_probe(check.interval));
        Member { server: server.clone(), health, open: 0, set: Override::default(), retired: false }
    }

    /// Takes over a changed entry of the same name; answers why that brings it up.
    pub(super) fn renew(&mut self, server: &Server, check: &HealthCheck, spread: &mut Spread) -> Option<Rise> {
        let first_probe = spread.first_probe(check.interval);
        let afresh = match (self.retired, self.server.address == server.address) {
            (true, _) => Some(Rise::Back),
            (false, false) => Some(Rise::Moved),
            (false, true) => None,
        };
        let restarted = afresh.filter(|_| self.health.restart(spread.now(), first_probe).is_some());
        let unchecked = self.health.adopt(spread.now(), check, first_probe).map(|_| Rise::Unchecked);
        self.server = server.clone();
        self.retired = false;
        restarted.or(unchecked)
    }

    /// The server as the file has it.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What its probes say.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Connections now, from the connect on.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Whether it left the file.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether it is up and in the file with a weight above 0, and no operator keeps connections away from it.
    #[must_use]
    pub fn takes_connections(&self) -> bool {
        self.health.is_up() && self.is_wanted()
    }

    /// Whether it is in the file with a weight above 0, and no operator keeps connections away from it.
    pub(super) fn is_wanted(&self) -> bool {
        self.weight() > 0 && self.set.mode == Mode::Ready && !self.retired
    }

    /// Whether it is its turn to take connections, being the member with index `i` while `backup` stands in for others.
    pub(super) fn is_in_service(&self, i: ServerIndex, backup: Option<ServerIndex>) -> bool {
        match backup {
            None => self.takes_connections() && !self.server.backup,
            Some(backup) => i == backup,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        !self.has_room_at(self.open)
    }

    /// Whether it would take another one beside `open` connections.
    pub(super) fn has_room_at(&self, open: u32) -> bool {
        self.server.max_connections.is_none_or(|max| open < max)
    }
}

/// Connections for a weight.
#[derive(Clone, Copy)]
pub(super) struct Load {
    open: u64,
    weight: u64,
}

impl Load {
    pub(super) fn new(open: u32, weight: u32) -> Load {
        Load { open: open.into(), weight: weight.into() }
    }

    /// Compares the quotients, multiplied out.
    pub(super) fn compare(&self, other: &Load) -> Ordering {
        (self.open * other.weight).cmp(&(other.open * self.weight))
    }
}
