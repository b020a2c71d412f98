//! `connections`: the open connections of the running process.
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{Socket, bytes, number, span, table, text};
use crate::cli::{Outcome, print};

/// List the open connections of the running process, the oldest first
#[derive(Args)]
pub(in crate::cli) struct Connections {
    #[command(flatten)]
    socket: Socket,
}

impl Connections {
    pub(in crate::cli) fn run(self) -> Outcome {
        let lines = self.socket.ask("GET", "/connections")?;
        let mut rows =
            vec![["CLIENT", "NAME", "PHASE", "SERVER", "AGE", "TO SERVER", "TO CLIENT"].map(str::to_owned).to_vec()];
        rows.extend(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).map(|entry: Value| row(&entry)));
        print(&table(&rows, 4..7))
    }
}

fn row(entry: &Value) -> Vec<String> {
    let server = if entry["server"].is_null() {
        "-".to_owned()
    } else {
        format!("{}/{}", text(entry, "route"), text(entry, "server"))
    };
    let age = Duration::from_secs_f64(entry["age"].as_f64().unwrap_or_default().max(0.0)).as_secs();
    let sent = |key: &str| bytes(number(entry, key));
    let name = entry["sni"].as_str().unwrap_or("-").to_owned();
    vec![
        text(entry, "client").to_owned(),
        name,
        text(entry, "phase").to_owned(),
        server,
        span(age),
        sent("bytes_up"),
        sent("bytes_down"),
    ]
}
