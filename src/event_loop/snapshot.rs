//! The proxy at one moment, for whoever asks.
use std::collections::HashMap;
use std::ops::Range;

use super::EventLoop;
use super::control::Phase as LoopPhase;
use crate::config::Probe;
use crate::context::{Context, Timer};
use crate::fleet::{self, ServerId};
use crate::metrics::{
    FrontendNow, Phase, PipesNow, ProbesNow, RouteNow, STEP, Sample, ServerNow, Snapshot, StandingNow,
};
use crate::net::Role;
use crate::policy::health::{Health, Standing};
use crate::policy::reason::DropReason;
use crate::policy::servers::Member;
use crate::policy::time::Time;
use crate::redirect;

/// Drops for where a client came from, before a byte was read.
const BY_SOURCE: [DropReason; 2] = [DropReason::RateLimited, DropReason::TooManyConnections];
/// Drops for what a client sent, or did not send.
const BY_HELLO: [DropReason; 4] =
    [DropReason::NotTls, DropReason::MalformedHello, DropReason::HelloTimeout, DropReason::ClosedEarly];

impl EventLoop {
    /// Takes a snapshot. Connections that are open count with the bytes that they have moved so far, so that a graph of
    /// bytes does not wait for them to end.
    pub(super) fn snapshot(&self) -> Snapshot {
        let context = &self.context;
        let (routes, servers) = routes(context);
        let mut snapshot = Snapshot {
            now: context.now,
            epoch: self.epoch,
            started: self.started,
            is_draining: self.phase != LoopPhase::Serving,
            process: context.process.clone(),
            connections: context.sessions + context.redirects,
            capacity: context.capacity,
            most_fds: self.fds.limit(),
            phases: [0; Phase::ALL.len()],
            half_closed: 0,
            pipes: PipesNow { most: context.pipes.most(), used: context.pipes.lent(), free: context.pipes.kept() },
            lost_lines: context.log.lost(),
            sources: (context.sources.sources(), context.sources.evicted()),
            frontends: Vec::new(),
            routes,
            servers,
            history: self.history.clone(),
        };
        self.add_open_sessions(&mut snapshot);
        snapshot.frontends = self.frontends(&snapshot);
        snapshot
    }
}

impl EventLoop {
    /// The counters of the process as they are now, for the history.
    pub(super) fn take_sample(&mut self) {
        let Context { now, process, .. } = &self.context;
        let mut sample = Sample {
            at: *now,
            accepted: process.https.accepted.total(),
            dropped: process.drops.iter().sum(),
            bytes_up: process.https.bytes_up,
            bytes_down: process.https.bytes_down,
        };
        for (_, session) in self.sessions.iter() {
            let moved = session.moved();
            sample.bytes_up += moved.up;
            sample.bytes_down += moved.down;
        }
        self.history.push(sample);
        self.context.timers.push(self.context.now + STEP, Timer::Sample);
    }

    fn add_open_sessions(&self, snapshot: &mut Snapshot) {
        let servers: HashMap<ServerId, usize> = ids(&self.context).zip(0..).collect();
        let routes: HashMap<u32, usize> = self.context.fleet.routes().map(|(place, _)| place).zip(0..).collect();
        for (_, session) in self.sessions.iter() {
            if let Some(count) = snapshot.phases.get_mut(session.phase() as usize) {
                *count += 1;
            }
            snapshot.half_closed += u64::from(session.is_half_closed());
            let (moved, Some(id)) = (session.moved(), session.server()) else { continue };
            snapshot.process.https.bytes_up += moved.up;
            snapshot.process.https.bytes_down += moved.down;
            snapshot.process.bytes_spliced += moved.spliced;
            let route = routes.get(&id.route).and_then(|index| snapshot.routes.get_mut(*index));
            let server = servers.get(&id).and_then(|index| snapshot.servers.get_mut(*index));
            let traffics = [route.map(|route| &mut route.traffic), server.map(|server| &mut server.traffic)];
            for traffic in traffics.into_iter().flatten() {
                traffic.bytes_up += moved.up;
                traffic.bytes_down += moved.down;
            }
        }
    }

    fn frontends(&self, snapshot: &Snapshot) -> Vec<FrontendNow> {
        let context = &self.context;
        let process = &snapshot.process;
        let is_open = |role| self.listeners.iter().any(|(_, listener)| listener.role == role);
        let of = |reasons: &[DropReason]| {
            snapshot.drops().filter(|(reason, _)| reasons.contains(reason)).map(|(_, count)| count).sum()
        };
        let https = FrontendNow {
            name: Role::Https.name(),
            labels: labels(Role::Https.name(), None),
            is_http: false,
            is_open: is_open(Role::Https),
            sessions: context.sessions,
            limit: context.capacity,
            counters: process.https.clone(),
            denied: process.drops.iter().sum(),
            denied_connections: of(&BY_SOURCE),
            errors: of(&BY_HELLO),
        };
        let http = FrontendNow {
            name: Role::Http.name(),
            labels: labels(Role::Http.name(), None),
            is_http: true,
            is_open: is_open(Role::Http),
            sessions: context.redirects,
            limit: redirect::MOST_CLIENTS as u64,
            counters: process.http.clone(),
            denied: 0,
            denied_connections: 0,
            errors: process.http.errors,
        };
        let has_redirect = !context.config.redirect.is_empty();
        [Some(https), has_redirect.then_some(http)].into_iter().flatten().collect()
    }
}

/// Every server of the configuration, in its order.
fn ids(context: &Context) -> impl Iterator<Item = ServerId> {
    context
        .fleet
        .routes()
        .flat_map(|(place, route)| route.group.members().map(move |(server, _)| ServerId { route: place, server }))
}

fn routes(context: &Context) -> (Vec<RouteNow>, Vec<ServerNow>) {
    let (mut routes, mut servers) = (Vec::new(), Vec::new());
    for (_, route) in context.fleet.routes() {
        let first = servers.len();
        servers.extend(route.group.members().filter_map(|(index, member)| {
            Some(server(&route.config.name, member, route.servers.get(index as usize)?, context.now))
        }));
        routes.push(route_now(route, first..servers.len(), context.now));
    }
    (routes, servers)
}

fn route_now(route: &fleet::Route, servers: Range<usize>, now: Time) -> RouteNow {
    let in_service = |backup: bool| {
        let members = route.group.members().map(|(_, member)| member);
        members.filter(move |member| member.takes_connections() && member.server().backup == backup)
    };
    let active = in_service(false).map(|member| u64::from(member.server().weight)).sum();
    // Of the backups, HAProxy uses the first only.
    let backup = in_service(true).next().map_or(0, |member| u64::from(member.server().weight));
    RouteNow {
        name: route.config.name.clone(),
        labels: labels(&route.config.name, None),
        balance: route.config.balance,
        standing: standing(route.group.standing(), now),
        open: route.open,
        queued: route.queue.len(),
        most_queued: route.most_queued,
        traffic: route.traffic(),
        usage: route.usage.clone(),
        last_session: route.usage.sessions.last().map(|last| now.since(last)),
        servers,
        active: in_service(false).count(),
        backup: in_service(true).count(),
        weight: if active > 0 { active } else { backup },
    }
}

fn server(route: &str, member: &Member, server: &fleet::Server, now: Time) -> ServerNow {
    let config = member.server();
    ServerNow {
        name: config.name.clone(),
        labels: labels(route, Some(&config.name)),
        address: config.address,
        weight: config.weight,
        is_backup: config.backup,
        limit: config.max_connections,
        open: member.open(),
        traffic: server.traffic.clone(),
        usage: server.usage.clone(),
        last_session: server.usage.sessions.last().map(|last| now.since(last)),
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

/// Names of routes and servers hold nothing that would have to be escaped.
fn labels(proxy: &str, server: Option<&str>) -> Box<str> {
    match server {
        Some(server) => format!("proxy=\"{proxy}\",server=\"{server}\""),
        None => format!("proxy=\"{proxy}\""),
    }
    .into()
}
