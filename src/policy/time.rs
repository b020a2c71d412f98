//! Time as policy sees it: microseconds since the service started, passed in by the event loop. The next process
//! continues this time.
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in whole microseconds since the service started. Never goes backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The start of the service.
    pub const ZERO: Time = Time(0);
    /// Later than every time that comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// `micros` microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if that is in the future.
    #[must_use]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The next whole multiple of `step` since the start, or this time if it is one. What is due at such times is due together, and wakes
    /// the loop once.
    #[must_use]
    pub fn rounded_up(self, step: Duration) -> Time {
        let step = u64::try_from(step.as_micros()).unwrap_or(u64::MAX);
        self.0.checked_next_multiple_of(step).map_or(Time::NEVER, Time)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Time> for Time {
    type Output = Duration;

    fn sub(self, rhs: Time) -> Duration {
        self.since(rhs)
    }
}

/// A wall-clock time in whole microseconds since the Unix epoch. The clock may be set at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> UnixTime {
        UnixTime(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The wall clock at [`Time::ZERO`], if it shows `self` at `now`.
    #[must_use]
    pub const fn at_zero(self, now: Time) -> UnixTime {
        UnixTime(self.0.saturating_sub(now.0))
    }

    /// Time since `earlier`; zero if that is in the future.
    #[must_use]
    pub const fn since(self, earlier: UnixTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Time> for UnixTime {
    type Output = UnixTime;

    /// The wall clock at a time, if it shows `self` at [`Time::ZERO`].
    fn add(self, rhs: Time) -> UnixTime {
        UnixTime(self.0.saturating_add(rhs.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Without this, what takes a while is logged as having taken none, and a clock set back as an age of 584,000 years.
    #[test]
    fn differences_are_exact_and_never_negative() {
        let (early, late) = (Time::from_micros(1_500_000), Time::from_micros(3_500_001));
        assert_eq!((late - early, early - late), (2 * SECOND + Duration::from_micros(1), Duration::ZERO));
        assert_eq!((early + 2 * SECOND, Time::NEVER + SECOND), (Time::from_micros(3_500_000), Time::NEVER));
        let (early, late) = (UnixTime::from_micros(1_500_000), UnixTime::from_micros(3_500_001));
        assert_eq!((late.since(early), early.since(late)), (2 * SECOND + Duration::from_micros(1), Duration::ZERO));
    }

    /// Without this, each of many timers wakes the loop on its own, or comes up early.
    #[test]
    fn what_is_due_at_about_the_same_time_is_due_together() {
        let step = Duration::from_millis(10);
        let rounded =
            [0, 1, 9_999, 10_000, 10_001].map(|micros| Time::from_micros(micros).rounded_up(step).as_micros());
        assert_eq!(rounded, [0, 10_000, 10_000, 10_000, 20_000]);
        assert_eq!(Time::NEVER.rounded_up(step), Time::NEVER);
    }

    /// Without this, every time in the log and in the metrics is wrong by the age of the service.
    #[test]
    fn the_wall_clock_is_that_of_the_start_and_the_time_since() {
        let (wall, now) = (UnixTime::from_micros(1_795_374_911_406_357), Time::from_micros(11_406_000));
        let zero = wall.at_zero(now);
        assert_eq!((zero.as_micros(), zero + now), (1_795_374_900_000_357, wall));
        assert!((UnixTime::from_micros(2_500_000).as_secs_f64() - 2.5).abs() < 1e-9);
        assert_eq!(UnixTime::from_micros(1).at_zero(now), UnixTime::from_micros(0), "before 1970");
    }
}
