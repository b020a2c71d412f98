//! `top`: routes and servers, drawn again every second.
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;
use fiscalismia_lb::config::count;
use serde_json::Value;

use super::{Socket, bytes, number, span, table, text};
use crate::cli::{Outcome, print};

#[cfg(feature = "top")]
mod screen;

/// Time from one picture to the next.
const PACE: Duration = Duration::from_secs(1);
/// The columns; those from the third on are numbers.
const COLUMNS: [&str; 8] = ["NAME", "STATE", "OPEN", "PER SECOND", "TOTAL", "TO SERVER", "TO CLIENT", "ERRORS"];

/// Show routes, servers and rates of the running process, updated every second
///
/// On a terminal: q ends it, p or the space bar pauses, s sorts by the next column (open, per second, errors, as in the
/// file), the arrow keys scroll. A program that was built without the feature "top" draws a plain table; Ctrl-C ends
/// it.
#[derive(Args)]
pub(in crate::cli) struct Top {
    /// Draw once and exit, as always when stdout is not a terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Top {
    pub(in crate::cli) fn run(self) -> Outcome {
        let stats = self.socket.json("GET", "/stats.json")?;
        if self.once || !stdout().is_terminal() {
            return print(&picture(&stats));
        }
        follow(&self.socket, stats)
    }
}

#[cfg(feature = "top")]
fn follow(socket: &Socket, stats: Value) -> Outcome {
    screen::follow(socket, stats)
}

#[cfg(not(feature = "top"))]
fn follow(socket: &Socket, mut stats: Value) -> Outcome {
    loop {
        // ECMA-48: the cursor to the first place, and all behind it erased.
        print(&format!("\x1b[H\x1b[2J{}", picture(&stats)))?;
        std::thread::sleep(PACE);
        stats = socket.json("GET", "/stats.json")?;
    }
}

fn picture(stats: &Value) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
    rows.extend(routes(stats).flat_map(group).map(|entry| row(&entry)));
    format!("{}\n\n{}", head(stats).join("\n"), table(&rows, 2..COLUMNS.len()))
}

/// The lines above the table: the process, its refused clients, and the ends of connections.
fn head(stats: &Value) -> [String; 3] {
    let uptime = stats["now"].as_f64().unwrap_or_default() - stats["started"].as_f64().unwrap_or_default();
    let draining = if stats["draining"] == true { ", draining" } else { "" };
    [
        format!(
            "fiscalismia-lb {}, up {}, {} of {} open{draining}",
            text(stats, "version"),
            span(uptime.max(0.0) as u64),
            number(stats, "connections"),
            count(number(stats, "connections_limit") as usize, "connection"),
        ),
        format!("refused: {}", reasons(&stats["drops"])),
        format!("ended: {}", reasons(&stats["closes"])),
    ]
}

/// The reasons that occurred, with their numbers.
fn reasons(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    let given = counts.filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0));
    let given: Vec<String> = given.map(|(reason, count)| format!("{reason} {count}")).collect();
    if given.is_empty() { "none".to_owned() } else { given.join(", ") }
}

/// A route or a server.
struct Entry {
    name: String,
    state: String,
    open: u64,
    /// New connections in the last second.
    rate: u64,
    total: u64,
    bytes_up: u64,
    bytes_down: u64,
    errors: u64,
}

impl Entry {
    fn of(value: &Value, indent: &str) -> Entry {
        let (sessions, bytes) = (&value["sessions"], &value["bytes"]);
        Entry {
            name: format!("{indent}{}", text(value, "name")),
            state: text(value, "state").to_owned(),
            open: number(sessions, "now"),
            rate: number(value, "rate"),
            total: number(sessions, "total"),
            bytes_up: number(bytes, "up"),
            bytes_down: number(bytes, "down"),
            errors: number(value, "connect_errors") + number(value, "response_errors"),
        }
    }
}

fn routes(stats: &Value) -> impl Iterator<Item = &Value> {
    entries(&stats["routes"])
}

/// A route, then its servers.
fn group(route: &Value) -> Vec<Entry> {
    let servers = entries(&route["servers"]).map(|server| Entry::of(server, "  "));
    std::iter::once(Entry::of(route, "")).chain(servers).collect()
}

fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn row(entry: &Entry) -> Vec<String> {
    vec![
        entry.name.clone(),
        entry.state.clone(),
        entry.open.to_string(),
        entry.rate.to_string(),
        entry.total.to_string(),
        bytes(entry.bytes_up),
        bytes(entry.bytes_down),
        entry.errors.to_string(),
    ]
}
