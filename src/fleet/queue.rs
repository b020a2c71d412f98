//! Waiting until a server has room: first come, first served.
use std::collections::VecDeque;

use super::{Fleet, RouteId};
use crate::net::Key;

/// The sessions of a route that wait until a server has room.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Key>,
    most: usize,
}

impl Queue {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Goes on from what another process counted.
    pub(super) fn remember(&mut self, most: usize) {
        self.most = self.most.max(most);
    }

    /// The highest number of sessions that waited at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }
}

impl Fleet {
    /// Has a session wait until a server of its route has room; how many are ahead of it.
    pub fn wait(&mut self, id: RouteId, key: Key) -> u64 {
        let Some(Queue { waiting, most }) = self.route_mut(id).map(|route| &mut route.queue) else { return 0 };
        let ahead = waiting.len();
        waiting.push_back(key);
        *most = (*most).max(waiting.len());
        ahead as u64
    }

    /// Has a session wait no longer.
    pub fn quit(&mut self, id: RouteId, key: Key) {
        let Some(queue) = self.route_mut(id).map(|route| &mut route.queue) else { return };
        if let Some(place) = queue.waiting.iter().position(|waiting| *waiting == key) {
            queue.waiting.remove(place);
        }
    }

    /// The session that has waited longest where a server has room now; it waits no longer.
    pub fn next_with_room(&mut self) -> Option<Key> {
        while let Some(id) = self.roomy.last().copied() {
            if let Some(route) = self.route_mut(id)
                && !route.group.is_full()
                && let Some(key) = route.queue.waiting.pop_front()
            {
                return Some(key);
            }
            self.roomy.pop();
        }
        None
    }

    /// Notes that a server of a route may have got room, come up or gone down.
    pub(super) fn note_room(&mut self, id: RouteId) {
        if self.route(id).is_some_and(|route| !route.queue.is_empty()) {
            self.roomy.push(id);
        }
    }
}
