//! The answers of the control socket.
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::Report;
use crate::fleet::{Fleet, RouteId};
use crate::http;
use crate::policy::servers::Member;
use crate::policy::time::Time;

/// An answer that is made while it is written.
pub enum Body {
    /// The statistics.
    Report(Report),
    /// Connections, a line each, the last first.
    Connections(Vec<Connection>),
}

/// An open connection.
#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    /// The client's address.
    pub client: std::net::SocketAddr,
    /// The name that it asks for, where that is known; what is no printable ASCII is escaped.
    pub sni: Option<String>,
    /// What it is about.
    pub phase: &'static str,
    /// The connection's route.
    pub route: Option<Box<str>>,
    /// Its server.
    pub server: Option<Box<str>>,
    /// How long it has lasted, in seconds.
    pub age: f64,
    /// Bytes from the client.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
}

impl http::Body for Body {
    fn make(&mut self, out: &mut Vec<u8>, least: usize) -> bool {
        match self {
            Body::Report(report) => report.make(out, least),
            Body::Connections(left) => {
                let enough = out.len() + least;
                while out.len() < enough {
                    let Some(connection) = left.pop() else { return false };
                    // Fails for keys that are no strings, which these are.
                    let _ = serde_json::to_writer(&mut *out, &connection);
                    out.push(b'\n');
                }
                true
            }
        }
    }
}

/// The servers of a route, or of all, as a JSON array and a newline.
#[must_use]
pub fn servers(fleet: &Fleet, of: Option<RouteId>, now: Time) -> String {
    let routes = fleet.routes().filter(|(id, _)| of.is_none_or(|of| of == *id));
    let servers: Vec<Value> = routes
        .flat_map(|(_, route)| route.group().members().map(|(_, member)| server(route.name(), member, now)))
        .collect();
    format!("{}\n", Value::from(servers))
}

fn server(route: &str, member: &Member, now: Time) -> Value {
    let (config, set) = (member.server(), member.set());
    json!({
        "route": route,
        "server": config.name,
        "address": config.address,
        "is_up": member.health().is_up(),
        "is_backup": config.backup,
        "mode": set.mode,
        "weight": member.weight(),
        "weight_in_file": config.weight,
        "open": member.open(),
        "takes_connections": member.takes_connections(),
        "set": set.is_set().then(|| json!({
            "by_uid": set.uid,
            "seconds_ago": now.since(set.since).as_secs(),
            "seconds_left": set.until.map(|until| until.since(now).as_secs()),
        })),
    })
}
