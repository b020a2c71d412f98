//! The line of sessions that move bulk: which one goes on next, and how many bytes it moves.
use std::collections::VecDeque;
use std::time::Duration;

use super::time::Time;

/// Bytes that one direction moves before another session goes on.
const PORTION: usize = 512 * 1024;
/// The same while only sessions that move bulk are active; larger portions are cheaper then.
const PORTION_ALONE: usize = 8 * 1024 * 1024;
/// How long a session counts as active after it moved a byte.
const MEMORY: Duration = Duration::from_millis(20);

/// The sessions that move bulk and can go on, in order. One of them goes on between two polls, so that another session
/// waits for at most one portion.
#[derive(Debug)]
pub struct Line<K> {
    waiting: VecDeque<K>,
    /// When a session that does not move bulk was last active.
    spoken: Time,
}

impl<K> Line<K> {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Line<K> {
        Line { waiting: VecDeque::new(), spoken: Time::ZERO }
    }

    /// Adds a session at the end. It must not be in the line yet.
    pub fn stand(&mut self, key: K) {
        self.waiting.push_back(key);
    }

    /// Takes the first session out.
    pub fn pop(&mut self) -> Option<K> {
        self.waiting.pop_front()
    }

    /// How many stand in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the line is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes activity of a session that does not move bulk.
    pub fn note_spoken(&mut self, now: Time) {
        self.spoken = now;
    }

    /// Bytes that one direction may move now.
    #[must_use]
    pub fn portion(&self, now: Time) -> usize {
        if now.since(self.spoken) > MEMORY { PORTION_ALONE } else { PORTION }
    }
}

impl<K> Default for Line<K> {
    fn default() -> Line<K> {
        Line::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_micros(1000 * millis)
    }

    /// Without this, one transfer keeps the loop while others wait.
    #[test]
    fn each_goes_on_in_its_turn() {
        let mut line = Line::new();
        assert!(line.is_empty());
        for key in ['a', 'b', 'c'] {
            line.stand(key);
        }
        assert!(!line.is_empty(), "the loop would sleep while they wait");
        let mut went = String::new();
        for _ in 0..7 {
            let key = line.pop().unwrap();
            went.push(key);
            line.stand(key);
        }
        assert_eq!(went, "abcabca");
    }

    /// Without this, a small message waits for megabytes of others, or a lone transfer is slowed by small portions.
    #[test]
    fn portions_are_small_while_somebody_speaks() {
        let mut line = Line::<char>::new();
        line.note_spoken(at(100));
        assert_eq!([100, 120, 121].map(|millis| line.portion(at(millis)) >> 10), [512, 512, 8192], "KiB");
        line.note_spoken(at(500));
        assert_eq!(line.portion(at(510)), PORTION);
    }
}
