//! Sleeps until an event comes or a deadline is due.
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};
use rustix::io;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::net::{self, Call, Token};
use crate::policy::time::Time;

/// The poll, and the timer that wakes it.
pub(super) struct Poller {
    poll: Poll,
    alarm: Alarm,
}

impl Poller {
    /// Watches nothing yet but its own timer.
    pub(super) fn new() -> std::io::Result<Poller> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry())?;
        Ok(Poller { poll, alarm })
    }

    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Sleeps until an event, until `due`, or until a signal.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn sleep(&mut self, events: &mut Events, due: Option<Time>, now: Time) -> std::io::Result<()> {
        let left = due.map(|due| due.since(now));
        let rings = due.is_some_and(|due| due > now && self.alarm.set(due, now).is_ok());
        self.poll(events, if rings { None } else { left }).map(|_| ())
    }

    /// Takes the events that are pending. Answers whether there are no more.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn look(&mut self, events: &mut Events) -> std::io::Result<bool> {
        while !self.poll(events, Some(Duration::ZERO))? {}
        Ok(events.iter().count() < events.capacity())
    }

    /// Answers whether the poll was not interrupted by a signal. If it was, no event was read, whatever has happened
    /// (signal(7): also after `SIGSTOP`, without any handler).
    fn poll(&mut self, events: &mut Events, most: Option<Duration>) -> std::io::Result<bool> {
        match net::ask(Call::Poll, || self.poll.poll(events, most)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Notes that the timer has woken the poll.
    pub(super) fn note_rung(&mut self) {
        self.alarm.note_rung();
    }
}

/// A timer that stays armed while the poll sleeps and wakes.
///
/// With a timeout of `epoll_wait` itself the kernel would arm a timer at every sleep and cancel it at every event, which
/// costs more than reading the event's bytes. Deadlines move later much more often than earlier, so this timer may
/// expire early, and is then armed anew.
struct Alarm {
    fd: OwnedFd,
    rings: Time,
}

impl Alarm {
    /// A timer that is not armed, registered with the poll.
    fn new(registry: &Registry) -> std::io::Result<Alarm> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // Edge-triggered: the next expiry is reported even if this one was not read.
        registry.register(&mut SourceFd(&fd.as_raw_fd()), Token::Alarm.into(), Interest::READABLE)?;
        Ok(Alarm { fd, rings: Time::NEVER })
    }

    /// Makes sure that it expires at `due`, which must be after `now`, or earlier.
    fn set(&mut self, due: Time, now: Time) -> io::Result<()> {
        if self.rings <= due {
            return Ok(());
        }
        let it_value = Timespec::try_from(due.since(now)).map_err(|_| io::Errno::INVAL)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        self.rings = due;
        Ok(())
    }

    /// Notes that it has expired.
    fn note_rung(&mut self) {
        self.rings = Time::NEVER;
    }
}
