//! The queue for a server with room: first come, first served.
use std::collections::VecDeque;

use crate::net::Key;

/// The sessions of a route that wait until a server has room.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Key>,
    most: usize,
}

impl Queue {
    /// Sessions that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes over the previous process's maximum.
    pub(super) fn remember(&mut self, most: usize) {
        self.most = self.most.max(most);
    }

    /// The highest number of sessions that waited at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Adds a session at the end. Answers how many are ahead of it.
    pub(super) fn join(&mut self, key: Key) -> u64 {
        let ahead = self.waiting.len();
        self.waiting.push_back(key);
        self.most = self.most.max(self.waiting.len());
        ahead as u64
    }

    /// Takes a session out.
    pub(super) fn quit(&mut self, key: Key) {
        if let Some(place) = self.waiting.iter().position(|waiting| *waiting == key) {
            self.waiting.remove(place);
        }
    }

    /// Takes the session out that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Key> {
        self.waiting.pop_front()
    }
}
