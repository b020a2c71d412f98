//! The last changes of servers between up and down.
use std::collections::VecDeque;
use std::rc::Rc;

use crate::policy::time::Time;

/// The most changes that are kept.
const MAX_CHANGES: usize = 20;

/// A server went down or came up.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: Time,
    /// The name of its route.
    pub route: Rc<str>,
    /// The server's name.
    pub server: Box<str>,
    /// Whether the server came up; else it went down.
    pub is_up: bool,
    /// The result of the probe, or the change of the configuration, that caused this.
    pub why: Box<str>,
}

/// The last changes, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Changes(VecDeque<Change>);

impl Changes {
    /// Adds a change; the oldest may fall out.
    pub fn push(&mut self, change: Change) {
        if self.0.len() >= MAX_CHANGES {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    /// Every change that is kept, the latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Change> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a server that flaps for a year takes memory without bound.
    #[test]
    fn the_last_ones_are_kept() {
        let mut changes = Changes::default();
        for number in 0..100 {
            let at = Time::from_micros(number);
            changes.push(Change { at, route: "r".into(), server: "s".into(), is_up: true, why: "".into() });
        }
        let kept: Vec<u64> = changes.latest().map(|change| change.at.as_micros()).collect();
        assert_eq!(kept, (80..100).rev().collect::<Vec<_>>());
    }
}
