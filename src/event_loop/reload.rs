//! Reloads: the file is read on a thread of its own, and then taken over a few routes a turn.
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::{Registry, Waker};

use super::start::{in_file, spread};
use super::{EventLoop, banner};
use crate::access_log::Event;
use crate::admin::Credentials;
use crate::config::{self, Config, File};
use crate::context::Context;
use crate::fleet::{Reloaded, Takeover};
use crate::net::Token;
use crate::policy::health::Spread;
use crate::probe;

/// Routes that are taken over in one turn: at most a few milliseconds of work, if each has changed.
const MAX_A_TURN: usize = 512;

/// A reload under way.
pub(super) struct Reloads {
    waker: Arc<Waker>,
    phase: Phase,
    /// Whether another reload was asked for meanwhile.
    again: bool,
}

enum Phase {
    Idle,
    /// The file is being read.
    Reading(Receiver<Result<Fresh, Vec<String>>>),
    /// The configuration is being taken over.
    Taking(Box<Taking>),
}

/// A configuration that was read, and everything about it that could be prepared without the loop.
struct Fresh {
    config: Config,
    text: Arc<str>,
    credentials: Credentials,
    takeover: Takeover,
    warnings: Vec<String>,
    /// The keys that have changed, in one line.
    changes: String,
}

/// The configuration in force.
#[derive(Clone)]
struct InForce {
    config: Arc<Config>,
    text: Arc<str>,
}

struct Taking {
    fresh: Fresh,
    spread: Spread,
    /// Open connections to servers that have left the file.
    orphans: u64,
}

impl Reloads {
    /// No reload. `registry` is that of the poll, which is woken when a file has been read.
    ///
    /// # Errors
    /// The kernel's, out of fds or watches.
    pub(super) fn new(registry: &Registry) -> io::Result<Reloads> {
        let waker = Arc::new(Waker::new(registry, Token::Reload.into())?);
        Ok(Reloads { waker, phase: Phase::Idle, again: false })
    }

    /// Whether something can be taken over at once.
    pub(super) fn can_go_on(&self) -> bool {
        matches!(self.phase, Phase::Taking(_))
    }
}

impl InForce {
    fn of(event_loop: &EventLoop) -> InForce {
        InForce { config: Arc::clone(&event_loop.context.config), text: Arc::clone(&event_loop.operator.text) }
    }
}

/// Reads the file, and prepares all that needs no loop.
fn read(path: &Path, before: &InForce) -> Result<Fresh, Vec<String>> {
    let file = config::load(path).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<String>>())?;
    prepare(file, before).map_err(|errors| in_file(path, &errors))
}

/// Prepares a configuration. Routes that have not changed keep their `Arc`.
fn prepare(File { mut config, text }: File, before: &InForce) -> Result<Fresh, Vec<String>> {
    let known: HashMap<&str, _> = before.config.routes.iter().map(|route| (&*route.name, route)).collect();
    for route in &mut config.routes {
        if let Some(same) = known.get(&*route.name).filter(|known| ***known == *route) {
            *route = Arc::clone(same);
        }
    }
    let credentials = Credentials::load(config.admin.stats_credentials.as_ref())?;
    let (takeover, warnings) = (Takeover::of(&config), config::warnings(&config));
    let changes = config::summary(&config::diff(&before.text, &text));
    Ok(Fresh { config, text, credentials, takeover, warnings, changes })
}

/// Reads the configuration again, and takes it over if it is valid. Otherwise nothing changes.
pub(super) fn begin(event_loop: &mut EventLoop) {
    if !matches!(event_loop.operator.reloads.phase, Phase::Idle) {
        event_loop.operator.reloads.again = true;
        return;
    }
    event_loop.manager.reloading();
    // Makes sure that there is an fd to open the file with.
    event_loop.door.fds.give_up_spare();
    let (sender, receiver) = channel();
    event_loop.operator.reloads.phase = Phase::Reading(receiver);
    let (path, before) = (event_loop.operator.path.clone(), InForce::of(event_loop));
    let waker = Arc::clone(&event_loop.operator.reloads.waker);
    let answer = move |sender: Sender<_>| {
        let _ = sender.send(read(&path, &before));
        // The receiver is gone only when the process ends.
        let _ = waker.wake();
    };
    let spare = (sender.clone(), answer.clone());
    if thread::Builder::new().name("reload".to_owned()).spawn(move || answer(sender)).is_err() {
        // No thread could be started: read on this one.
        let (sender, answer) = spare;
        answer(sender);
    }
}

/// The file has been read: begins to take it over.
pub(super) fn begin_takeover(event_loop: &mut EventLoop) {
    let Phase::Reading(receiver) = &event_loop.operator.reloads.phase else { return };
    let Ok(read) = receiver.try_recv() else { return };
    event_loop.operator.reloads.phase = Phase::Idle;
    event_loop.door.fds.keep_spare();
    if !event_loop.operator.is_serving() {
        return;
    }
    match read.and_then(|fresh| open_for(event_loop, fresh)) {
        Ok(fresh) => {
            let spread = spread(&fresh.config, event_loop.context.now);
            event_loop.operator.reloads.phase = Phase::Taking(Box::new(Taking { fresh, spread, orphans: 0 }));
        }
        Err(errors) => {
            for error in &errors {
                log::error!("{error}");
            }
            log::error!("Reload refused: nothing has changed.");
            end(event_loop, false);
        }
    }
}

/// Does what may still fail: all of it or nothing.
fn open_for(event_loop: &mut EventLoop, fresh: Fresh) -> Result<Fresh, Vec<String>> {
    let opened = open_all(event_loop, &fresh.config);
    opened.map(|()| fresh).map_err(|errors| in_file(&event_loop.operator.path, &errors))
}

fn open_all(event_loop: &mut EventLoop, config: &Config) -> Result<(), Vec<String>> {
    let EventLoop { door, control, context, .. } = event_loop;
    let registry = &context.registry;
    door.fds.share_out(config).map_err(|error| vec![error])?;
    let socket = control.open(config.control.as_deref(), registry).map_err(|error| vec![error])?;
    if let Err(errors) = door.open(config, registry) {
        socket.give_up(registry);
        return Err(errors);
    }
    control.put(socket, registry);
    Ok(())
}

/// Takes over the next routes.
pub(super) fn go_on_taking(event_loop: &mut EventLoop) {
    let Phase::Taking(taking) = &mut event_loop.operator.reloads.phase else { return };
    let Taking { fresh, spread, orphans } = &mut **taking;
    let mut reloaded = Reloaded::default();
    let is_finished =
        fresh.takeover.go_on(&mut event_loop.context.fleet, &fresh.config, MAX_A_TURN, spread, &mut reloaded);
    *orphans += reloaded.orphans;
    event_loop.probes.end_of(&reloaded.outdated);
    for id in reloaded.changed {
        probe::schedule_of(id, &mut event_loop.context);
    }
    for (id, why) in reloaded.risen {
        probe::risen(id, why, &mut event_loop.context);
    }
    probe::tell_route_changes(&mut event_loop.context);
    if is_finished && let Phase::Taking(taking) = std::mem::replace(&mut event_loop.operator.reloads.phase, Phase::Idle)
    {
        finish_takeover(event_loop, *taking);
    }
}

fn finish_takeover(event_loop: &mut EventLoop, taking: Taking) {
    let Taking { fresh: Fresh { config, text, credentials, takeover, warnings, changes }, orphans, .. } = taking;
    event_loop.close_unwanted(Some(&config));
    event_loop.door.listeners.note_owners(&config);
    event_loop.admins.change(credentials);
    if config.limits.per_source != event_loop.context.config.limits.per_source {
        event_loop.sessions.change_limits(config.limits.per_source.as_ref());
    }
    event_loop.context.log.change(config.log);
    // The old configuration's demand was checked before; the new one's is applied now.
    if let Ok(shares) = event_loop.door.fds.share_out(&config) {
        event_loop.share_out_fds(shares);
    }
    event_loop.operator.text = text;
    let before = std::mem::replace(&mut event_loop.context.config, Arc::new(config));
    // Tens of thousands of routes take as many calls of free(3), so another thread makes them.
    drop(thread::Builder::new().spawn(move || drop((before, takeover))));
    let Context { log, config, now, .. } = &mut event_loop.context;
    let (file, routes, servers) = (&*event_loop.operator.path, config.routes.len(), config.server_count());
    log.tell(*now, &Event::Reloaded { file, routes, servers, changes: &changes, orphans });
    banner::warn(event_loop, &warnings);
    end(event_loop, true);
}

/// Takes over another configuration at once.
#[cfg(test)]
pub(super) fn adopt(event_loop: &mut EventLoop, file: File) -> Result<(), Vec<String>> {
    let fresh = prepare(file, &InForce::of(event_loop)).and_then(|fresh| open_for(event_loop, fresh))?;
    let spread = spread(&fresh.config, event_loop.context.now);
    event_loop.operator.reloads.phase = Phase::Taking(Box::new(Taking { fresh, spread, orphans: 0 }));
    while event_loop.operator.reloads.can_go_on() {
        go_on_taking(event_loop);
    }
    Ok(())
}

fn end(event_loop: &mut EventLoop, worked: bool) {
    let Context { process, now, .. } = &mut event_loop.context;
    process.reloaded(event_loop.clock.epoch() + *now, worked);
    event_loop.manager.ready(&event_loop.context);
    if std::mem::take(&mut event_loop.operator.reloads.again) {
        begin(event_loop);
    }
}
