//! Wakes the poll when something is due.
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::io;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::net::Token;
use crate::policy::time::Time;

/// A timer that stays set while the poll sleeps and wakes.
///
/// A timeout for the poll itself would have the kernel set a timer at every sleep and take it back at every event, which
/// costs more than reading the event's bytes. What is due moves later much more often than it moves earlier: this timer
/// may ring too soon, and is set anew then.
pub(super) struct Alarm {
    fd: OwnedFd,
    rings: Time,
}

impl Alarm {
    /// An alarm that is not set, under the poll.
    pub(super) fn new(registry: &Registry) -> std::io::Result<Alarm> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // Edge-triggered: nothing has to be read for the next ring to be reported.
        registry.register(&mut SourceFd(&fd.as_raw_fd()), Token::Alarm.into(), Interest::READABLE)?;
        Ok(Alarm { fd, rings: Time::NEVER })
    }

    /// Makes sure that it rings at `due`, which must be after `now`, or before.
    pub(super) fn set(&mut self, due: Time, now: Time) -> io::Result<()> {
        if self.rings <= due {
            return Ok(());
        }
        let it_value = Timespec::try_from(due.since(now)).map_err(|_| io::Errno::INVAL)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        self.rings = due;
        Ok(())
    }

    /// Notes that it rang.
    pub(super) fn note_rung(&mut self) {
        self.rings = Time::NEVER;
    }
}
