//! The deadlines of everything that waits, earliest first.
//!
//! Entries are never removed or moved, only outlived. An owner keeps a [`Deadline`], the earliest entry it has here;
//! a deadline that moves later leaves that entry where it is, and when the entry comes up the owner arms again for
//! the moment that counts by then. A connection that moves bytes thus touches no timer at all.
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::time::Time;

/// Below this many entries the memory is not worth giving back.
const KEPT_CAPACITY: usize = 1024;

/// A queue of moments, each with the key of whoever waits for it.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Entry<K>>,
}

impl<K: Copy> Timers<K> {
    /// Without an entry.
    #[must_use]
    pub const fn new() -> Timers<K> {
        Timers { heap: BinaryHeap::new() }
    }

    /// Adds an entry; most owners want [`Deadline::arm`] instead.
    pub fn push(&mut self, at: Time, key: K) {
        self.heap.push(Entry { at, key });
    }

    /// The moment of the earliest entry: how long the event loop may sleep.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the earliest entry out if its moment has come.
    pub fn pop_due(&mut self, now: Time) -> Option<(Time, K)> {
        if self.next()? > now {
            return None;
        }
        let entry = self.heap.pop()?;
        let capacity = self.heap.capacity();
        if capacity > KEPT_CAPACITY && self.heap.len() < capacity / 4 {
            self.heap.shrink_to(capacity / 2);
        }
        Some((entry.at, entry.key))
    }

    /// Entries, outlived ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<K: Copy> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers::new()
    }
}

/// An owner's side of [`Timers`]: when its earliest entry comes up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    armed: Time,
}

impl Deadline {
    /// Makes sure that an entry comes up at `at` or before. Costs nothing when there is one already.
    pub fn arm<K: Copy>(&mut self, timers: &mut Timers<K>, at: Time, key: K) {
        if at < self.armed {
            self.armed = at;
            timers.push(at, key);
        }
    }

    /// Whether the entry that came up for `at` is the one that counts; one that an earlier `arm` outran is not.
    /// Disarms: the owner now acts, or arms for the later moment that counts.
    pub fn fired(&mut self, at: Time) -> bool {
        let current = at == self.armed;
        if current {
            self.armed = Time::NEVER;
        }
        current
    }
}

impl Default for Deadline {
    fn default() -> Deadline {
        Deadline { armed: Time::NEVER }
    }
}

#[derive(Debug)]
struct Entry<K> {
    at: Time,
    key: K,
}

/// Reversed: the heap gives out its greatest entry, which has to be the earliest.
impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Entry<K>) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Entry<K>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Entry<K>) -> bool {
        self.at == other.at
    }
}

impl<K> Eq for Entry<K> {}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    /// Deadlines are served in order of time, and none before its time.
    #[test]
    fn entries_come_up_in_order_and_not_early() {
        let mut timers = Timers::new();
        for micros in [30, 10, 20] {
            timers.push(at(micros), micros);
        }
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(20)), Some((at(10), 10)));
        assert_eq!(timers.pop_due(at(20)), Some((at(20), 20)));
        assert_eq!(timers.pop_due(at(20)), None);
        assert_eq!(timers.next(), Some(at(30)));
    }

    /// A busy connection would fill the heap if moving its deadline later added entries.
    #[test]
    fn moving_a_deadline_later_adds_no_entry() {
        let mut timers = Timers::new();
        let mut deadline = Deadline::default();
        for micros in 100..10_000 {
            deadline.arm(&mut timers, at(micros), ());
        }
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.next(), Some(at(100)));
    }

    /// An outrun entry that acted would end a connection at a deadline it no longer has.
    #[test]
    fn an_outrun_entry_does_not_count() {
        let mut timers = Timers::new();
        let mut deadline = Deadline::default();
        deadline.arm(&mut timers, at(50), ());
        deadline.arm(&mut timers, at(10), ());
        assert!(deadline.fired(timers.pop_due(at(60)).unwrap().0));
        deadline.arm(&mut timers, at(80), ());
        assert!(!deadline.fired(timers.pop_due(at(60)).unwrap().0));
        assert_eq!(timers.next(), Some(at(80)));
    }

    /// Owners whose deadline moves both ways act at that deadline exactly: never early, never missed.
    #[test]
    fn every_owner_acts_when_its_last_deadline_says() {
        let mut random = Random::new(7);
        let mut timers = Timers::new();
        let mut owners = [(Deadline::default(), Time::NEVER); 50];
        for now in (0..100_000).map(at) {
            let key = random.below(50) as usize;
            let wanted = now + std::time::Duration::from_micros(1 + random.below(500));
            owners[key].1 = wanted;
            owners[key].0.arm(&mut timers, wanted, key);
            while let Some((popped, key)) = timers.pop_due(now) {
                let (deadline, wanted) = &mut owners[key];
                if !deadline.fired(popped) {
                    continue;
                }
                if *wanted <= now {
                    assert_eq!(*wanted, now);
                    *wanted = Time::NEVER;
                } else if *wanted < Time::NEVER {
                    deadline.arm(&mut timers, *wanted, key);
                }
            }
            assert!(owners.iter().all(|(_, wanted)| *wanted > now), "missed at {now:?}");
        }
        assert!(timers.len() < 1000, "{} entries for 50 owners", timers.len());
    }

    /// The memory of a peak would stay with the process for good.
    #[test]
    fn memory_shrinks_after_a_peak() {
        let mut timers = Timers::new();
        for micros in 0..1_000_000 {
            timers.push(at(micros), ());
        }
        while timers.pop_due(at(999_900)).is_some() {}
        assert!(timers.heap.capacity() <= 2 * KEPT_CAPACITY, "{}", timers.heap.capacity());
        assert_eq!(timers.len(), 99);
    }
}
