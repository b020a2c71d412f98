//! Letting clients in: not more than there are fds for, and not in the way of those who are in.
use std::time::Duration;

use rustix::io::Errno;

use super::EventLoop;
use crate::access_log::Level;
use crate::context::Timer;
use crate::net::Key;
use crate::session::Session;

/// Clients that one listener lets in in one turn.
const TURN: usize = 64;
/// How long accepting pauses when the kernel has run short.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether clients are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// As they come.
    Freely,
    /// As others leave, until the backlog was empty once: there are as many as there may be.
    AsOthersLeave,
    /// Not before a timer comes up: the kernel has run short.
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
        self.accepting != Accepting::Paused
            && self.context.sessions < self.context.capacity
            && self.listeners.iter().any(|(_, listener)| listener.is_readable())
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
            if self.context.sessions >= self.context.capacity {
                self.note_full();
                break;
            }
            match listener.accept() {
                Ok(Some(accepted)) => {
                    self.context.process.accepted += 1;
                    self.context.sessions += 1;
                    self.context.process.most_sessions = self.context.process.most_sessions.max(self.context.sessions);
                    let key = self.sessions.reserve();
                    let next = Session::accept(accepted, listener.bound, key, &mut self.context);
                    self.settle(key, next);
                }
                Ok(None) => {
                    self.accepting = Accepting::Freely;
                    break;
                }
                Err(error) => {
                    self.pause(error);
                    break;
                }
            }
        }
        self.listeners.put(key, listener);
    }

    /// Lets in who waits in the backlog of a listener that is about to be closed.
    pub(super) fn empty_backlog(&mut self, key: Key) {
        self.accept_from(key, usize::MAX);
    }

    fn note_full(&mut self) {
        if self.accepting == Accepting::AsOthersLeave {
            return;
        }
        self.accepting = Accepting::AsOthersLeave;
        let context = &mut self.context;
        context.process.accept_pauses += 1;
        let capacity = context.capacity;
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
            let words = format_args!("Accepting pauses: {}; clients wait in the backlog.", std::io::Error::from(error));
            context.log.say(context.now, Level::Warning, words);
        }
        self.accepting = Accepting::Paused;
    }

    pub(super) fn resume_accepting(&mut self) {
        if self.accepting == Accepting::Paused {
            self.accepting = Accepting::AsOthersLeave;
        }
    }
}
