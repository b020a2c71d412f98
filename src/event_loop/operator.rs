//! What an operator tells a running process: reload, drain, stop.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry};
use nix::sys::signal::SigSet;
use signal_hook::consts::signal::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::signal_name;
use signal_hook_mio::v1_0::Signals;

use super::door::MAX_AT_CLOSE;
use super::listeners::Unwanted;
use super::reload::{self, Reloads};
use super::{EventLoop, handover};
use crate::config::{self, Config};
use crate::context::Timer;
use crate::net::Token;
use crate::policy::fds::Shares;
use crate::policy::time::Time;

/// How long a drain that an operator orders over the control socket takes at least. The process that a signal drains is
/// to end; this one is also to be seen by what asks /health, such as a balancer in front.
const LEAST_DRAIN: Duration = Duration::from_secs(3);

/// What the loop is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It accepts clients.
    Serving,
    /// It hands everything over to the next process at the end of the turn.
    Leaving,
    /// An operator has drained it over the control socket: it lets open connections finish, and ends no earlier than this.
    Drained(Time),
    /// A signal ends it: it lets open connections finish.
    Draining,
    /// It has nothing more to do.
    Over,
}

/// Installs handlers for the signals that would otherwise end the process. A launcher can protect the time before this
/// only by blocking them; the blocked ones are delivered now.
///
/// # Errors
/// The kernel's, out of fds.
pub(super) fn signals() -> io::Result<Signals> {
    const WANTED: [i32; 7] = [SIGTERM, SIGUSR1, SIGINT, SIGHUP, SIGUSR2, SIGQUIT, SIGALRM];
    let signals = Signals::new(WANTED)?;
    let blocked: SigSet = WANTED.into_iter().filter_map(|signal| signal.try_into().ok()).collect();
    blocked.thread_unblock()?;
    Ok(signals)
}

/// What the operator has told the process, by signals and in the configuration file.
pub(super) struct Operator {
    /// The configuration file.
    pub(super) path: PathBuf,
    /// The text of the configuration in force.
    pub(super) text: Arc<str>,
    signals: Box<dyn SignalSource>,
    /// The reload under way.
    pub(super) reloads: Reloads,
    phase: Phase,
}

/// A source of signals.
pub trait SignalSource: Source {
    /// The numbers of the signals that came since the last call.
    fn take(&mut self) -> Vec<i32>;
}

/// A source without signals.
pub(super) struct NoSignals;

impl Source for NoSignals {
    fn register(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

impl SignalSource for NoSignals {
    fn take(&mut self) -> Vec<i32> {
        Vec::new()
    }
}

impl SignalSource for Signals {
    fn take(&mut self) -> Vec<i32> {
        self.pending().collect()
    }
}

impl Operator {
    /// Takes signals from `signals`, which is registered with the poll.
    ///
    /// # Errors
    /// The kernel's, out of watches.
    pub(super) fn new(
        path: &Path,
        text: Arc<str>,
        mut signals: Box<dyn SignalSource>,
        registry: &Registry,
    ) -> io::Result<Operator> {
        registry.register(&mut *signals, Token::Signals.into(), Interest::READABLE)?;
        let reloads = Reloads::new(registry)?;
        Ok(Operator { path: path.to_owned(), text, signals, reloads, phase: Phase::Serving })
    }

    /// Whether new clients are accepted.
    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }
}

impl EventLoop {
    /// Whether the process has nothing more to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.operator.phase {
            Phase::Serving | Phase::Leaving => false,
            Phase::Draining => self.is_empty(),
            Phase::Drained(least) => self.is_empty() && least <= self.context.now,
            Phase::Over => true,
        }
    }

    fn is_empty(&self) -> bool {
        self.sessions.len() == 0 && self.redirects.len() == 0
    }

    pub(super) fn obey(&mut self) {
        for signal in self.operator.signals.take() {
            match (signal, self.operator.phase) {
                (_, Phase::Over) => {}
                (SIGHUP, Phase::Serving) => reload::begin(self),
                (SIGTERM, Phase::Serving | Phase::Drained(_)) if self.manager.keeps_fds() => {
                    self.operator.phase = Phase::Leaving;
                }
                (SIGTERM | SIGUSR1, Phase::Serving) => self.drain(Phase::Draining),
                // The first signal; the connections keep what is left of their time.
                (SIGTERM | SIGUSR1, Phase::Drained(_)) => self.operator.phase = Phase::Draining,
                (SIGTERM | SIGUSR1 | SIGINT, _) => self.stop(),
                (SIGHUP, Phase::Draining | Phase::Drained(_)) => {
                    EventLoop::decline(signal, "as the process is draining");
                }
                _ => EventLoop::decline(signal, "as it has no meaning here"),
            }
        }
    }

    /// Logs that a signal changes nothing. Some of these signals stop or reload other programs.
    fn decline(signal: i32, why: &str) {
        let name = signal_name(signal).unwrap_or("a signal");
        log::warn!("{name} changes nothing, {why}; SIGHUP reloads, SIGUSR1 or SIGTERM drains, SIGINT stops at once.");
    }

    /// Ends the turn: no session is between two phases now, so everything can be handed over, if that was asked for. If
    /// it fails, the process drains.
    pub(super) fn end_turn(&mut self) {
        if self.operator.phase == Phase::Leaving {
            if handover::hand_over(self) {
                self.operator.phase = Phase::Over;
            } else {
                self.drain(Phase::Draining);
            }
        }
    }

    /// Drains at an operator's order, which does not end the process at once, though nothing is open.
    pub(super) fn drain_at_leisure(&mut self) {
        let least = self.context.now + LEAST_DRAIN;
        self.drain(Phase::Drained(least));
        self.context.timers.push(least, Timer::LeastDrain);
    }

    /// Stops accepting clients, and gives open connections `timeouts.drain` to finish.
    fn drain(&mut self, phase: Phase) {
        self.operator.phase = phase;
        let timeout = self.context.config.timeouts.drain;
        self.context.timers.push(self.context.now + timeout, Timer::Drain);
        self.close_unwanted(None);
        let count = config::count(self.sessions.len() as usize, "connection");
        log::info!("Draining: {count} may finish within {timeout:?}.");
        self.manager.stopping(timeout, &self.context);
    }

    /// Ends the drain: its time is over, or no client is left.
    pub(super) fn end_drain(&mut self) {
        if matches!(self.operator.phase, Phase::Draining | Phase::Drained(_)) {
            self.stop();
        }
    }

    /// Ends every connection.
    fn stop(&mut self) {
        if std::mem::replace(&mut self.operator.phase, Phase::Over) == Phase::Serving {
            self.manager.stopping(Duration::ZERO, &self.context);
        }
        self.context.log.keep_all();
        let count = self.sessions.end_all(&mut self.context);
        self.redirects.end_all(&mut self.context);
        self.admins.end_all(&mut self.context);
        self.control.close(&self.context.registry);
        let ended = match count {
            0 => "every connection had finished".to_owned(),
            _ => format!("ended {}", config::count(count, "open connection")),
        };
        log::info!("Stopped; {ended}.");
    }

    /// Closes the listeners that `config` does not have; without `config`, all but those of the admin endpoints.
    /// Clients in the backlog are accepted first, because close(2) would send them RST. A socket that systemd keeps is
    /// closed at once: its backlog waits for the next process.
    pub(super) fn close_unwanted(&mut self, config: Option<&Config>) {
        for Unwanted { key, is_inherited } in self.door.listeners.unwanted(config) {
            if config.is_some() || !is_inherited {
                self.accept_from(key, MAX_AT_CLOSE);
            }
            self.door.listeners.close(key, &self.context.registry);
        }
    }

    /// Applies the number of clients and pipes that the fd limit allows.
    pub(super) fn share_out_fds(&mut self, shares: Shares) {
        self.sessions.shared.capacity = shares.connections;
        self.sessions.shared.pipes.allow(shares.pipes as usize);
    }
}
