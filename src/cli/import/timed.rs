//! The timeouts of a proxy, and its retries.
use std::collections::HashMap;
use std::time::Duration;

use super::lex::Line;
use super::report::Report;
use super::values::time;

/// A proxy's timeouts and retries.
#[derive(Debug, Default)]
pub(super) struct Timed {
    timeouts: HashMap<String, Duration>,
    pub(super) inspect_delay: Option<Duration>,
    pub(super) retries: Option<u32>,
}

impl Timed {
    /// `timeout` of that name.
    pub(super) fn timeout(&self, name: &str) -> Option<Duration> {
        self.timeouts.get(name).copied()
    }

    /// Follows a `timeout` line, or one of the old words for it. `is_tcp`: the proxy reads no HTTP.
    pub(super) fn follow(&mut self, line: &Line, is_tcp: bool, report: &mut Report) {
        let (name, value) = match line.word(0) {
            "clitimeout" => ("client", line.word(1)),
            "srvtimeout" => ("server", line.word(1)),
            "contimeout" => ("connect", line.word(1)),
            _ => (line.word(1), line.word(2)),
        };
        match time(value) {
            Some(time) => drop(self.timeouts.insert(name.to_owned(), time)),
            None => report.lost_line(line, "the value is not a time"),
        }
        if name == "queue" {
            let why = "a client waits up to timeouts.connect for a server that is at its max_connections";
            report.note_line(line, why);
        }
        if name == "tarpit" && is_tcp {
            report.note(line.number, "timeout tarpit", "no client is kept waiting: it is refused at once");
        }
    }
}
