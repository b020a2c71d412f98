//! What is asked.
use std::time::Duration;

use crate::config::WEIGHTS;
use crate::http::{Refusal, Status};
use crate::policy::servers::Mode;
use crate::wire::http_head::Head;

/// The longest time that something may be set for; beyond it a mistake is likelier.
const MAX_UNTIL: Duration = Duration::from_hours(24 * 365);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Lists all servers.
    Servers,
    /// Changes what holds for a server.
    Set(Change),
    /// Accept no more clients.
    Drain,
    /// The text of the configuration in force.
    Config,
    /// The open connections.
    Connections,
    /// The statistics.
    Stats,
}

/// A change of what holds for a server beside the file's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The name of the server's route.
    pub route: String,
    /// The server's name.
    pub server: String,
    /// Whether it takes new connections; `None`: as before.
    pub mode: Option<Mode>,
    /// Its weight; `None`: as before.
    pub weight: Option<u16>,
    /// End its open connections.
    pub kills: bool,
    /// How long the change holds; `None`: until the next one.
    pub until: Option<Duration>,
}

impl Command {
    /// What a request's head asks for.
    ///
    /// # Errors
    /// There is no such request; a sentence.
    pub fn read(head: &Head<'_>) -> Result<Command, Refusal> {
        let (path, query) = head.path.split_once('?').unwrap_or((head.path, ""));
        let refuse = |status, why: &str| Err(Refusal { status, why: why.to_owned() });
        match (head.method, path) {
            ("GET", "/servers") => Ok(Command::Servers),
            ("GET", "/config") => Ok(Command::Config),
            ("GET", "/connections") => Ok(Command::Connections),
            ("GET", "/stats.json") => Ok(Command::Stats),
            ("POST", "/drain") => Ok(Command::Drain),
            ("POST", "/server") => {
                Change::read(query).map(Command::Set).or_else(|why| refuse(Status::BadRequest, &why))
            }
            (_, "/servers" | "/config" | "/connections" | "/stats.json" | "/drain" | "/server") => {
                refuse(Status::MethodNotAllowed, "use GET to show something, POST to change something")
            }
            _ => refuse(Status::NotFound, "there are /servers, /server, /drain, /config, /connections and /stats.json"),
        }
    }
}

impl Change {
    fn read(query: &str) -> Result<Change, String> {
        let mut change = Change::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "server" => {
                    let (route, server) = value.split_once('/').ok_or("a server is named ROUTE/SERVER")?;
                    (change.route, change.server) = (route.to_owned(), server.to_owned());
                }
                "mode" => {
                    let mode = Mode::ALL.into_iter().find(|mode| mode.word() == value);
                    change.mode = Some(mode.ok_or("a mode is ready, drain or maint")?);
                }
                "kill" => change.kills = value == "1",
                "weight" => {
                    let weight = value.parse().ok().filter(|weight| WEIGHTS.contains(weight));
                    change.weight = Some(weight.ok_or("a weight is a number from 0 to 256")?);
                }
                "until" => {
                    let until = value.parse().map(Duration::from_secs).ok().filter(|until| *until <= MAX_UNTIL);
                    change.until = Some(until.ok_or("until is a number of seconds, a year at most")?);
                }
                other => return Err(format!("there is no parameter {other:?}")),
            }
        }
        if change.server.is_empty() {
            return Err("server=ROUTE/SERVER is missing".to_owned());
        }
        if change.mode.is_none() && change.weight.is_none() && !change.kills {
            return Err("mode, weight or kill is missing".to_owned());
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http_head::{Verdict, read};

    fn command(request: &str) -> Result<Command, String> {
        let bytes = format!("{request} HTTP/1.1\r\nHost: control\r\n\r\n");
        match read(bytes.as_bytes()) {
            Verdict::Head(head) => Command::read(&head).map_err(|refusal| refusal.why),
            other => Err(format!("{other:?}")),
        }
    }

    /// Without this, a command is taken for another, or one for a server with an odd name is refused.
    #[test]
    fn orders_are_read_whole() {
        let change = Change {
            route: "we b".to_owned(),
            server: "10.0.0.2:443".to_owned(),
            mode: Some(Mode::Drain),
            until: Some(Duration::from_mins(30)),
            ..Change::default()
        };
        let drain = "POST /server?server=we%20b/10.0.0.2:443&mode=drain&until=1800";
        assert_eq!(command(drain), Ok(Command::Set(change)));
        let weigh = Change { route: "a".to_owned(), server: "b".to_owned(), weight: Some(256), ..Change::default() };
        assert_eq!(command("POST /server?server=a/b&weight=256"), Ok(Command::Set(weigh)));
        assert_eq!(command("GET /servers"), Ok(Command::Servers));
        assert_eq!(command("POST /drain"), Ok(Command::Drain));
    }

    /// Without this, a malformed request changes a server, or gets another request's answer.
    #[test]
    fn odd_requests_are_refused() {
        for odd in [
            "GET /drain",
            "GET /server?server=a/b&mode=drain",
            "POST /servers",
            "GET /",
            "GET /metrics",
            "PUT /drain",
            "POST /server",
            "POST /server?",
            "POST /server?server=a/b",
            "POST /server?server=ab&mode=drain",
            "POST /server?server=a/&mode=drain",
            "POST /server?server=a/b&mode=down",
            "POST /server?server=a/b&mode=",
            "POST /server?server=a/b&weight=257",
            "POST /server?server=a/b&weight=-1",
            "POST /server?server=a/b&weight=1e2",
            "POST /server?server=a/b&weight=",
            "POST /server?server=a/b&mode=drain&until=-1",
            "POST /server?server=a/b&mode=drain&until=99999999999",
            "POST /server?server=a/b&mode=drain&until=1h",
            "POST /server?server=a/b&mode=drain&until=",
            "POST /server?server=a/b&kill=0",
            "POST /server?server=a/b&mode=drain&x=1",
            "POST /server?mode=drain",
            "POST /server?server=%2F&mode=drain",
            "POST /server?=a/b&mode=drain",
            "DELETE /server?server=a/b&mode=drain",
            "HEAD /servers",
            "OPTIONS *",
            "POST /server/?server=a/b&mode=drain",
            "GET /config/../servers",
            "GET /SERVERS",
            "POST /drain/",
            "CONNECT a:1",
        ] {
            assert!(command(odd).is_err(), "{odd}");
        }
    }
}
