//! `top`: routes and servers, drawn anew every second.
use std::io::{IsTerminal, stdout};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{Socket, number, table, text};
use crate::cli::{Outcome, print};

/// From one picture to the next.
const PACE: Duration = Duration::from_secs(1);

/// Show routes, servers and rates of the running process, drawn anew every second; Ctrl-C ends it
#[derive(Args)]
pub(in crate::cli) struct Top {
    /// Draw once and exit; so it does where stdout is no terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Top {
    pub(in crate::cli) fn run(self) -> Outcome {
        let is_still = self.once || !stdout().is_terminal();
        loop {
            let stats = self.socket.json("GET", "/stats.json")?;
            let picture = picture(&stats);
            if is_still {
                return print(&picture);
            }
            // ECMA-48: the cursor to the first place, and all behind it erased.
            print(&format!("\x1b[H\x1b[2J{picture}"))?;
            sleep(PACE);
        }
    }
}

fn picture(stats: &Value) -> String {
    let mut rows =
        vec![["NAME", "STATE", "OPEN", "PER SECOND", "TOTAL", "UP", "DOWN", "ERRORS"].map(str::to_owned).to_vec()];
    for route in entries(&stats["routes"]) {
        rows.push(row(route, text(route, "name").to_owned()));
        for server in entries(&route["servers"]) {
            rows.push(row(server, format!("  {}", text(server, "name"))));
        }
    }
    let (drops, closes) = (reasons(&stats["drops"]), reasons(&stats["closes"]));
    format!("fiscalismia-lb {}\nrefused: {drops}\nended: {closes}\n\n{}", text(stats, "version"), table(&rows))
}

/// The reasons that were given so far, and how often.
fn reasons(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    let given = counts.filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0));
    let given: Vec<String> = given.map(|(reason, count)| format!("{reason} {count}")).collect();
    if given.is_empty() { "none".to_owned() } else { given.join(", ") }
}

fn row(entry: &Value, name: String) -> Vec<String> {
    let (sessions, bytes) = (&entry["sessions"], &entry["bytes"]);
    vec![
        name,
        text(entry, "state").to_owned(),
        number(sessions, "now").to_string(),
        number(entry, "rate").to_string(),
        number(sessions, "total").to_string(),
        size(&bytes["up"]),
        size(&bytes["down"]),
        (number(entry, "connect_errors") + number(entry, "response_errors")).to_string(),
    ]
}

/// An array, or the values of an object.
fn entries(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(all) => all.iter().collect(),
        Value::Object(all) => all.values().collect(),
        _ => Vec::new(),
    }
}

/// Bytes, in the largest unit of which there is one.
fn size(value: &Value) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut left = value.as_u64().unwrap_or_default() as f64;
    let mut unit = 0;
    while left >= 1024.0 && unit + 1 < UNITS.len() {
        left /= 1024.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    if unit == "B" { format!("{left:.0} B") } else { format!("{left:.1} {unit}") }
}
