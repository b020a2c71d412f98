//! Deadlines, the earliest first.
//!
//! Entries are never removed or moved. An owner keeps a [`Deadline`]: the earliest entry that it has here. A deadline
//! that moves later leaves that entry in place; when the entry comes up, the owner arms again for the current deadline.
//! So a connection that moves bytes touches no timer.
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::time::Time;

/// Below this capacity, memory is not given back.
const KEPT_CAPACITY: usize = 1024;

/// A queue of times, each with the key of what is due.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Entry<K>>,
}

impl<K: Copy> Timers<K> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Timers<K> {
        Timers { heap: BinaryHeap::new() }
    }

    /// Adds an entry; most owners use [`Deadline::arm`] instead.
    pub fn push(&mut self, at: Time, key: K) {
        self.heap.push(Entry { at, key });
    }

    /// The time of the earliest entry, until which the event loop may sleep.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the earliest entry out if it is due.
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
}

impl<K: Copy> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers::new()
    }
}

/// An owner's side of [`Timers`]: the time of its earliest entry.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    armed: Time,
}

impl Deadline {
    /// Makes sure that an entry comes up at `at` or earlier. Free if there is one.
    pub fn arm<K: Copy>(&mut self, timers: &mut Timers<K>, at: Time, key: K) {
        if at < self.armed {
            self.armed = at;
            timers.push(at, key);
        }
    }

    /// Whether the entry that came up for `at` is the current one, and not a stale one that an earlier `arm` replaced.
    /// Disarms: the owner now acts, or arms again.
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

/// Deadlines of values in numbered slots, where one value follows another.
///
/// An entry belongs to the slot, and stays when its value goes: it serves the next value, whose deadline is hardly ever
/// earlier. So short-lived values do not touch the heap, and there are few more entries than values at once.
#[derive(Debug)]
pub struct SlotDeadlines<K> {
    timers: Timers<usize>,
    slots: Vec<(Deadline, K)>,
}

impl<K: Copy + Default> SlotDeadlines<K> {
    /// No deadlines.
    #[must_use]
    pub fn new() -> SlotDeadlines<K> {
        SlotDeadlines { timers: Timers::new(), slots: Vec::new() }
    }

    /// Makes sure that `key`, the current value of `slot`, comes up at `at` or earlier.
    pub fn arm(&mut self, slot: usize, key: K, at: Time) {
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, Default::default());
        }
        if let Some((deadline, current)) = self.slots.get_mut(slot) {
            *current = key;
            deadline.arm(&mut self.timers, at, slot);
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Takes a value that came up. It may be gone, or its deadline may be later; then it arms again.
    pub fn pop_due(&mut self, now: Time) -> Option<K> {
        while let Some((at, slot)) = self.timers.pop_due(now) {
            if let Some((deadline, key)) = self.slots.get_mut(slot)
                && deadline.fired(at)
            {
                return Some(*key);
            }
        }
        None
    }
}

impl<K: Copy + Default> Default for SlotDeadlines<K> {
    fn default() -> SlotDeadlines<K> {
        SlotDeadlines::new()
    }
}

#[derive(Debug)]
struct Entry<K> {
    at: Time,
    key: K,
}

/// Reversed, because the heap pops its greatest entry, which must be the earliest.
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
    use std::time::Duration;

    use super::super::random::Random;
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    /// Without this, deadlines are served out of order, or too early.
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

    /// Without this, a busy connection fills the heap by moving its deadline.
    #[test]
    fn moving_a_deadline_later_adds_no_entry() {
        let mut timers = Timers::new();
        let mut deadline = Deadline::default();
        for micros in 100..10_000 {
            deadline.arm(&mut timers, at(micros), ());
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.next(), Some(at(100)));
    }

    /// Without this, each byte of a slow hello adds an entry to the heap.
    #[test]
    fn arming_for_the_same_moment_again_adds_no_entry() {
        let mut timers = Timers::new();
        let mut deadline = Deadline::default();
        for _ in 0..1_000 {
            deadline.arm(&mut timers, at(100), ());
        }
        assert_eq!(timers.heap.len(), 1);
    }

    /// Without this, a connection ends at a deadline that was moved later.
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

    /// Without this, an owner whose deadline moves both ways acts too early or never.
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
        assert!(timers.heap.len() < 1000, "{} entries for 50 owners", timers.heap.len());
    }

    /// Without this, the process keeps the memory of a peak for good.
    #[test]
    fn memory_shrinks_after_a_peak() {
        let mut timers = Timers::new();
        for micros in 0..1_000_000 {
            timers.push(at(micros), ());
        }
        while timers.pop_due(at(999_900)).is_some() {}
        assert!(timers.heap.capacity() <= 2 * KEPT_CAPACITY, "{}", timers.heap.capacity());
        assert_eq!(timers.heap.len(), 99);
        // Few connections that come and go would have it allocate over and over.
        let mut timers = Timers::new();
        for micros in 0..KEPT_CAPACITY as u64 {
            timers.push(at(micros), ());
        }
        let before = timers.heap.capacity();
        while timers.pop_due(at(999_900)).is_some() {}
        assert_eq!((before, timers.heap.capacity()), (KEPT_CAPACITY, KEPT_CAPACITY));
    }

    /// Without this, each short connection leaves an entry in the heap until its idle timeout.
    #[test]
    fn values_that_follow_each_other_in_a_slot_share_an_entry() {
        let at = |second: u64| Time::ZERO + Duration::from_secs(second);
        let mut deadlines = SlotDeadlines::new();
        for key in 1..=1000_u64 {
            deadlines.arm(0, key, at(300 + key));
        }
        assert_eq!(deadlines.timers.heap.len(), 1);
        // The one in the slot comes up early, and arms again for its own deadline.
        assert_eq!(deadlines.next(), Some(at(301)));
        assert_eq!(deadlines.pop_due(at(301)), Some(1000));
        deadlines.arm(0, 1000, at(1300));
        assert_eq!(deadlines.pop_due(at(1299)), None);
        assert_eq!(deadlines.pop_due(at(1300)), Some(1000));
        assert_eq!(deadlines.next(), None);
    }

    /// Without this, an owner that gets a shorter timeout acts too late, or twice.
    #[test]
    fn an_earlier_deadline_outruns_the_slots_entry() {
        let at = |second: u64| Time::ZERO + Duration::from_secs(second);
        let mut deadlines = SlotDeadlines::new();
        deadlines.arm(3, 'a', at(300));
        deadlines.arm(3, 'a', at(30));
        assert_eq!(deadlines.pop_due(at(30)), Some('a'));
        assert_eq!(deadlines.pop_due(at(300)), None);
    }
}
