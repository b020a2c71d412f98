//! A server of a route.
use std::cmp::Ordering;

use super::update::Rise;
use super::{Mode, Override, ServerIndex};
use crate::config::{HealthCheck, Server};
use crate::policy::health::{Health, Spread};

/// A server of a route, with the state that a pick needs.
#[derive(Debug)]
pub struct Member {
    pub(super) server: Server,
    pub(super) health: Health,
    pub(super) open: u32,
    /// What an operator has set.
    pub(super) set: Override,
    /// Whether it left the file. Connections may still be open.
    pub(super) retired: bool,
}

impl Member {
    pub(super) fn new(server: &Server, check: &HealthCheck, spread: &mut Spread) -> Member {
        let health = Health::new(check, spread.now(), spread.first_probe(check.interval));
        Member { server: server.clone(), health, open: 0, set: Override::default(), retired: false }
    }

    /// Takes over a changed entry of the same name. Answers why that brings the server up, if it does.
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

    /// The server's configuration.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server's health.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Open connections, from the start of their connect.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Whether it left the file.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether it is up, in the file, of a weight above 0, and kept in service by the operator.
    #[must_use]
    pub fn takes_connections(&self) -> bool {
        self.health.is_up() && self.is_wanted()
    }

    /// Whether it is in the file, of a weight above 0, and kept in service by the operator.
    pub(super) fn is_wanted(&self) -> bool {
        self.weight() > 0 && self.set.mode == Mode::Ready && !self.retired
    }

    /// Whether the member with index `i` takes connections while `backup` stands in for the others.
    pub(super) fn is_in_service(&self, i: ServerIndex, backup: Option<ServerIndex>) -> bool {
        match backup {
            None => self.takes_connections() && !self.server.backup,
            Some(backup) => i == backup,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        !self.has_room_at(self.open)
    }

    /// Whether it has room for one more beside `open` connections.
    pub(super) fn has_room_at(&self, open: u32) -> bool {
        self.server.max_connections.is_none_or(|max| open < max)
    }
}

/// Connections in proportion to weight.
#[derive(Clone, Copy)]
pub(super) struct Load {
    open: u64,
    weight: u64,
}

impl Load {
    pub(super) fn new(open: u32, weight: u32) -> Load {
        Load { open: open.into(), weight: weight.into() }
    }

    /// Compares the quotients by cross multiplication.
    pub(super) fn compare(&self, other: &Load) -> Ordering {
        (self.open * other.weight).cmp(&(other.open * self.weight))
    }
}
