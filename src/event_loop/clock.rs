//! Time: the one place that reads the clocks.
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::policy::time::Time;

/// Where time comes from.
pub trait TimeSource {
    /// Microseconds on a clock that never goes backwards.
    fn monotonic(&self) -> u64;
    /// Microseconds since the Unix epoch, on a clock that may be set at any time.
    fn wall(&self) -> u64;
}

/// The clocks of the machine.
pub struct MachineTime;

impl TimeSource for MachineTime {
    /// An `Instant` would do as well, but not count microseconds as cheaply.
    fn monotonic(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
    }

    #[expect(clippy::disallowed_methods, reason = "the event loop is where time comes from")]
    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
    }
}

/// What time it is, counted from the start.
pub(super) struct Clock {
    source: Box<dyn TimeSource>,
    /// Microseconds on the monotonic clock at the start.
    origin: u64,
    /// The second in which the wall clock was looked at last.
    looked: Option<u64>,
    /// Microseconds from the Unix epoch to [`Time::ZERO`], by the wall clock as it is set now.
    epoch: u64,
    /// The same at the start.
    started: u64,
}

impl Clock {
    pub(super) fn new(source: Box<dyn TimeSource>) -> Clock {
        let (origin, started) = (source.monotonic(), source.wall());
        Clock { source, origin, looked: None, epoch: started, started }
    }

    pub(super) fn now(&self) -> Time {
        Time::from_micros(self.source.monotonic().saturating_sub(self.origin))
    }

    /// Looks at the wall clock once a second: answers whether it did.
    pub(super) fn look(&mut self, now: Time) -> bool {
        let second = now.as_micros() / 1_000_000;
        if self.looked == Some(second) {
            return false;
        }
        self.looked = Some(second);
        self.epoch = self.source.wall().saturating_sub(now.as_micros());
        true
    }

    /// Microseconds from the Unix epoch to [`Time::ZERO`], by the wall clock as it is set now.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Microseconds from the Unix epoch to the start, by the wall clock as it was set then.
    pub(super) fn started(&self) -> u64 {
        self.started
    }
}
