//! `diff`: what a reload would change in the running process.
use clap::Args;
use fiscalismia_lb::config::{self, File};

use super::Socket;
use crate::cli::{ConfigFile, Outcome, load, print};

/// Show what a reload of the file would change in the running process
#[derive(Args)]
pub(in crate::cli) struct Diff {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    socket: Socket,
}

impl Diff {
    pub(in crate::cli) fn run(self) -> Outcome {
        let File { config: new, text } = load(&self.file.config)?;
        let old = self.socket.ask("GET", "/config")?;
        let lines = config::diff(&old, &text);
        if lines.is_empty() {
            return print("A reload changes nothing.\n");
        }
        let mut said = lines.join("\n");
        said.push('\n');
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
            said = format!("{said}{words} server taken out of the file, and may finish.\n");
        }
        print(&said)
    }
}
