//! A limit of events per second.
use std::collections::VecDeque;
use std::time::Duration;

use super::time::Time;

const SECOND: Duration = Duration::from_secs(1);

/// Allows at most `most` events within any second, whether or not it begins on the clock. An early one waits.
#[derive(Debug)]
pub struct PerSecond {
    most: usize,
    /// The times of the last second's events.
    taken: VecDeque<Time>,
}

impl PerSecond {
    /// At most `most` events, at least 1, in a second.
    #[must_use]
    pub fn new(most: usize) -> PerSecond {
        PerSecond { most, taken: VecDeque::with_capacity(most) }
    }

    /// The earliest time at which [`PerSecond::take`] succeeds; `now` or earlier: at once.
    #[must_use]
    pub fn ready_at(&self) -> Time {
        match self.taken.front() {
            Some(&first) if self.taken.len() >= self.most => first + SECOND,
            _ => Time::ZERO,
        }
    }

    /// Whether there was an event within the last second.
    #[must_use]
    pub fn is_recent(&self, now: Time) -> bool {
        self.taken.back().is_some_and(|last| *last + SECOND > now)
    }

    /// Counts an event, if it is allowed.
    pub fn take(&mut self, now: Time) -> bool {
        if self.ready_at() > now {
            return false;
        }
        if self.taken.len() >= self.most {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_micros(1000 * millis)
    }

    /// Without this, more than 128 redirects are answered in a second, or the rest is answered late.
    #[test]
    fn a_burst_waits_for_the_next_second() {
        let mut limit = PerSecond::new(128);
        assert_eq!((0..300).filter(|_| limit.take(at(1500))).count(), 128);
        assert_eq!(limit.ready_at(), at(2500));
        assert!(!limit.take(at(2499)));
        assert_eq!((0..300).filter(|_| limit.take(at(2500))).count(), 128);
    }

    /// Without this, two half seconds beside a full one let in twice as many.
    #[test]
    fn no_second_gets_more_and_no_one_waits_in_vain() {
        let mut random = Random::new(5);
        let mut limit = PerSecond::new(10);
        let mut taken: Vec<Time> = Vec::new();
        let mut refused = 0;
        for now in (0..60_000).step_by(7).map(at) {
            if random.below(4) > 0 {
                continue;
            }
            let last_second = taken.iter().filter(|then| now.since(**then) < SECOND).count();
            assert_eq!(limit.take(now), last_second < 10);
            if last_second < 10 {
                taken.push(now);
            } else {
                refused += 1;
            }
        }
        assert!(taken.len() > 400 && refused > 400);
    }
}
