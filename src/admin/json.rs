//! `/stats.json`: what the page shows, for programs. Durations are in seconds, moments in seconds since 1970, and what
//! does not exist is `null`.
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::report::View;
use crate::metrics::{
    FrontendNow, Phase, ProbesNow, RouteNow, STEP, ServerNow, Snapshot, StandingNow, Summary, Traffic, Usage,
};
use crate::policy::servers::Override;
use crate::vocabulary::{CheckResult, CloseReason};

/// Appends the process and its frontends (0), a route, or the end; `false` once nothing is left.
pub(super) fn piece(snapshot: &Snapshot, _: View, index: usize, out: &mut Vec<u8>) -> bool {
    let Some(index) = index.checked_sub(1) else {
        append(&process(snapshot), out);
        // The object stays open for the routes.
        out.pop();
        out.extend_from_slice(b",\"routes\":[");
        return true;
    };
    if let Some(now) = snapshot.routes.get(index) {
        if index > 0 {
            out.push(b',');
        }
        append(&route(now, snapshot), out);
        return true;
    }
    let is_end = index == snapshot.routes.len();
    if is_end {
        out.extend_from_slice(b"]}\n");
    }
    is_end
}

fn append(value: &Value, out: &mut Vec<u8>) {
    // Fails only for maps whose keys are not strings, and if writing fails.
    let _ = serde_json::to_writer(out, value);
}

fn process(s: &Snapshot) -> Value {
    let process = &s.process;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": s.unix(s.now),
        "started": s.started.as_secs_f64(),
        "process_started": s.process_started.as_secs_f64(),
        "draining": s.is_draining,
        "connections": s.connections,
        "connections_limit": s.capacity,
        "phases": counts(Phase::ALL.map(Phase::name).into_iter().zip(s.phases)),
        "half_closed": s.half_closed,
        "drops": counts(s.drops().map(|(reason, count)| (reason.name(), count))),
        "closes": counts(CloseReason::ALL.map(CloseReason::name).into_iter().zip(process.closes)),
        "bytes_spliced": process.bytes_spliced,
        "accept_pauses": process.accept_pauses,
        "ports_short": process.ports_short,
        "log_lines_lost": s.lost_lines,
        "rate_limit_sources": s.sources.remembered,
        "last_probe": process.last_probe.map(|time| s.unix(time)),
        "config": {
            "generation": 1 + process.reloads.succeeded,
            "last_reload": process.reloads.last.as_secs_f64(),
            "last_reload_worked": process.reloads.last_succeeded,
            "failed_reloads": process.reloads.failed,
        },
        "frontends": s.frontends.iter().map(|now| frontend(now, s)).collect::<Value>(),
        "changes": s.process.changes.latest().map(|change| json!({
            "at": s.unix(change.at),
            "route": *change.route,
            "server": *change.server,
            "state": if change.is_up { "UP" } else { "DOWN" },
            "why": *change.why,
        })).collect::<Value>(),
        "history": history(s),
    })
}

fn counts(named: impl Iterator<Item = (&'static str, u64)>) -> Value {
    Value::Object(named.map(|(name, count)| (name.to_owned(), count.into())).collect())
}

/// The last hour: the end of each step, and its rates per second.
fn history(s: &Snapshot) -> Value {
    let steps = s
        .history
        .steps()
        .map(|step| json!([s.unix(step.at).round(), step.accepted, step.dropped, step.bytes_up, step.bytes_down]));
    json!({
        "step": STEP.as_secs(),
        "columns": ["until", "connections", "drops", "bytes_up", "bytes_down"],
        "steps": steps.collect::<Value>(),
    })
}

fn frontend(now: &FrontendNow, s: &Snapshot) -> Value {
    json!({
        "name": *now.name,
        "state": if now.is_open { "UP" } else { "DOWN" },
        "sessions": {
            "now": now.sessions,
            "peak": now.counters.most_sessions,
            "limit": now.limit,
            "total": now.sessions_total(),
        },
        "connections": now.counters.accepted.total(),
        "rate": now.counters.accepted.per_second(s.now),
        "rate_peak": now.counters.accepted.most(),
        "bytes": { "up": now.counters.bytes_up, "down": now.counters.bytes_down },
        "denied": now.denied,
        "denied_connections": now.denied_connections,
        "errors": now.errors,
    })
}

fn route(now: &RouteNow, s: &Snapshot) -> Value {
    let mut route = place(&now.traffic, &now.usage, now.open, &now.standing, now.last_session, s);
    let servers = s.servers_of(now).iter().map(|now| server(now, s));
    route.extend(entries([
        ("name", json!(*now.name)),
        ("sni", now.config.sni.iter().map(|name| json!(name.to_string())).collect()),
        ("state", json!(if now.standing.is_up { "UP" } else { "DOWN" })),
        ("queued", json!(now.queued)),
        ("queued_peak", json!(now.most_queued)),
        ("active_servers", json!(now.active)),
        ("backup_servers", json!(now.backup)),
        ("servers", servers.collect()),
    ]));
    Value::Object(route)
}

fn server(now: &ServerNow, s: &Snapshot) -> Value {
    let mut server = place(&now.traffic, &now.usage, now.open.into(), &now.standing, now.last_session, s);
    if now.probes.is_none() {
        server.extend(entries([("downs", Value::Null), ("downtime", Value::Null)]));
    }
    server.extend(entries([
        ("name", json!(*now.name)),
        ("address", json!(now.address)),
        ("state", json!(now.state().word())),
        ("weight", json!(now.weight)),
        ("weight_in_file", json!(now.weight_in_file)),
        ("set", if now.set.is_set() { set(&now.set, s) } else { Value::Null }),
        ("backup", json!(now.is_backup)),
        ("limit", json!(now.limit)),
        ("check", now.probes.as_ref().map_or(Value::Null, |probes| check(now, probes))),
    ]));
    Value::Object(server)
}

/// The operator's setting.
fn set(set: &Override, s: &Snapshot) -> Value {
    json!({
        "mode": set.mode,
        "weight": set.weight,
        "since": s.unix(set.since),
        "until": set.until.map(|until| s.unix(until)),
        "by_uid": set.uid,
    })
}

/// Members that routes and servers share.
fn place(
    traffic: &Traffic,
    usage: &Usage,
    open: u64,
    standing: &StandingNow,
    last_session: Option<Duration>,
    s: &Snapshot,
) -> Map<String, Value> {
    let sessions = json!({ "now": open, "peak": usage.most_sessions, "total": usage.sessions.total() });
    entries([
        ("since", json!(s.unix(standing.since))),
        ("downs", json!(standing.downs)),
        ("downtime", json!(standing.downtime.as_secs_f64())),
        ("sessions", sessions),
        ("rate", json!(usage.sessions.per_second(s.now))),
        ("rate_peak", json!(usage.sessions.most())),
        ("last_session", json!(last_session.map(|ago| s.unix(s.now) - ago.as_secs_f64()))),
        ("bytes", json!({ "up": traffic.bytes_up, "down": traffic.bytes_down })),
        ("connects", json!(traffic.connects)),
        ("connect_errors", json!(traffic.connect_errors)),
        ("response_errors", json!(traffic.response_errors)),
        ("retries", json!(traffic.retries)),
        ("redispatches", json!(traffic.redispatches)),
        ("client_aborts", json!(traffic.client_aborts)),
        ("server_aborts", json!(traffic.server_aborts)),
        ("not_tls", json!(traffic.not_tls)),
        ("queue_time", times(&usage.queue_time)),
        ("connect_time", times(&usage.connect_time)),
        ("total_time", times(&usage.total_time)),
    ])
}

fn check(server: &ServerNow, probes: &ProbesNow) -> Value {
    let last = probes.last.as_ref();
    let result = server.result();
    json!({
        "status": result.map(CheckResult::code),
        "description": result.map(CheckResult::describe),
        "passed": last.map(|last| last.result.passed()),
        "code": last.and_then(|last| last.status),
        "info": last.map(|last| &*last.info).filter(|info| !info.is_empty()),
        "took": last.map(|last| last.took.as_secs_f64()),
        "interval": probes.interval.as_secs_f64(),
        "in_a_row": probes.tally.count,
        "rise": probes.rise,
        "fall": probes.fall,
        "failures": probes.failures,
    })
}

fn times(summary: &Summary) -> Value {
    json!({ "average": summary.average(), "longest": summary.longest().map(|longest| longest.as_secs_f64()) })
}

fn entries<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
