//! What sessions share among themselves, and what one of them is lent while it works.
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
    /// Sessions that there may be: the limit of the configuration, or what the fd limit holds.
    pub capacity: u64,
    /// What each source address may take.
    pub sources: RateLimit,
    /// Clients refused by `sources` that are still there: they are turned away once their hello has come.
    pub(super) refused: u64,
    /// When sessions are over, unless something happens.
    pub deadlines: SlotDeadlines<Key>,
    /// Those that move bulk.
    pub line: Line<Key>,
    /// Pipes for bulk transfers.
    pub pipes: Pipes,
    /// Room for one read.
    pub(super) scratch: Vec<u8>,
    pub(super) unique_ids: UniqueIds,
    pub(super) names: NamePool,
    /// For hellos that are waited for, or for whose server.
    pub(super) memory: Memory,
}

/// What a session is lent while it works.
pub struct Lent<'a> {
    /// Its key.
    pub key: Key,
    /// What all sessions share.
    pub shared: &'a mut Shared,
    /// What everything shares.
    pub context: &'a mut Context,
}

impl Shared {
    /// For sessions that keep to `limits`, and whose ids begin with `process`.
    #[must_use]
    pub fn new(limits: Option<&PerSource>, process: u64) -> Shared {
        Shared {
            capacity: 0,
            sources: limits.map(RateLimit::new).unwrap_or_default(),
            refused: 0,
            deadlines: SlotDeadlines::new(),
            line: Line::new(),
            pipes: Pipes::new(0),
            scratch: vec![0; SCRATCH_ROOM],
            unique_ids: UniqueIds::new(process),
            names: NamePool::new(),
            memory: Memory::default(),
        }
    }

    /// A client that was refused has gone.
    pub(super) fn let_refused_go(&mut self) {
        debug_assert!(self.refused > 0, "a refused client is counted off twice");
        self.refused = self.refused.saturating_sub(1);
    }

    /// Clients refused by `sources` that are still there.
    #[cfg(test)]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Lent<'_> {
    /// Makes sure that the session comes up at `until` or before.
    pub(super) fn arm(&mut self, until: Time) {
        self.shared.deadlines.arm(slot_number(self.key), self.key, until);
    }
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
