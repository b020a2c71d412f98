//! The one place that reads the clock.
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::policy::time::Time;

/// Both clocks of the machine.
pub(super) struct Clock {
    started: Instant,
    /// The second in which the wall clock was looked at last.
    looked: Option<u64>,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the event loop is where time comes from")]
    pub(super) fn start() -> Clock {
        Clock { started: Instant::now(), looked: None }
    }

    pub(super) fn now(&self) -> Time {
        Time::from_micros(self.started.elapsed().as_micros() as u64)
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
