//! `diff`: what a reload would change in the running process.
use clap::Args;
use fiscalismia_lb::config;

use super::Socket;
use crate::cli::{ConfigFile, Outcome, load, print};

/// Say what a reload of the file would change in the running process
#[derive(Args)]
pub(in crate::cli) struct Diff {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    socket: Socket,
}

impl Diff {
    pub(in crate::cli) fn run(self) -> Outcome {
        let new = load(&self.file.config)?;
        let old = self.socket.ask("GET", "/config")?;
        let lines = config::diff(&old, &new.text);
        if lines.is_empty() {
            return print("A reload changes nothing.\n");
        }
        let mut text = lines.join("\n");
        text.push('\n');
        let servers = self.socket.json("GET", "/servers")?;
        let stays = |entry: &serde_json::Value| {
            let route = new.routes.iter().find(|route| entry["route"] == *route.name);
            route.is_some_and(|route| route.servers.iter().any(|server| entry["server"] == *server.name))
        };
        let gone = servers.as_array().into_iter().flatten().filter(|entry| !stays(entry));
        let open: u64 = gone.filter_map(|entry| entry["open"].as_u64()).sum();
        if open > 0 {
            let words =
                if open == 1 { "1 connection has its".to_owned() } else { format!("{open} connections have their") };
            text = format!("{text}{words} server taken out of the file, and may finish.\n");
        }
        print(&text)
    }
}
