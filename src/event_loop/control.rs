//! What an operator tells a running proxy: read the file again, finish, stop.
use std::rc::Rc;
use std::time::Duration;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};

use super::start::{in_file, spare_fd, spread};
use super::{EventLoop, listeners};
use crate::access_log::Level;
use crate::admin::Credentials;
use crate::config::{self, Config};
use crate::context::{Context, Timer};
use crate::net::Key;
use crate::probe;

/// What the loop is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Letting clients in.
    Serving,
    /// Letting those who are in finish.
    Draining,
    /// Leaving.
    Over,
}

impl EventLoop {
    pub(super) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Serving => false,
            Phase::Draining => self.context.sessions == 0 && self.redirects.len() == 0,
            Phase::Over => true,
        }
    }

    pub(super) fn signals(&mut self) {
        let pending: Vec<_> = self.signals.pending().collect();
        for signal in pending {
            match (signal, self.phase) {
                (SIGHUP, Phase::Serving) => self.reload(),
                (SIGTERM, Phase::Serving) => self.drain(),
                (SIGTERM | SIGINT, _) => self.stop(),
                _ => {}
            }
        }
    }

    /// Stops letting clients in, and gives those who are in their time.
    fn drain(&mut self) {
        self.phase = Phase::Draining;
        let timeout = self.context.config.timeouts.drain;
        self.context.timers.push(self.context.now + timeout, Timer::Drain);
        self.close_unwanted(None);
        let count = config::count(self.context.sessions as usize, "connection");
        let words = format_args!("Draining: {count} may finish within {timeout:?}.");
        self.context.log.notice(self.context.now, words);
        self.tell_stopping(timeout);
    }

    /// The drain is over: its time has come up, or there is nobody left.
    pub(super) fn end_drain(&mut self) {
        if self.phase == Phase::Draining {
            self.stop();
        }
    }

    /// Ends every connection.
    fn stop(&mut self) {
        if std::mem::replace(&mut self.phase, Phase::Over) == Phase::Serving {
            self.tell_stopping(Duration::ZERO);
        }
        let count = self.sessions.end_all(&mut self.context);
        self.redirects.end_all(&mut self.context);
        self.admins.end_all(&mut self.context);
        let ended = match count {
            0 => "every connection had finished".to_owned(),
            _ => format!("ended {}", config::count(count, "open connection")),
        };
        self.context.log.notice(self.context.now, format_args!("Stopped; {ended}."));
    }

    /// Reads the configuration again, and takes it over if it is good. If not, nothing changes.
    fn reload(&mut self) {
        self.service.reloading();
        // So that there is an fd to open the file with.
        self.spare = None;
        let read = config::load(&self.path).map_err(|errors| errors.iter().map(ToString::to_string).collect());
        let taken = read.and_then(|config| self.adopt(config).map_err(|errors| in_file(&self.path, &errors)));
        self.spare = spare_fd().ok();
        let Context { log, process, now, .. } = &mut self.context;
        let now = *now;
        process.reloaded(self.epoch + now.as_micros(), taken.is_ok());
        match taken {
            Ok(()) => {
                log.notice(now, format_args!("Reloaded {}.", self.path.display()));
                self.warn();
            }
            Err(errors) => {
                for error in &errors {
                    log.say(now, Level::Error, format_args!("{error}"));
                }
                log.say(now, Level::Error, format_args!("Reload refused: nothing has changed."));
            }
        }
        self.tell_ready();
    }

    fn adopt(&mut self, config: Config) -> Result<(), Vec<String>> {
        let credentials = Credentials::load(config.admin.stats_credentials.as_ref())?;
        let shares = self.fds.share_out(&config).map_err(|error| vec![error])?;
        listeners::open(&config, &self.inherited, &mut self.listeners, &self.context.registry)?;
        self.close_unwanted(Some(&config));
        self.admins.change(credentials);
        let context = &mut self.context;
        let reloaded = context.fleet.reload(&config, &mut spread(&config, context.now));
        if config.limits.per_source != context.config.limits.per_source {
            self.sessions.change_limits(config.limits.per_source.as_ref());
        }
        context.log.change(config.log);
        context.config = Rc::new(config);
        let outdated: Vec<Key> = self
            .probes
            .iter()
            .filter(|(_, probe)| reloaded.outdated.contains(&probe.server_id()))
            .map(|(key, _)| key)
            .collect();
        for key in outdated {
            self.probes.take(key);
            self.probes.vacate(key);
        }
        probe::schedule(&mut self.context);
        self.share_out_fds(shares);
        for (id, why) in reloaded.risen {
            probe::risen(id, why, &mut self.context);
        }
        Ok(())
    }
}
