//! `server`: lists servers, or changes an operator's setting of one.
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use fiscalismia_lb::config::count;
use serde_json::Value;

use super::{Socket, duration, number, span, table, text, wait_for};
use crate::cli::{Outcome, print};

/// List the servers of the running process, or change the state of one
#[derive(Args)]
pub(in crate::cli) struct Server {
    /// The server, as ROUTE/SERVER
    #[arg(value_name = "ROUTE/SERVER", value_parser = full_name)]
    name: Option<String>,
    /// The new state: ready, drain (no new connections), maint (no probes either), kill (maint, and an end to open
    /// connections), or weight
    #[arg(requires = "name")]
    state: Option<State>,
    /// The weight, 0 to 256
    #[arg(required_if_eq("state", "weight"), value_parser = clap::value_parser!(u16).range(0..=256))]
    weight: Option<u16>,
    /// How long the state lasts, like 30m [default: until the next change]
    #[arg(long, value_name = "TIME", value_parser = until, requires = "state")]
    until: Option<Duration>,
    /// Wait until the server has no connections, at most this long; exit with 1 if it still has some
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "state")]
    wait: Option<Duration>,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Ready,
    Drain,
    Maint,
    Kill,
    Weight,
}

impl Server {
    pub(in crate::cli) fn run(self) -> Outcome {
        let (Some(server), Some(state)) = (&self.name, self.state) else { return self.list() };
        if self.weight.is_some() && state != State::Weight {
            let what = format!("a number follows weight alone; write: server {server} weight N\n");
            clap::Error::raw(ErrorKind::ArgumentConflict, what).exit();
        }
        let doomed = if state == State::Kill { self.open(server)? } else { 0 };
        let servers = self.socket.json("POST", &self.target(server, state))?;
        let servers = servers.as_array().map(Vec::as_slice).unwrap_or_default();
        print(&consequences(server, servers))?;
        if doomed > 0 {
            print(&format!("{} ended.\n", connections(doomed)))?;
        }
        let Some(wait) = self.wait else { return Ok(()) };
        let mut open = 0;
        let is_empty = wait_for(wait, || {
            open = self.open(server)?;
            Ok(open == 0)
        })?;
        if is_empty {
            return print(&format!("{server} has no connections.\n"));
        }
        Err(vec![format!("{server} still has {}", connections(open))])
    }

    fn target(&self, server: &str, state: State) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("server", server);
        match state {
            State::Ready => query.append_pair("mode", "ready"),
            State::Drain => query.append_pair("mode", "drain"),
            State::Maint => query.append_pair("mode", "maint"),
            State::Kill => query.append_pair("mode", "maint").append_pair("kill", "1"),
            State::Weight => query.append_pair("weight", &self.weight.unwrap_or_default().to_string()),
        };
        if let Some(until) = self.until {
            query.append_pair("until", &until.as_secs().max(1).to_string());
        }
        format!("/server?{}", query.finish())
    }

    fn open(&self, server: &str) -> Result<u64, Vec<String>> {
        let servers = self.socket.json("GET", "/servers")?;
        let found = servers.as_array().into_iter().flatten().find(|entry| name(entry) == server);
        Ok(found.map_or(0, |entry| number(entry, "open")))
    }

    fn list(&self) -> Outcome {
        let servers = self.socket.json("GET", "/servers")?;
        let wanted = |entry: &&Value| self.name.as_ref().is_none_or(|server| name(entry) == *server);
        let entries: Vec<&Value> = servers.as_array().into_iter().flatten().filter(wanted).collect();
        if let (Some(server), true) = (&self.name, entries.is_empty()) {
            return Err(vec![format!("no route has a server {server}")]);
        }
        let mut rows = vec![["SERVER", "ADDRESS", "STATE", "WEIGHT", "OPEN", ""].map(str::to_owned).to_vec()];
        rows.extend(entries.into_iter().map(row));
        print(&table(&rows, 3..5))
    }
}

/// How long a setting lasts: as much as the process takes.
fn until(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_hours(24 * 365);
    duration(text).and_then(|until| if until <= YEAR { Ok(until) } else { Err("write at most 365d".to_owned()) })
}

/// A server's name on the command line.
fn full_name(text: &str) -> Result<String, String> {
    if text.contains('/') { Ok(text.to_owned()) } else { Err("a server is named ROUTE/SERVER".to_owned()) }
}

fn row(entry: &Value) -> Vec<String> {
    let weight = number(entry, "weight").to_string();
    let open = number(entry, "open").to_string();
    vec![name(entry), text(entry, "address").to_owned(), state(entry).to_owned(), weight, open, remark(entry)]
}

fn state(entry: &Value) -> &'static str {
    match (text(entry, "mode"), entry["is_up"].as_bool()) {
        ("maint", _) => "MAINT",
        (_, Some(false)) => "DOWN",
        ("drain", _) => "DRAIN",
        _ if number(entry, "weight") == 0 => "DRAIN",
        _ => "UP",
    }
}

/// The file's setting, and the operator's.
fn remark(entry: &Value) -> String {
    let mut words = Vec::new();
    if entry["is_backup"] == true {
        words.push("backup".to_owned());
    }
    let set = &entry["set"];
    if !set.is_null() {
        if entry["weight"] != entry["weight_in_file"] {
            words.push(format!("the file says weight {}", entry["weight_in_file"]));
        }
        let (uid, ago) = (&set["by_uid"], span(number(set, "seconds_ago")));
        let left = set["seconds_left"].as_u64().map(|left| format!(", for another {}", span(left)));
        words.push(format!("set {ago} ago by uid {uid}{}", left.unwrap_or_default()));
    }
    words.join("; ")
}

/// The effect of a change: the server's connections, and the servers that take new ones.
fn consequences(server: &str, servers: &[Value]) -> String {
    let changed = servers.iter().find(|entry| name(entry) == server);
    let takes = |entry: &&Value| entry["takes_connections"] == true;
    let (backups, active): (Vec<&Value>, Vec<&Value>) =
        servers.iter().filter(takes).partition(|entry| entry["is_backup"] == true);
    let heirs = if active.is_empty() { backups } else { active };
    let heirs: Vec<&str> = heirs.iter().map(|entry| text(entry, "server")).collect();
    let state = changed.map_or_else(|| "gone".to_owned(), standing);
    let open = connections(changed.map_or(0, |entry| number(entry, "open")));
    match &heirs[..] {
        [] => format!(
            "{server} is {state}; {open} open. No server of the route takes new connections: they are refused.\n"
        ),
        [one] => format!("{server} is {state}; {open} open. {one} takes the new ones.\n"),
        many => format!("{server} is {state}; {open} open. {} take the new ones.\n", many.join(", ")),
    }
}

/// Its state, and its weight if that is not the file's.
fn standing(entry: &Value) -> String {
    if entry["weight"] == entry["weight_in_file"] {
        return state(entry).to_owned();
    }
    format!("{} with weight {}", state(entry), entry["weight"])
}

fn connections(open: u64) -> String {
    count(open as usize, "connection")
}

fn name(entry: &Value) -> String {
    format!("{}/{}", text(entry, "route"), text(entry, "server"))
}
