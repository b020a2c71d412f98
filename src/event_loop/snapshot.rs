//! Takes a snapshot of the proxy, for /metrics, /stats and the control socket.
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::EventLoop;
use super::sessions::Sessions;
use super::usage;
use crate::config::{self, Probe};
use crate::context::Context;
use crate::fleet::{self, RouteId};
use crate::metrics::{
    Buffers, FrontendNow, Phase, PipesNow, ProbesNow, RouteNow, Sample, ServerNow, Snapshot, SourcesNow, StandingNow,
};
use crate::policy::fds::MAX_REDIRECT_CLIENTS;
use crate::policy::health::{Health, Standing};
use crate::policy::servers::{Member, ServerIndex};
use crate::policy::time::Time;
use crate::session::{Moved, Shared};
use crate::vocabulary::{DropReason, Role};

/// Reasons for which a client is dropped for its address, before a byte was read.
const BY_SOURCE: [DropReason; 2] = [DropReason::RateLimited, DropReason::TooManyConnections];
/// Reasons for which a client is dropped for its first bytes, or their absence.
const BY_HELLO: [DropReason; 7] = [
    DropReason::NotTls,
    DropReason::MalformedHello,
    DropReason::HelloTimeout,
    DropReason::ClosedEarly,
    DropReason::NoProxyHeader,
    DropReason::MalformedProxyHeader,
    DropReason::NoClientAddress,
];

/// Takes a snapshot, in the memory of an earlier one. It includes the bytes that open connections have moved so far, so
/// that a graph of bytes does not wait for them to end.
pub(super) fn take(event_loop: &EventLoop, mut buffers: Buffers) -> Snapshot {
    let EventLoop { context, sessions, clock, .. } = event_loop;
    let Shared { pipes, sources, .. } = &sessions.shared;
    add_routes(context, &mut buffers);
    let mut snapshot = Snapshot {
        now: context.now,
        epoch: clock.epoch(),
        started: clock.started(),
        process_started: clock.process_started(),
        is_draining: !event_loop.operator.is_serving(),
        process: context.process.clone(),
        connections: context.clients.sessions + context.clients.redirects,
        capacity: sessions.shared.capacity,
        most_fds: event_loop.door.fds.limit(),
        phases: [0; Phase::ALL.len()],
        half_closed: 0,
        pipes: PipesNow { most: pipes.most(), used: pipes.lent(), free: pipes.kept() },
        lost_lines: context.log.lost(),
        sources: SourcesNow { remembered: sources.sources(), evicted: sources.evicted() },
        frontends: Vec::new(),
        routes: buffers.routes,
        servers: buffers.servers,
        history: event_loop.history.clone(),
        usage: usage::measure(),
    };
    let at_owners = add_open_sessions(event_loop, &mut snapshot);
    snapshot.frontends = frontends(event_loop, &snapshot, &at_owners);
    snapshot
}

/// The current counters of the process, for the history.
pub(super) fn sample(sessions: &Sessions, context: &Context) -> Sample {
    let process = &context.process;
    let mut sample = Sample {
        at: context.now,
        accepted: process.https.accepted.total() + process.owned.accepted.total(),
        dropped: process.drops.iter().sum(),
        bytes_up: process.https.bytes_up + process.owned.bytes_up,
        bytes_down: process.https.bytes_down + process.owned.bytes_down,
    };
    // As below, bytes of plain HTTP are no part of it.
    for session in sessions.iter().filter(|session| !session.is_handed_on()) {
        let moved = session.moved();
        sample.bytes_up += moved.up;
        sample.bytes_down += moved.down;
    }
    sample
}

/// Bytes of open connections, by the route that owns the address they came to.
type AtOwners = HashMap<RouteId, Moved>;

fn add_open_sessions(event_loop: &EventLoop, snapshot: &mut Snapshot) -> AtOwners {
    let mut at_owners = AtOwners::new();
    let routes = event_loop.context.fleet.order();
    for session in event_loop.sessions.iter() {
        if let Some(count) = snapshot.phases.get_mut(session.phase() as usize) {
            *count += 1;
        }
        snapshot.half_closed += u64::from(session.is_half_closed());
        let (moved, Some(id)) = (session.moved(), session.server()) else { continue };
        let process = &mut snapshot.process;
        let counters = match session.frontend() {
            Some(_) => &mut process.owned,
            None if session.is_handed_on() => &mut process.http,
            None => &mut process.https,
        };
        counters.moved(moved.up, moved.down);
        if let Some(all) = session.frontend().map(|id| at_owners.entry(id).or_default()) {
            all.up += moved.up;
            all.down += moved.down;
        }
        snapshot.process.bytes_spliced += moved.spliced;
        let Some(index) = routes.of(id.route) else { continue };
        let Some(route) = snapshot.routes.get_mut(index) else { continue };
        let servers = snapshot.servers.get_mut(route.servers.clone()).unwrap_or_default();
        let server = servers.iter_mut().find(|server| server.index == id.server);
        for traffic in [Some(&mut route.traffic), server.map(|server| &mut server.traffic)].into_iter().flatten() {
            traffic.bytes_up += moved.up;
            traffic.bytes_down += moved.down;
        }
    }
    at_owners
}

fn frontends(event_loop: &EventLoop, snapshot: &Snapshot, at_owners: &AtOwners) -> Vec<FrontendNow> {
    let EventLoop { context, sessions, door, .. } = event_loop;
    let process = &snapshot.process;
    let open_at = door.listeners.open_at();
    let owned: Vec<FrontendNow> = context
        .config
        .owners()
        .filter_map(|owner| owned(event_loop, owner, at_owners, open_at.contains(&Some(&*owner.name))))
        .collect();
    let is_open = |role| door.listeners.iter().any(|listener| listener.role == role);
    // Drops are counted for the process, and for each route's own addresses; the difference is the file's.
    let at_file = |reasons: &[DropReason]| {
        let all: u64 = snapshot.drops().filter(|(reason, _)| reasons.contains(reason)).map(|(_, count)| count).sum();
        all.saturating_sub(context.fleet.dropped_at_owners(reasons))
    };
    let https = FrontendNow {
        name: Role::Https.name().into(),
        is_http: false,
        is_open: open_at.contains(&None),
        sessions: context.at(None),
        limit: sessions.shared.capacity,
        counters: process.https.clone(),
        denied: process.https.denied,
        denied_connections: at_file(&BY_SOURCE).saturating_sub(process.http.over_limits),
        errors: at_file(&BY_HELLO),
    };
    let http = FrontendNow {
        name: Role::Http.name().into(),
        is_http: true,
        is_open: is_open(Role::Http),
        sessions: context.clients.at_redirect(),
        limit: MAX_REDIRECT_CLIENTS as u64,
        counters: process.http.clone(),
        denied: process.http.denied,
        denied_connections: process.http.over_limits,
        errors: process.http.errors,
    };
    let has_redirect = !context.config.redirect.is_empty();
    let has_own = !context.config.listen.is_empty() || https.counters.accepted.total() > 0;
    let of_file = [has_own.then_some(https), has_redirect.then_some(http)];
    of_file.into_iter().flatten().chain(owned).collect()
}

/// The frontend of a route's own addresses.
fn owned(event_loop: &EventLoop, owner: &config::Route, at_owners: &AtOwners, is_open: bool) -> Option<FrontendNow> {
    let EventLoop { context, sessions, .. } = event_loop;
    let id = context.fleet.owner(&owner.name)?;
    let route = context.fleet.route(id)?;
    let own = route.own()?;
    let mut counters = own.counters().clone();
    let moved = at_owners.get(&id).copied().unwrap_or_default();
    counters.moved(moved.up, moved.down);
    let of = |reasons: &[DropReason]| {
        let count = |reason: &DropReason| own.drops().get(reason.index()).copied().unwrap_or_default();
        reasons.iter().map(count).sum()
    };
    Some(FrontendNow {
        name: Rc::clone(route.name()),
        is_http: false,
        is_open,
        sessions: own.open(),
        limit: sessions.shared.capacity,
        counters,
        denied: own.counters().denied,
        denied_connections: of(&BY_SOURCE),
        errors: of(&BY_HELLO),
    })
}

fn add_routes(context: &Context, Buffers { routes, servers }: &mut Buffers) {
    for (_, route) in context.fleet.routes() {
        let first = servers.len();
        servers.extend(
            route
                .group()
                .members()
                .filter_map(|(index, member)| Some(server(route, index, member, route.server(index)?, context.now))),
        );
        routes.push(route_now(route, first..servers.len(), context.now));
    }
}

fn route_now(route: &fleet::Route, servers: Range<usize>, now: Time) -> RouteNow {
    let (mut active, mut backup, mut weight, mut backup_weight) = (0, 0, 0, 0);
    for (_, member) in route.group().members().filter(|(_, member)| member.takes_connections()) {
        if member.server().backup {
            backup += 1;
            // Of several backups, only the first takes connections.
            backup_weight = if backup == 1 { member.weight().into() } else { backup_weight };
        } else {
            active += 1;
            weight += u64::from(member.weight());
        }
    }
    RouteNow {
        name: Rc::clone(route.name()),
        config: Arc::clone(route.config()),
        standing: standing(route.group().standing(), now),
        open: route.open(),
        queued: route.queue().len(),
        most_queued: route.queue().most(),
        traffic: route.traffic(),
        usage: route.usage().clone(),
        last_session: route.usage().sessions.last().map(|last| now.since(last)),
        servers,
        active,
        backup,
        weight: if active > 0 { weight } else { backup_weight },
    }
}

fn server(route: &fleet::Route, index: ServerIndex, member: &Member, server: &fleet::Server, now: Time) -> ServerNow {
    let config = member.server();
    ServerNow {
        route: Rc::clone(route.name()),
        name: Rc::clone(server.name()),
        index,
        address: config.address,
        weight: member.weight(),
        set: *member.set(),
        weight_in_file: config.weight,
        is_backup: config.backup,
        limit: config.max_connections,
        open: member.open(),
        traffic: server.traffic().clone(),
        usage: server.usage().clone(),
        last_session: server.usage().sessions.last().map(|last| now.since(last)),
        standing: standing(member.health().standing(), now),
        last_not_tls: server.last_not_tls().map(|last| now.since(last)),
        probes: probes(member.health()),
    }
}

fn probes(health: &Health) -> Option<ProbesNow> {
    let check = health.check();
    (check.probe != Probe::Off).then(|| ProbesNow {
        interval: check.interval,
        tally: health.tally(),
        rise: check.rise,
        fall: check.fall,
        failures: health.failures(),
        is_running: health.next_probe().is_none(),
        last: health.last().cloned(),
    })
}

fn standing(standing: &Standing, now: Time) -> StandingNow {
    StandingNow {
        is_up: standing.is_up(),
        since: standing.since(),
        age: now.since(standing.since()),
        downs: standing.downs(),
        downtime: standing.downtime(now),
    }
}
