//! Letting clients in: not more than there are fds for, and not in the way of those who are in.
use std::time::Duration;

use rustix::io::Errno;

use super::EventLoop;
use crate::access_log::Level;
use crate::context::Timer;
use crate::net::{self, Accepted, BACKLOG, Key, Listener, Role};

/// Clients that one listener lets in in one turn.
const TURN: usize = 64;
/// How long accepting pauses when the kernel has run short.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the kernel has what it takes to let clients in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// As far as is known.
    Freely,
    /// It had run short a moment ago, and no backlog was empty since: what it runs short of now belongs to that.
    Again,
    /// It has run short; accepting goes on when a timer comes up.
    Paused,
}

impl EventLoop {
    pub(super) fn note_listener(&mut self, key: Key) {
        if let Some(mut listener) = self.listeners.take(key) {
            listener.note_readable();
            self.listeners.put(key, listener);
        }
    }

    /// Whether a client could be let in at once.
    pub(super) fn can_accept(&self) -> bool {
        let can_accept = |listener: &Listener| listener.is_readable() && self.has_room(listener.role);
        self.accepting != Accepting::Paused && self.listeners.iter().any(|(_, listener)| can_accept(listener))
    }

    /// Whether there may be one more client of a kind.
    fn has_room(&self, role: Role) -> bool {
        match role {
            Role::Https => self.sessions.has_room(),
            Role::Http => self.redirects.has_room(self.context.now),
            Role::Admin => true,
        }
    }

    /// Lets clients in, so many a turn.
    pub(super) fn accept(&mut self) {
        if self.accepting == Accepting::Paused {
            return;
        }
        let ready: Vec<Key> =
            self.listeners.iter().filter(|(_, listener)| listener.is_readable()).map(|(key, _)| key).collect();
        for key in ready {
            self.accept_from(key, TURN);
        }
    }

    fn accept_from(&mut self, key: Key, most: usize) {
        let Some(mut listener) = self.listeners.take(key) else { return };
        for _ in 0..most {
            if !self.has_room(listener.role) {
                break;
            }
            match listener.accept() {
                Ok(Some(accepted)) => self.begin_client(accepted, &listener),
                Ok(None) => {
                    self.accepting = Accepting::Freely;
                    self.is_full &= listener.role != Role::Https;
                    break;
                }
                Err(error) => {
                    self.pause(error);
                    break;
                }
            }
        }
        // The last client of a turn may have taken the last of the room: then nobody asks again in this one.
        if listener.is_readable() && !self.has_room(listener.role) {
            self.note_full(listener.role);
        }
        self.listeners.put(key, listener);
    }

    /// Begins with a client, as its listener's role wants.
    fn begin_client(&mut self, accepted: Accepted, listener: &Listener) {
        match listener.role {
            Role::Https => {
                self.sessions.begin(accepted, listener.bound, &mut self.context);
            }
            Role::Http => self.redirects.begin(accepted, &mut self.context),
            Role::Admin => {
                let asked = self.admins.begin(accepted, &mut self.context);
                self.answer_admin(asked);
            }
        }
    }

    /// Lets in who waits in the backlog of a listener that is about to be closed: no more than it holds, or a flood of
    /// clients would keep it open.
    pub(super) fn empty_backlog(&mut self, key: Key) {
        self.accept_from(key, BACKLOG.into());
    }

    /// There may be no more clients of a kind for now. Of TLS clients the log says so, once until the backlog was empty.
    fn note_full(&mut self, role: Role) {
        let context = &mut self.context;
        if role == Role::Http {
            self.redirects.await_room(context);
        }
        if role != Role::Https || self.is_full {
            return;
        }
        self.is_full = true;
        context.process.accept_pauses += 1;
        let capacity = self.sessions.shared.capacity;
        let limit =
            if capacity < context.config.limits.connections.into() { "the fd limit" } else { "limits.connections" };
        let words = format_args!(
            "Accepting pauses: {capacity} connections are all that {limit} allows; more wait in the backlog."
        );
        context.log.say(context.now, Level::Warning, words);
    }

    fn pause(&mut self, error: Errno) {
        let context = &mut self.context;
        context.timers.push(context.now + PAUSE, Timer::Accept);
        if self.accepting == Accepting::Freely {
            context.process.accept_pauses += 1;
            let words = format_args!("Accepting pauses: {}; clients wait in the backlog.", net::words(error));
            context.log.say(context.now, Level::Warning, words);
        }
        self.accepting = Accepting::Paused;
    }

    pub(super) fn resume_accepting(&mut self) {
        if self.accepting == Accepting::Paused {
            self.accepting = Accepting::Again;
        }
    }
}
