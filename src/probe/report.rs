//! What a finished probe changes.
use crate::access_log::Level;
use crate::config::OnDown;
use crate::context::{Context, Timer};
use crate::fleet::ServerId;
use crate::policy::health::{Change, Checked};

/// Takes a verdict: tells the server's health, arms the next probe, and says in the log when the server goes down or
/// comes back. Answers whether it did either.
pub fn report(id: ServerId, checked: Checked, context: &mut Context) -> bool {
    let Context { fleet, now, timers, log, process, fallen, .. } = context;
    process.last_probe = Some(*now);
    let Some(route) = fleet.route(id.route) else { return false };
    let words = describe(&checked);
    let had_server = route.group().standing().is_up();
    let change = fleet.report(*now, id, checked);
    let next = fleet.route(id.route).and_then(|route| route.group().member(id.server)?.health().next_probe());
    if let (Some(at), Some(timer)) = (next, fleet.probe_timer(id)) {
        timer.arm(timers, at, Timer::NextProbe(id));
    }
    let Some(route) = fleet.route(id.route) else { return false };
    let Some(member) = route.group().member(id.server) else { return false };
    let (place, name) = (&*route.config().name, &*member.server().name);
    let server = if member.server().backup { "Backup Server" } else { "Server" };
    let (active, backup) = (route.group().active_up(), route.group().backup_up());
    let on_backup = if active == 0 && backup > 0 { " Running on backup." } else { "" };
    let counts = format!("{active} active and {backup} backup servers");
    match change {
        None => {}
        Some(Change::Up) => {
            log.notice(*now, format_args!("{server} {place}/{name} is UP, {words}. {counts} online.{on_backup}"));
        }
        Some(Change::Down) => {
            let words = format_args!("{server} {place}/{name} is DOWN, {words}. {counts} left.{on_backup}");
            log.say(*now, Level::Warning, words);
            if had_server && !route.group().standing().is_up() {
                log.say(*now, Level::Error, format_args!("backend {place} has no server available!"));
            }
            if route.config().on_down == OnDown::Close {
                fallen.push(id);
            }
        }
    }
    change.is_some()
}

/// As HAProxy words it.
fn describe(checked: &Checked) -> String {
    let code = checked.status.map(|status| format!(", code: {status}")).unwrap_or_default();
    let info = if checked.info.is_empty() { String::new() } else { format!(", info: \"{}\"", checked.info) };
    format!("reason: {}{code}{info}, check duration: {}ms", checked.result.describe(), checked.took.as_millis())
}
