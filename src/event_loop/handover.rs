//! Hands everything that lives over to the next process, and takes it over from the previous one.
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use super::EventLoop;
use super::clock::Beginning;
use super::listeners::Place;
use super::sessions::Taken;
use super::start::spread;
use crate::config::{count, plain};
use crate::fleet::{self, ServerMap};
use crate::handover::{Cargo, Delivery, State};
use crate::metrics::History;
use crate::net::Stream;
use crate::vocabulary::Role;

/// Names of the state's sections.
const PROGRAM: &str = "program";
const TIME: &str = "time";
const COUNTERS: &str = "counters";
const HISTORY: &str = if cfg!(feature = "other-state") { "past" } else { "history" };
const ROUTES: &str = "routes";
const LOST_LINES: &str = "lost_lines";

/// The listening sockets that this process alone holds: (address, role) of each fd that comes first.
const LISTENERS: &str = "listeners";

/// What previous processes left: one delivery as a rule, none at a first start.
pub(super) struct Deliveries {
    first: Option<Delivery>,
    errors: Vec<String>,
}

impl Deliveries {
    /// Looks at what is in flight. Of several deliveries the first readable one counts, as two processes cannot be
    /// continued.
    pub(super) fn look(parcels: Vec<Result<OwnedFd, String>>) -> Deliveries {
        let mut deliveries = Deliveries { first: None, errors: Vec::new() };
        for parcel in parcels {
            match parcel.and_then(Delivery::look) {
                Ok(delivery) if deliveries.first.is_none() => deliveries.first = Some(delivery),
                Ok(_) => deliveries
                    .errors
                    .push("another hand-over is stored beside it, and only one can be continued".to_owned()),
                Err(error) => deliveries.errors.push(error),
            }
        }
        deliveries
    }

    /// The origin of time.
    pub(super) fn beginning(&mut self) -> Option<Beginning> {
        self.first.as_mut()?.state.take(TIME).ok().flatten()
    }

    /// The listening sockets, and the place of each. None if the section cannot be read.
    pub(super) fn listeners(&mut self) -> Vec<(Place, OwnedFd)> {
        let Some(Delivery { state, first, .. }) = &mut self.first else { return Vec::new() };
        let places: Vec<(SocketAddr, String)> = state.take(LISTENERS).unwrap_or_default();
        let known = places.into_iter().zip(first.drain(..)).filter_map(|((address, name), socket)| {
            let role = Role::ALL.into_iter().find(|role| role.socket_name() == name)?;
            Some(((address, role), socket))
        });
        known.collect()
    }
}

/// Hands everything over to the next process. Answers whether that succeeded; this process then has nothing more to do.
pub(super) fn hand_over(event_loop: &mut EventLoop) -> bool {
    let connections = count(event_loop.sessions.len() as usize, "connection");
    match pack_and_leave(event_loop) {
        Ok(()) => {
            log::info!("Handed {connections} over to the next process.");
            true
        }
        Err(error) => {
            log::warn!("The hand-over failed, so connections may finish in this process: {error}.");
            false
        }
    }
}

fn pack_and_leave(event_loop: &mut EventLoop) -> Result<(), String> {
    let EventLoop { clock, door, sessions, redirects, history, context, manager, .. } = event_loop;
    let mut cargo = Cargo::default();
    let listeners = door.listeners.own();
    for listener in &listeners {
        cargo.push_first(listener.as_fd());
    }
    let places = listeners.iter().map(|listener| (listener.configured, listener.role.socket_name()));
    let state = &mut cargo.state;
    state.put(LISTENERS, &places.collect::<Vec<_>>())?;
    state.put(PROGRAM, &env!("CARGO_PKG_VERSION"))?;
    state.put(TIME, &Some(clock.beginning()))?;
    state.put(COUNTERS, &context.process.park())?;
    state.put(HISTORY, history)?;
    state.put(ROUTES, &fleet::park(&context.fleet))?;
    state.put(LOST_LINES, &context.log.lost())?;
    sessions.park(&mut cargo)?;
    redirects.park(&mut cargo)?;
    let parcel = cargo.send().map_err(|error| plain(&error))?;
    manager.keep(parcel.as_fd()).map_err(|error| plain(&error))
}

/// Takes over what the previous process left. A part that cannot be read counts as missing.
pub(super) fn take_up(event_loop: &mut EventLoop, deliveries: Deliveries) {
    for error in deliveries.errors {
        log::warn!("The hand-over of the previous process cannot be read, and its connections are lost: {error}.");
    }
    if let Some(delivery) = deliveries.first {
        take_up_one(event_loop, delivery);
    }
    // Also forgets what was left twice: systemd must have room for the next hand-over.
    event_loop.manager.forget();
}

fn take_up_one(event_loop: &mut EventLoop, delivery: Delivery) {
    let (mut state, mut sockets) = delivery.open();
    let program: String = state.take(PROGRAM).unwrap_or_default();
    let mut errors = Vec::new();
    let map = take_up_counts(event_loop, &mut state, &mut errors);
    let taken = event_loop.sessions.take_up(&mut state, &mut sockets, &map, &mut event_loop.context);
    let taken = taken.unwrap_or_else(|error| {
        errors.push(error);
        Taken::default()
    });
    errors.extend(event_loop.redirects.take_up(&mut state, &mut sockets, &mut event_loop.context).err());
    sockets.drop_rest(|socket| Stream::handed_on(socket).reset());
    say_taken(&program, taken, &errors);
}

fn take_up_counts(event_loop: &mut EventLoop, state: &mut State, errors: &mut Vec<String>) -> ServerMap {
    let context = &mut event_loop.context;
    let mut or_new = |error: String| errors.push(error);
    match state.take(COUNTERS) {
        Ok(counters) => context.process.take_up(counters),
        Err(error) => or_new(error),
    }
    event_loop.history = state.take(HISTORY).unwrap_or_else(|error| {
        or_new(error);
        History::default()
    });
    match state.take(LOST_LINES) {
        Ok(lost) => context.log.take_up(lost),
        Err(error) => or_new(error),
    }
    let routes = state.take(ROUTES).unwrap_or_else(|error| {
        or_new(error);
        Vec::new()
    });
    ServerMap::take_up(&mut context.fleet, routes, &mut spread(&context.config, context.now))
}

fn say_taken(program: &str, taken: Taken, errors: &[String]) {
    for error in errors {
        log::warn!("A part of the hand-over of fiscalismia-lb {program} cannot be read: {error}.");
    }
    let Taken { all, kept } = taken;
    log::info!("Took {} over from fiscalismia-lb {program}.", count(kept, "connection"));
    if kept < all {
        let lost = count(all - kept, "connection");
        log::warn!(
            "{lost} could not be taken over: the fd limit is too low, or their server left the file and its route has on_down close."
        );
    }
}
