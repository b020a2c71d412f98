//! What a finished probe changes, and what the log says of servers.
use std::rc::Rc;

use rustix::io::Errno;

use super::PAUSE;
use crate::config::OnDown;
use crate::context::{Context, Timer};
use crate::fleet::{Route, ServerId};
use crate::metrics;
use crate::net;
use crate::policy::health::{Change, Checked};
use crate::policy::servers::{Member, Rise};
use crate::policy::time::Time;

/// Takes a verdict: tells the server's health, arms the next probe, and says in the log when the server goes down or
/// comes back. Answers whether it did either.
pub fn report(id: ServerId, checked: Checked, context: &mut Context) -> bool {
    let Context { fleet, now, timers, process, fallen, .. } = context;
    process.last_probe = Some(*now);
    let Some(route) = fleet.route(id.route) else { return false };
    let (words, found) = (describe(&checked), found(&checked));
    let had_server = route.group().standing().is_up();
    let change = fleet.report(*now, id, checked);
    let next = fleet.route(id.route).and_then(|route| route.group().member(id.server)?.health().next_probe());
    if let (Some(at), Some(timer)) = (next, fleet.probe_timer(id)) {
        timer.arm(timers, at, Timer::NextProbe(id));
    }
    let Some(route) = fleet.route(id.route) else { return false };
    let Some(member) = route.group().member(id.server) else { return false };
    match change {
        None => {}
        Some(Change::Up) => {
            log::info!("{} is UP, {words}. {}", title(route, member), counts(route, "online"));
            process.changes.push(changed(*now, route, member, true, found));
        }
        Some(Change::Down) => {
            log::warn!("{} is DOWN, {words}. {}", title(route, member), counts(route, "left"));
            process.changes.push(changed(*now, route, member, false, found));
            if had_server && !route.group().standing().is_up() {
                log::error!("backend {} has no server available!", route.config().name);
            }
            if route.config().on_down == OnDown::Close {
                fallen.push(id);
            }
        }
    }
    change.is_some()
}

/// Takes the end of a probe that was no verdict: tries again after a pause, and says so in the log at the first in a row.
pub fn no_verdict(id: ServerId, error: Errno, context: &mut Context) {
    let Context { fleet, now, timers, .. } = context;
    let is_first = fleet.no_verdict(id);
    if let Some(timer) = fleet.probe_timer(id) {
        timer.arm(timers, *now + PAUSE, Timer::NextProbe(id));
    }
    let Some(route) = fleet.route(id.route).filter(|_| is_first) else { return };
    let Some(member) = route.group().member(id.server) else { return };
    let words = net::words(error);
    let words = format_args!("{}: no verdict, \"{words}\"; it counts as before.", title(route, member));
    log::warn!("{words}");
}

/// Says in the log that a server came up by another word than a probe's.
pub fn risen(id: ServerId, why: Rise, context: &mut Context) {
    let Context { fleet, now, process, .. } = context;
    let Some(route) = fleet.route(id.route) else { return };
    let Some(member) = route.group().member(id.server) else { return };
    let why = match why {
        Rise::Back => "it is in the configuration again",
        Rise::Moved => "its address has changed",
        Rise::Unchecked => "its checks are off",
        Rise::Ready => "an operator has it back from maintenance",
    };
    log::info!("{} is UP, reason: {why}. {}", title(route, member), counts(route, "online"));
    process.changes.push(changed(*now, route, member, true, why.to_owned()));
}

/// The change of a server, for the page.
fn changed(at: Time, route: &Route, member: &Member, is_up: bool, why: String) -> metrics::Change {
    let server = member.server().name.clone();
    metrics::Change { at, route: Rc::clone(route.name()), server, is_up, why: why.into() }
}

/// What a probe found, in a few words.
fn found(checked: &Checked) -> String {
    let code = checked.status.map(|status| format!(" {status}")).unwrap_or_default();
    let info = if checked.info.is_empty() { String::new() } else { format!(": {}", checked.info) };
    format!("{}{code}{info}", checked.result.describe())
}

/// A server as HAProxy calls it.
fn title(route: &Route, member: &Member) -> String {
    let server = if member.server().backup { "Backup Server" } else { "Server" };
    format!("{server} {}/{}", route.config().name, member.server().name)
}

/// How many servers there are, as HAProxy words it.
fn counts(route: &Route, what: &str) -> String {
    let (active, backup) = (route.group().active_up(), route.group().backup_up());
    let on_backup = if active == 0 && backup > 0 { " Running on backup." } else { "" };
    format!("{active} active and {backup} backup servers {what}.{on_backup}")
}

/// As HAProxy words it.
fn describe(checked: &Checked) -> String {
    let code = checked.status.map(|status| format!(", code: {status}")).unwrap_or_default();
    let info = if checked.info.is_empty() { String::new() } else { format!(", info: \"{}\"", checked.info) };
    format!("reason: {}{code}{info}, check duration: {}ms", checked.result.describe(), checked.took.as_millis())
}
