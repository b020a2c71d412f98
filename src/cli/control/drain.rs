//! `drain`: the running process accepts no more clients.
use std::time::Duration;

use clap::Args;
use fiscalismia_lb::config::count;

use super::{Socket, duration, number, wait_for};
use crate::cli::{Outcome, print};

/// Make the running process accept no more clients: /health answers 503, and open connections may finish. This cannot
/// be undone
#[derive(Args)]
pub(in crate::cli) struct Drain {
    /// Wait until no connection is open, at most this long; exit with 1 if one still is
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    socket: Socket,
}

impl Drain {
    pub(in crate::cli) fn run(self) -> Outcome {
        let answer = self.socket.json("POST", "/drain")?;
        let at_most = humantime::format_duration(Duration::from_millis(number(&answer, "at_most_ms")));
        let mut left = self.open()?;
        let now = count(left, "connection");
        print(&format!(
            "Draining: no more clients are accepted; {now} open. The process ends with the last one, after {at_most} at \
             the latest.\n"
        ))?;
        let Some(wait) = self.wait else { return Ok(()) };
        let is_empty = wait_for(wait, || {
            left = self.open()?;
            Ok(left == 0)
        })?;
        if is_empty {
            print("No connection is open.\n")
        } else {
            Err(vec![format!("still {} open", count(left, "connection"))])
        }
    }

    /// The number of open connections; 0 if the process has ended.
    fn open(&self) -> Result<usize, Vec<String>> {
        match self.socket.ask("GET", "/connections") {
            Err(_) if self.socket.is_gone() => Ok(0),
            lines => lines.map(|lines| lines.lines().count()),
        }
    }
}
