//! The proxy at one moment, for whoever asks.
use std::ops::Range;
use std::rc::Rc;

use super::EventLoop;
use super::sessions::Sessions;
use crate::config::Probe;
use crate::context::Context;
use crate::fleet;
use crate::metrics::{
    FrontendNow, Phase, PipesNow, ProbesNow, Room, RouteNow, Sample, ServerNow, Snapshot, SourcesNow, StandingNow,
};
use crate::policy::fds::REDIRECT_CLIENTS;
use crate::policy::health::{Health, Standing};
use crate::policy::servers::Member;
use crate::policy::time::Time;
use crate::session::Shared;
use crate::vocabulary::{DropReason, Role};

/// Drops for where a client came from, before a byte was read.
const BY_SOURCE: [DropReason; 2] = [DropReason::RateLimited, DropReason::TooManyConnections];
/// Drops for what a client sent, or did not send.
const BY_HELLO: [DropReason; 7] = [
    DropReason::NotTls,
    DropReason::MalformedHello,
    DropReason::HelloTimeout,
    DropReason::ClosedEarly,
    DropReason::NoProxyHeader,
    DropReason::MalformedProxyHeader,
    DropReason::NoClientAddress,
];

/// Takes a snapshot, with the memory of an earlier one. Connections that are open count with the bytes that they have moved
/// so far, so that a graph of bytes does not wait for them to end.
pub(super) fn take(event_loop: &EventLoop, mut room: Room) -> Snapshot {
    let EventLoop { context, sessions, clock, .. } = event_loop;
    let Shared { pipes, sources, .. } = &sessions.shared;
    add_routes(context, &mut room);
    let mut snapshot = Snapshot {
        now: context.now,
        epoch: clock.epoch(),
        started: clock.started(),
        process_started: clock.process_started(),
        is_draining: !event_loop.operator.is_serving(),
        process: context.process.clone(),
        connections: context.sessions + context.redirects,
        capacity: sessions.shared.capacity,
        most_fds: event_loop.door.fds.limit(),
        phases: [0; Phase::ALL.len()],
        half_closed: 0,
        pipes: PipesNow { most: pipes.most(), used: pipes.lent(), free: pipes.kept() },
        lost_lines: context.log.lost(),
        sources: SourcesNow { remembered: sources.sources(), evicted: sources.evicted() },
        frontends: Vec::new(),
        routes: room.routes,
        servers: room.servers,
        history: event_loop.history.clone(),
    };
    add_open_sessions(event_loop, &mut snapshot);
    snapshot.frontends = frontends(event_loop, &snapshot);
    snapshot
}

/// The counters of the process as they are now, for the history.
pub(super) fn sample(sessions: &Sessions, context: &Context) -> Sample {
    let process = &context.process;
    let mut sample = Sample {
        at: context.now,
        accepted: process.https.accepted.total(),
        dropped: process.drops.iter().sum(),
        bytes_up: process.https.bytes_up,
        bytes_down: process.https.bytes_down,
    };
    for session in sessions.iter() {
        let moved = session.moved();
        sample.bytes_up += moved.up;
        sample.bytes_down += moved.down;
    }
    sample
}

fn add_open_sessions(event_loop: &EventLoop, snapshot: &mut Snapshot) {
    let routes = event_loop.context.fleet.order();
    for session in event_loop.sessions.iter() {
        if let Some(count) = snapshot.phases.get_mut(session.phase() as usize) {
            *count += 1;
        }
        snapshot.half_closed += u64::from(session.is_half_closed());
        let (moved, Some(id)) = (session.moved(), session.server()) else { continue };
        snapshot.process.https.bytes_up += moved.up;
        snapshot.process.https.bytes_down += moved.down;
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
}

fn frontends(event_loop: &EventLoop, snapshot: &Snapshot) -> Vec<FrontendNow> {
    let EventLoop { context, sessions, door, .. } = event_loop;
    let process = &snapshot.process;
    let is_open = |role| door.listeners.iter().any(|listener| listener.role == role);
    let of = |reasons: &[DropReason]| {
        snapshot.drops().filter(|(reason, _)| reasons.contains(reason)).map(|(_, count)| count).sum()
    };
    let https = FrontendNow {
        name: Role::Https.name(),
        is_http: false,
        is_open: is_open(Role::Https),
        sessions: context.sessions,
        limit: sessions.shared.capacity,
        counters: process.https.clone(),
        denied: process.drops.iter().sum(),
        denied_connections: of(&BY_SOURCE),
        errors: of(&BY_HELLO),
    };
    let http = FrontendNow {
        name: Role::Http.name(),
        is_http: true,
        is_open: is_open(Role::Http),
        sessions: context.redirects,
        limit: REDIRECT_CLIENTS as u64,
        counters: process.http.clone(),
        denied: 0,
        denied_connections: 0,
        errors: process.http.errors,
    };
    let has_redirect = !context.config.redirect.is_empty();
    [Some(https), has_redirect.then_some(http)].into_iter().flatten().collect()
}

fn add_routes(context: &Context, Room { routes, servers }: &mut Room) {
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
            // Of the backups, connections go to the first only.
            backup_weight = if backup == 1 { member.weight().into() } else { backup_weight };
        } else {
            active += 1;
            weight += u64::from(member.weight());
        }
    }
    RouteNow {
        name: Rc::clone(route.name()),
        balance: route.config().balance,
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

fn server(route: &fleet::Route, index: u32, member: &Member, server: &fleet::Server, now: Time) -> ServerNow {
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
        probes: probes(member.health()),
    }
}

fn probes(health: &Health) -> Option<ProbesNow> {
    let check = health.check();
    (check.probe != Probe::Off).then(|| ProbesNow {
        interval: check.interval,
        fraction: health.fraction(),
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
