//! What the end of a probe changes, and what the log says about servers.
use std::rc::Rc;

use rustix::io::Errno;

use super::PAUSE;
use crate::access_log::{Event, InService, Transition, Why};
use crate::config::OnDown;
use crate::context::{Context, Timer};
use crate::fleet::{Route, ServerId};
use crate::metrics;
use crate::net;
use crate::policy::health::{Change, Checked, Standing};
use crate::policy::servers::{Member, Rise};

/// Takes a verdict: updates the server's health, arms the next probe, and logs that the server went down or came up.
/// Answers whether it did.
pub fn report(id: ServerId, checked: &Checked, context: &mut Context) -> bool {
    let Context { fleet, now, timers, process, .. } = context;
    process.last_probe = Some(*now);
    let change = fleet.report(*now, id, checked.clone());
    let next = fleet.route(id.route).and_then(|route| route.group().member(id.server)?.health().next_probe());
    if let (Some(at), Some(timer)) = (next, fleet.probe_timer(id)) {
        timer.arm(timers, at, Timer::NextProbe(id));
    }
    if change.is_some() {
        tell(id, Why::Checked(checked), context);
    }
    if change == Some(Change::Down) && context.fleet.route(id.route).is_some_and(closes) {
        context.fallen.push(id);
    }
    change.is_some()
}

fn closes(route: &Route) -> bool {
    route.config().outage.on_down == OnDown::Close
}

/// Takes the end of a probe without a verdict: tries again after a pause, and logs the first of these in a row.
pub fn no_verdict(id: ServerId, error: Errno, context: &mut Context) {
    let Context { fleet, now, timers, .. } = context;
    let is_first = fleet.no_verdict(id);
    if let Some(timer) = fleet.probe_timer(id) {
        timer.arm(timers, *now + PAUSE, Timer::NextProbe(id));
    }
    let Some(route) = fleet.route(id.route).filter(|_| is_first) else { return };
    let Some(member) = route.group().member(id.server) else { return };
    log::warn!("{}: no verdict, \"{}\"; it counts as before.", title(route, member), net::words(error));
}

/// Logs that a server came up without a passed probe.
pub fn risen(id: ServerId, why: Rise, context: &mut Context) {
    let why = match why {
        Rise::Back => "it is in the configuration again",
        Rise::Moved => "its address has changed",
        Rise::Unchecked => "its checks are off",
        Rise::Ready => "an operator ended its maintenance",
    };
    tell(id, Why::Said(why), context);
}

/// Logs a server's change of state and adds it to the page's changes; then logs its route, if that has changed with it.
fn tell(id: ServerId, why: Why<'_>, context: &mut Context) {
    let Context { fleet, now, process, log, .. } = context;
    let Some(route) = fleet.route(id.route) else { return };
    let (group, name) = (route.group(), route.name());
    let Some(member) = group.member(id.server) else { return };
    let (server, standing) = (member.server(), member.health().standing());
    let transition = transition(standing);
    let in_service = InService { active: group.active_up(), backup: group.backup_up() };
    let is_backup = server.backup;
    log.tell(*now, &Event::Server { route: name, server: &server.name, is_backup, transition, why, in_service });
    let why = match why {
        Why::Checked(checked) => checked.found(),
        Why::Said(words) => words.to_owned(),
    };
    let (route, server) = (Rc::clone(name), server.name.clone());
    process.changes.push(metrics::Change { at: *now, route, server, is_up: transition.is_up, why: why.into() });
    tell_route_changes(context);
}

/// Logs the routes that lost their last server or have one again.
pub fn tell_route_changes(context: &mut Context) {
    let Context { fleet, now, log, .. } = context;
    for id in fleet.take_changed_routes() {
        if let Some(route) = fleet.route(id) {
            log.tell(*now, &Event::Route { route: route.name(), transition: transition(route.group().standing()) });
        }
    }
}

fn transition(standing: &Standing) -> Transition {
    Transition { is_up: standing.is_up(), lasted: standing.lasted() }
}

/// A server's name as HAProxy's log has it.
fn title(route: &Route, member: &Member) -> String {
    let server = if member.server().backup { "Backup Server" } else { "Server" };
    format!("{server} {}/{}", route.config().name, member.server().name)
}
