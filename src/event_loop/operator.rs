//! What an operator tells a running proxy: read the file again, finish, stop.
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

/// What the loop is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Letting clients in.
    Serving,
    /// Leaving everything to the next process when the turn is over.
    Leaving,
    /// Letting open connections finish.
    Draining,
    /// Leaving.
    Over,
}

/// Takes the signals that would else end the process. Until then, only a launcher that blocks them can keep one from doing
/// so; what it blocked comes through now.
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

/// What the operator has told the process to do: by signals, and by the configuration file.
pub(super) struct Operator {
    /// The configuration's file.
    pub(super) path: PathBuf,
    /// The text of the configuration in force.
    pub(super) text: Arc<str>,
    signals: Box<dyn SignalSource>,
    /// The file that is being read again.
    pub(super) reloads: Reloads,
    phase: Phase,
}

/// Where signals come from.
pub trait SignalSource: Source {
    /// The numbers of those that came since this was asked last.
    fn take(&mut self) -> Vec<i32>;
}

/// None ever come.
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
    /// Takes signals from `signals`, which the poll is to watch.
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

    /// Whether new clients are let in.
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
            Phase::Draining => self.sessions.len() == 0 && self.redirects.len() == 0,
            Phase::Over => true,
        }
    }

    pub(super) fn obey(&mut self) {
        for signal in self.operator.signals.take() {
            match (signal, self.operator.phase) {
                (_, Phase::Over) => {}
                (SIGHUP, Phase::Serving) => reload::begin(self),
                (SIGTERM, Phase::Serving) if self.manager.keeps_fds() => self.operator.phase = Phase::Leaving,
                (SIGTERM | SIGUSR1, Phase::Serving) => self.drain(),
                (SIGTERM | SIGUSR1 | SIGINT, _) => self.stop(),
                (SIGHUP, Phase::Draining) => EventLoop::decline(signal, "as this drains already"),
                _ => EventLoop::decline(signal, "which asks for nothing here"),
            }
        }
    }

    /// Says that a signal changes nothing: some of them stop or reload other programs.
    fn decline(signal: i32, why: &str) {
        let name = signal_name(signal).unwrap_or("a signal");
        let words = format_args!(
            "{name} changes nothing, {why}; SIGHUP reloads, SIGUSR1 or SIGTERM drains, SIGINT stops at once."
        );
        log::warn!("{words}");
    }

    /// The turn is over, so that nothing is between two states: leaves everything to the next process where that is wanted,
    /// and drains where it cannot be done.
    pub(super) fn end_turn(&mut self) {
        if self.operator.phase == Phase::Leaving {
            if handover::hand_over(self) {
                self.operator.phase = Phase::Over;
            } else {
                self.drain();
            }
        }
    }

    /// Stops accepting clients, and gives open connections `timeouts.drain` to finish.
    pub(super) fn drain(&mut self) {
        self.operator.phase = Phase::Draining;
        let timeout = self.context.config.timeouts.drain;
        self.context.timers.push(self.context.now + timeout, Timer::Drain);
        self.close_unwanted(None);
        let count = config::count(self.sessions.len() as usize, "connection");
        log::info!("Draining: {count} may finish within {timeout:?}.");
        self.manager.stopping(timeout, &self.context);
    }

    /// The drain is over: its time has come up, or there is nobody left.
    pub(super) fn end_drain(&mut self) {
        if self.operator.phase == Phase::Draining {
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

    /// Closes the listeners that `config` does not name; without `config`, all but those of the admin endpoints. Clients in the
    /// backlog are accepted first, because closing would send them RST. A socket that the service manager keeps is closed at once:
    /// its backlog waits for the next process.
    pub(super) fn close_unwanted(&mut self, config: Option<&Config>) {
        for Unwanted { key, is_inherited } in self.door.listeners.unwanted(config) {
            if config.is_some() || !is_inherited {
                self.accept_from(key, MAX_AT_CLOSE);
            }
            self.door.listeners.close(key, &self.context.registry);
        }
    }

    /// Gives clients and pipes what the fd limit holds.
    pub(super) fn share_out_fds(&mut self, shares: Shares) {
        self.sessions.shared.capacity = shares.connections;
        self.sessions.shared.pipes.allow(shares.pipes as usize);
    }
}
