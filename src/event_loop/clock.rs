//! Time: the one place that reads the clocks.
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::policy::time::{Time, UnixTime};

/// Where time comes from.
pub trait TimeSource {
    /// Microseconds on a clock that never goes backwards.
    fn monotonic(&self) -> u64;
    /// The wall clock.
    fn wall(&self) -> UnixTime;
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
    fn wall(&self) -> UnixTime {
        UnixTime::from_micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64)
    }
}

/// What time it is, counted from the start.
pub(super) struct Clock {
    source: Box<dyn TimeSource>,
    /// Microseconds on the monotonic clock at [`Time::ZERO`].
    origin: u64,
    /// The second in which the wall clock was looked at last.
    looked: Option<u64>,
    /// When [`Time::ZERO`] was, by the wall clock as it is set now.
    epoch: UnixTime,
    /// When the service started, by the wall clock as it was set then.
    started: UnixTime,
    /// The same for this process.
    process_started: UnixTime,
}

/// Where time begins, for the next process: its moments are those of this one.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Beginning {
    origin: u64,
    started: UnixTime,
}

impl Clock {
    /// Counts from now, or goes on with the time of another process. The monotonic clock is the machine's own, so a moment
    /// that has not come yet is not from this boot.
    pub(super) fn new(source: Box<dyn TimeSource>, before: Option<Beginning>) -> Clock {
        let (monotonic, wall) = (source.monotonic(), source.wall());
        let now = Beginning { origin: monotonic, started: wall };
        let Beginning { origin, started } = before.filter(|before| before.origin <= monotonic).unwrap_or(now);
        let epoch = wall.at_zero(Time::from_micros(monotonic - origin));
        Clock { source, origin, looked: None, epoch, started, process_started: wall }
    }

    pub(super) fn beginning(&self) -> Beginning {
        Beginning { origin: self.origin, started: self.started }
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
        self.epoch = self.source.wall().at_zero(now);
        true
    }

    /// When [`Time::ZERO`] was, by the wall clock as it is set now.
    pub(super) fn epoch(&self) -> UnixTime {
        self.epoch
    }

    /// When the service started, by the wall clock as it was set then.
    pub(super) fn started(&self) -> UnixTime {
        self.started
    }

    /// The same for the start of this process.
    pub(super) fn process_started(&self) -> UnixTime {
        self.process_started
    }
}
