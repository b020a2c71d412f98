//! Reading the configuration again: aside, on a thread of its own, and then taken over a few routes a turn.
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::{Registry, Waker};

use super::start::{in_file, spread};
use super::{EventLoop, banner};
use crate::admin::Credentials;
use crate::config::{self, Config};
use crate::context::Context;
use crate::fleet::{Reloaded, Takeover};
use crate::net::Token;
use crate::policy::health::Spread;
use crate::probe;

/// Routes that are taken over in one turn: a few milliseconds' work at most, where each is another than it was.
const MAX_A_TURN: usize = 512;

/// A reload, where one goes on.
pub(super) struct Reloads {
    waker: Arc<Waker>,
    phase: Phase,
    /// It was asked for again meanwhile.
    again: bool,
}

enum Phase {
    Idle,
    /// The file is read.
    Reading(Receiver<Result<Fresh, Vec<String>>>),
    /// What was read is taken over.
    Taking(Box<Taking>),
}

/// What was read, and all of what it means that needs no loop.
struct Fresh {
    config: Config,
    credentials: Credentials,
    takeover: Takeover,
    warnings: Vec<String>,
}

struct Taking {
    fresh: Fresh,
    spread: Spread,
}

impl Reloads {
    /// None yet; the poll of `registry` is woken when a file is read.
    ///
    /// # Errors
    /// The kernel's, out of fds or watches.
    pub(super) fn new(registry: &Registry) -> io::Result<Reloads> {
        let waker = Arc::new(Waker::new(registry, Token::Reload.into())?);
        Ok(Reloads { waker, phase: Phase::Idle, again: false })
    }

    /// Whether there is something to take over at once.
    pub(super) fn can_go_on(&self) -> bool {
        matches!(self.phase, Phase::Taking(_))
    }
}

/// Reads the file, and does all that can be done without the loop.
fn read(path: &Path, before: &Config) -> Result<Fresh, Vec<String>> {
    let config =
        config::load(path).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<String>>())?;
    prepare(config, before).map_err(|errors| in_file(path, &errors))
}

/// Finds what another configuration means. Routes that are what they were before are the same ones.
fn prepare(mut config: Config, before: &Config) -> Result<Fresh, Vec<String>> {
    let known: HashMap<&str, _> = before.routes.iter().map(|route| (&*route.name, route)).collect();
    for route in &mut config.routes {
        if let Some(same) = known.get(&*route.name).filter(|known| ***known == *route) {
            *route = Arc::clone(same);
        }
    }
    let credentials = Credentials::load(config.admin.stats_credentials.as_ref())?;
    let (takeover, warnings) = (Takeover::of(&config), config::warnings(&config));
    Ok(Fresh { config, credentials, takeover, warnings })
}

impl EventLoop {
    /// Reads the configuration again, and takes it over if it is good. If not, nothing changes.
    pub(super) fn reload(&mut self) {
        if !matches!(self.operator.reloads.phase, Phase::Idle) {
            self.operator.reloads.again = true;
            return;
        }
        self.manager.reloading();
        // So that there is an fd to open the file with.
        self.door.fds.give_up_spare();
        let (sender, receiver) = channel();
        self.operator.reloads.phase = Phase::Reading(receiver);
        let (path, before) = (self.operator.path.clone(), Arc::clone(&self.context.config));
        let waker = Arc::clone(&self.operator.reloads.waker);
        let answer = move |sender: Sender<_>| {
            let _ = sender.send(read(&path, &before));
            // The other end is gone only where the process is.
            let _ = waker.wake();
        };
        let spare = (sender.clone(), answer.clone());
        if thread::Builder::new().name("reload".to_owned()).spawn(move || answer(sender)).is_err() {
            // There is no thread to be had: better late than never.
            let (sender, answer) = spare;
            answer(sender);
        }
    }

    /// The file is read: begins to take it over.
    pub(super) fn begin_takeover(&mut self) {
        let Phase::Reading(receiver) = &self.operator.reloads.phase else { return };
        let Ok(read) = receiver.try_recv() else { return };
        self.operator.reloads.phase = Phase::Idle;
        self.door.fds.keep_spare();
        if !self.operator.is_serving() {
            return;
        }
        match read.and_then(|fresh| self.open_for(fresh)) {
            Ok(fresh) => {
                let spread = spread(&fresh.config, self.context.now);
                self.operator.reloads.phase = Phase::Taking(Box::new(Taking { fresh, spread }));
            }
            Err(errors) => {
                for error in &errors {
                    log::error!("{error}");
                }
                log::error!("Reload refused: nothing has changed.");
                self.end_reload(false);
            }
        }
    }

    /// Does what may still fail.
    fn open_for(&mut self, fresh: Fresh) -> Result<Fresh, Vec<String>> {
        let shared = self.door.fds.share_out(&fresh.config).map_err(|error| vec![error]);
        let opened = shared.and_then(|_| self.door.open(&fresh.config, &self.context.registry));
        let control = fresh.config.control.as_deref();
        let opened =
            opened.and_then(|()| self.control.open(control, &self.context.registry).map_err(|error| vec![error]));
        opened.map(|()| fresh).map_err(|errors| in_file(&self.operator.path, &errors))
    }

    /// Takes over some more of a file that was read.
    pub(super) fn go_on_taking(&mut self) {
        let Phase::Taking(taking) = &mut self.operator.reloads.phase else { return };
        let Taking { fresh, spread } = &mut **taking;
        let mut reloaded = Reloaded::default();
        let is_finished =
            self.context.fleet.take_over(&mut fresh.takeover, &fresh.config, MAX_A_TURN, spread, &mut reloaded);
        self.probes.end_of(&reloaded.outdated);
        for id in reloaded.changed {
            probe::schedule_of(id, &mut self.context);
        }
        for (id, why) in reloaded.risen {
            probe::risen(id, why, &mut self.context);
        }
        if is_finished && let Phase::Taking(taking) = std::mem::replace(&mut self.operator.reloads.phase, Phase::Idle) {
            self.finish_takeover(taking.fresh);
        }
    }

    fn finish_takeover(&mut self, fresh: Fresh) {
        let Fresh { config, credentials, takeover, warnings } = fresh;
        self.close_unwanted(Some(&config));
        self.door.listeners.note_owners(&config);
        self.admins.change(credentials);
        if config.limits.per_source != self.context.config.limits.per_source {
            self.sessions.change_limits(config.limits.per_source.as_ref());
        }
        self.context.log.change(config.log);
        // What could be shared out before can be now.
        if let Ok(shares) = self.door.fds.share_out(&config) {
            self.share_out_fds(shares);
        }
        let before = std::mem::replace(&mut self.context.config, Arc::new(config));
        // Tens of thousands of routes take as many calls of free(3).
        drop(thread::Builder::new().spawn(move || drop((before, takeover))));
        log::info!("Reloaded {}.", self.operator.path.display());
        banner::warn(self, &warnings);
        self.end_reload(true);
    }

    /// Takes over another configuration at once.
    #[cfg(test)]
    pub(super) fn adopt(&mut self, config: Config) -> Result<(), Vec<String>> {
        let fresh = prepare(config, &self.context.config).and_then(|fresh| self.open_for(fresh))?;
        let spread = spread(&fresh.config, self.context.now);
        self.operator.reloads.phase = Phase::Taking(Box::new(Taking { fresh, spread }));
        while self.operator.reloads.can_go_on() {
            self.go_on_taking();
        }
        Ok(())
    }

    fn end_reload(&mut self, worked: bool) {
        let Context { process, now, .. } = &mut self.context;
        process.reloaded(self.clock.epoch() + now.as_micros(), worked);
        self.manager.ready(&self.context);
        if std::mem::take(&mut self.operator.reloads.again) {
            self.reload();
        }
    }
}
