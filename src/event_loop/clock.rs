//! Time. The one place that reads the clocks.
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::policy::time::{Time, UnixTime};

/// A source of time.
pub trait TimeSource {
    /// Microseconds on a clock that never goes backwards.
    fn monotonic(&self) -> u64;
    /// The wall clock.
    fn wall(&self) -> UnixTime;
}

/// The clocks of this machine.
pub struct MachineTime;

impl TimeSource for MachineTime {
    /// Cheaper than `Instant`, which does not give microseconds.
    fn monotonic(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
    }

    #[expect(clippy::disallowed_methods, reason = "the event loop is where time comes from")]
    fn wall(&self) -> UnixTime {
        UnixTime::from_micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64)
    }
}

/// The current time, counted from the start of the service.
pub(super) struct Clock {
    source: Box<dyn TimeSource>,
    /// The monotonic clock at [`Time::ZERO`], in microseconds.
    origin: u64,
    /// The second in which the wall clock was last read.
    looked: Option<u64>,
    /// The wall-clock time of [`Time::ZERO`], as the clock is set now.
    epoch: UnixTime,
    /// When the service started, as the wall clock was set then.
    started: UnixTime,
    /// When this process started, as the wall clock was set then.
    process_started: UnixTime,
}

/// The origin of time for the next process, whose [`Time`]s continue this one's.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Beginning {
    origin: u64,
    started: UnixTime,
}

impl Clock {
    /// Counts from now, or continues the time of the previous process. The monotonic clock is the machine's, so an
    /// origin in the future is from another boot, and is ignored.
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

    /// Reads the wall clock once a second. Answers whether it did.
    pub(super) fn look(&mut self, now: Time) -> bool {
        let second = now.as_micros() / 1_000_000;
        if self.looked == Some(second) {
            return false;
        }
        self.looked = Some(second);
        self.epoch = self.source.wall().at_zero(now);
        true
    }

    /// The wall-clock time of [`Time::ZERO`], as the clock is set now.
    pub(super) fn epoch(&self) -> UnixTime {
        self.epoch
    }

    /// When the service started, as the wall clock was set then.
    pub(super) fn started(&self) -> UnixTime {
        self.started
    }

    /// When this process started, as the wall clock was set then.
    pub(super) fn process_started(&self) -> UnixTime {
        self.process_started
    }
}
