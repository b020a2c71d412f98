//! `drain`: the running process accepts no more clients.
use std::time::Duration;

use clap::Args;
use fiscalismia_lb::config::count;

use super::{Socket, duration, wait_for};
use crate::cli::{Outcome, print};

/// Have the running process accept no more clients: /health says 503, and open connections may finish. This cannot be
/// undone
#[derive(Args)]
pub(in crate::cli) struct Drain {
    /// Wait at most so long until no connection is open; exit with 1 if one still is
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    socket: Socket,
}

impl Drain {
    pub(in crate::cli) fn run(self) -> Outcome {
        self.socket.ask("POST", "/drain")?;
        let open = || self.socket.ask("GET", "/connections").map(|lines| lines.lines().count());
        // A process without connections is gone by then.
        let now = count(open().unwrap_or(0), "connection");
        print(&format!("Draining: no client is let in any more; {now} open. The process ends with the last one.\n"))?;
        let Some(wait) = self.wait else { return Ok(()) };
        let mut left = 0;
        let is_empty = wait_for(wait, || {
            left = open().unwrap_or(0);
            Ok(left == 0)
        })?;
        if is_empty {
            print("No connection is open.\n")
        } else {
            Err(vec![format!("still {} open", count(left, "connection"))])
        }
    }
}
