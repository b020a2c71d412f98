//! The one place that reads the clock.
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::policy::time::Time;

/// Both clocks of the machine.
pub(super) struct Clock {
    /// Microseconds on the monotonic clock.
    started: u64,
    /// The second in which the wall clock was looked at last.
    looked: Option<u64>,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { started: monotonic(), looked: None }
    }

    pub(super) fn now(&self) -> Time {
        Time::from_micros(monotonic() - self.started)
    }

    /// Microseconds from the Unix epoch to [`Time::ZERO`], once a second: the wall clock may be set at any time.
    #[expect(clippy::disallowed_methods, reason = "the event loop is where time comes from")]
    pub(super) fn epoch(&mut self, now: Time) -> Option<u64> {
        let second = now.as_micros() / 1_000_000;
        if self.looked == Some(second) {
            return None;
        }
        self.looked = Some(second);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some((wall.as_micros() as u64).saturating_sub(now.as_micros()))
    }
}

/// Microseconds on the monotonic clock. An `Instant` would do as well, but not count them as cheaply.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}
