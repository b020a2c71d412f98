//! The door: whether a client may be accepted now, and on which listener.
use std::time::Duration;

use mio::Registry;
use rustix::io::Errno;

use super::fds::Fds;
use super::listeners::Listeners;
use crate::config::Config;
use crate::context::{Context, Timer};
use crate::net::{self, Accepted, BACKLOG, Key, Listener};
use crate::vocabulary::Role;

/// The most clients that one listener accepts in one turn.
pub(super) const MAX_A_TURN: usize = 64;
/// The most clients that are accepted from the backlog of a listener before it closes: as many as the backlog holds.
/// Without a bound a flood of clients would keep it open.
pub(super) const MAX_AT_CLOSE: usize = BACKLOG as usize;
/// How long accepting pauses when the kernel is out of fds or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the kernel has fds and memory for new clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// No shortage is known.
    Freely,
    /// A pause has just ended, and no backlog was empty since. A new shortage belongs to the same pause for the log.
    Again,
    /// The kernel is out of fds or memory. Accepting goes on when a timer comes up.
    Paused,
}

/// The listeners, and whether they accept.
pub(super) struct Door {
    pub(super) listeners: Listeners,
    pub(super) fds: Fds,
    accepting: Accepting,
    /// Whether the TLS clients are at their limit, and the log has said so.
    is_full: bool,
}

impl Door {
    pub(super) fn new(listeners: Listeners, fds: Fds) -> Door {
        Door { listeners, fds, accepting: Accepting::Freely, is_full: false }
    }

    /// Whether a client could be accepted at once. `has_room`: whether there may be one more client of a role.
    pub(super) fn can_accept(&self, has_room: impl Fn(Role) -> bool) -> bool {
        let can_accept = |listener: &Listener<Role>| listener.is_readable() && has_room(listener.role);
        let mut ready = self.listeners.ready().iter().filter_map(|key| self.listeners.get(*key));
        self.accepting != Accepting::Paused && ready.any(can_accept)
    }

    /// The listener with this number among those that may have a client in their backlog; `None` after the last, and
    /// while accepting pauses.
    pub(super) fn ready(&self, number: usize) -> Option<Key> {
        self.listeners.ready().get(number).copied().filter(|_| self.accepting != Accepting::Paused)
    }

    /// Accepts the next client of a listener; `None` if its backlog is empty or the kernel is out of fds or memory.
    pub(super) fn accept(&mut self, key: Key, context: &mut Context) -> Option<Accepted> {
        let listener = self.listeners.get_mut(key)?;
        match listener.accept() {
            Ok(Some(accepted)) => return Some(accepted),
            Ok(None) => {
                self.accepting = Accepting::Freely;
                self.is_full &= listener.role != Role::Https;
            }
            Err(error) => self.pause(error, context),
        }
        None
    }

    /// Notes that the TLS clients are at `capacity`. The log says so, once until the backlog was empty.
    pub(super) fn note_full(&mut self, capacity: u64, context: &mut Context) {
        if std::mem::replace(&mut self.is_full, true) {
            return;
        }
        context.process.accept_pauses += 1;
        let limit =
            if capacity < context.config.limits.connections.into() { "the fd limit" } else { "limits.connections" };
        log::warn!(
            "Accepting pauses: {capacity} connections are all that {limit} allows; further clients wait in the backlog."
        );
    }

    fn pause(&mut self, error: Errno, context: &mut Context) {
        context.timers.push(context.now + PAUSE, Timer::Accept);
        if self.accepting == Accepting::Freely {
            context.process.accept_pauses += 1;
            log::warn!("Accepting pauses: {}; clients wait in the backlog.", net::words(error));
        }
        self.accepting = Accepting::Paused;
    }

    /// Ends the pause.
    pub(super) fn resume(&mut self) {
        if self.accepting == Accepting::Paused {
            self.accepting = Accepting::Again;
        }
    }

    /// Opens the listeners of `config` that are not open yet.
    ///
    /// # Errors
    /// As [`Listeners::open`].
    pub(super) fn open(&mut self, config: &Config, registry: &Registry) -> Result<(), Vec<String>> {
        self.listeners.open(config, registry)
    }
}
