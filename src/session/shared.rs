//! What sessions share, and what a working session is lent.
use super::SCRATCH_ROOM;
use super::memory::Memory;
use super::names::NamePool;
use crate::config::PerSource;
use crate::context::Context;
use crate::net::{Key, Pipes, slot_number};
use crate::policy::line::Line;
use crate::policy::rate_limit::RateLimit;
use crate::policy::time::Time;
use crate::policy::timers::SlotDeadlines;

/// What all sessions share.
pub struct Shared {
    /// The most sessions at once: the limit of the configuration, or what the fd limit allows.
    pub capacity: u64,
    /// The limits on source addresses.
    pub sources: RateLimit,
    /// Open clients over these limits. They are refused once their hello has come.
    pub(super) over_limits: u64,
    /// The deadlines of sessions.
    pub deadlines: SlotDeadlines<Key>,
    /// The sessions that move bulk.
    pub line: Line<Key>,
    /// Pipes for bulk transfers.
    pub pipes: Pipes,
    /// Room for one read.
    pub(super) scratch: Vec<u8>,
    pub(super) unique_ids: UniqueIds,
    pub(super) names: NamePool,
    /// The memory of hellos that are not whole, or wait for a server.
    pub(super) memory: Memory,
}

/// What a session is lent while it works.
pub struct Lent<'a> {
    /// The session's key.
    pub key: Key,
    /// What all sessions share.
    pub shared: &'a mut Shared,
    /// What all actors need.
    pub context: &'a mut Context,
}

impl Shared {
    /// Shared state with these `limits`, whose ids begin with `process`.
    #[must_use]
    pub fn new(limits: Option<&PerSource>, process: u64) -> Shared {
        Shared {
            capacity: 0,
            sources: limits.map(RateLimit::new).unwrap_or_default(),
            over_limits: 0,
            deadlines: SlotDeadlines::new(),
            line: Line::new(),
            pipes: Pipes::new(0),
            scratch: vec![0; SCRATCH_ROOM],
            unique_ids: UniqueIds::new(process),
            names: NamePool::new(),
            memory: Memory::default(),
        }
    }

    /// Counts a client over its limits, until it has gone.
    pub(super) fn count_over_limits(&mut self) {
        self.over_limits += 1;
    }

    /// Uncounts a client over its limits that has gone.
    pub(super) fn uncount_over_limits(&mut self) {
        debug_assert!(self.over_limits > 0, "a refused client is counted off twice");
        self.over_limits = self.over_limits.saturating_sub(1);
    }

    /// Relays whose client takes nothing now.
    #[cfg(test)]
    pub fn stalled(&self) -> u32 {
        self.memory.stalled()
    }

    /// Open clients over their limits.
    #[cfg(test)]
    pub fn over_limits(&self) -> u64 {
        self.over_limits
    }
}

impl Lent<'_> {
    /// Makes sure that the session comes up at `until` or earlier.
    pub(super) fn arm(&mut self, until: Time) {
        self.shared.deadlines.arm(slot_number(self.key), self.key, until);
    }
}

/// Ids of 16 bytes: random ones of the process, then a count.
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

    /// The next id.
    pub fn draw(&mut self) -> [u8; 16] {
        self.next += 1;
        (u128::from(self.process) << 64 | u128::from(self.next)).to_be_bytes()
    }
}
