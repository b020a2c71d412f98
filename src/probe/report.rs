//! What a finished probe changes.
use crate::config::OnDown;
use crate::context::{Context, Timer};
use crate::fleet::ServerId;
use crate::policy::health::{Change, Checked};
use crate::policy::servers::Group;

/// Takes a verdict: tells the server's health, arms the next probe, and says in the log when the server goes down or
/// comes back.
pub fn report(id: ServerId, checked: Checked, context: &mut Context) {
    let Context { fleet, now, timers, log, roomy, fallen, .. } = context;
    let Some(route) = fleet.route_mut(id.route) else { return };
    let words = describe(&checked);
    let had_server = route.group.standing().is_up();
    let change = route.group.report(*now, id.server, checked);
    let Some(member) = route.group.member(id.server) else { return };
    if let (Some(at), Some(server)) = (member.health().next_probe(), route.servers.get_mut(id.server as usize)) {
        server.next_probe.arm(timers, at, Timer::NextProbe(id));
    }
    let (place, name) = (&*route.config.name, &*member.server().name);
    let counts = count(&route.group);
    match change {
        None => {}
        Some(Change::Up) => {
            log.notice(*now, format_args!("Server {place}/{name} is UP, reason: {words}. {counts} online."));
            roomy.push(id.route);
        }
        Some(Change::Down) => {
            log.notice(*now, format_args!("Server {place}/{name} is DOWN, reason: {words}. {counts} left."));
            if had_server && !route.group.standing().is_up() {
                log.notice(*now, format_args!("backend {place} has no server available!"));
            }
            if route.config.on_down == OnDown::Close {
                fallen.push(id);
            }
        }
    }
}

/// As HAProxy words it.
fn describe(checked: &Checked) -> String {
    let code = checked.status.map(|status| format!(", code: {status}")).unwrap_or_default();
    let info = if checked.info.is_empty() { String::new() } else { format!(", info: \"{}\"", checked.info) };
    format!("{}{code}{info}, check duration: {}ms", checked.result.describe(), checked.took.as_millis())
}

fn count(group: &Group) -> String {
    format!("{} active and {} backup servers", group.active_up(), group.backup_up())
}
