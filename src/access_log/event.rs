//! What becomes of servers, of routes and of the configuration: a sentence for a person, and fields for a program.
use std::fmt;
use std::path::Path;
use std::time::Duration;

use log::Level;

use crate::policy::health::Checked;

/// How grave a line is, in the words and numbers of syslog (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Clients of a route are refused.
    Critical,
    /// Something was refused or failed.
    Error,
    /// An operator should look at it.
    Warning,
    /// All in order.
    Info,
    /// For developers.
    Debug,
}

/// Something that has happened to more than one connection.
pub enum Event<'a> {
    /// A server has gone down or come up.
    Server {
        /// The name of its route.
        route: &'a str,
        /// The server's name.
        server: &'a str,
        /// It is a backup.
        is_backup: bool,
        /// How it stands now.
        turn: Turn,
        /// Why.
        why: Why<'a>,
        /// How many servers of the route take connections now, and how many backups.
        takes: [usize; 2],
    },
    /// No server of a route takes connections any more, or one does again.
    Route {
        /// The name of the route.
        route: &'a str,
        /// How it stands now.
        turn: Turn,
    },
    /// A server has answered a hello with what is no TLS.
    NotTls {
        /// The name of its route.
        route: &'a str,
        /// The server's name.
        server: &'a str,
        /// The first byte of the answer.
        first: u8,
    },
    /// Another configuration is in force.
    Reloaded {
        /// Where it was read.
        file: &'a Path,
        /// Routes that it has.
        routes: usize,
        /// Servers that it has.
        servers: usize,
        /// What has changed, in a line.
        changes: &'a str,
        /// Open connections of servers that left it with this reload.
        orphans: u64,
    },
}

/// Down to up, or up to down.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Up now.
    pub is_up: bool,
    /// How long the state before it has lasted.
    pub lasted: Duration,
}

/// What has turned a server.
#[derive(Clone, Copy)]
pub enum Why<'a> {
    /// A probe.
    Checked(&'a Checked),
    /// Something else, in words.
    Said(&'a str),
}

impl Severity {
    /// The word in JSON.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
            Severity::Debug => "debug",
        }
    }

    /// What the journal takes from the front of a line: `sd-daemon(3)`.
    pub(super) const fn prefix(self) -> &'static [u8] {
        match self {
            Severity::Critical => b"<2>",
            Severity::Error => b"<3>",
            Severity::Warning => b"<4>",
            Severity::Info => b"<6>",
            Severity::Debug => b"<7>",
        }
    }
}

impl From<Level> for Severity {
    fn from(level: Level) -> Severity {
        match level {
            Level::Error => Severity::Error,
            Level::Warn => Severity::Warning,
            Level::Info => Severity::Info,
            Level::Debug | Level::Trace => Severity::Debug,
        }
    }
}

impl Event<'_> {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Event::Route { turn: Turn { is_up: false, .. }, .. } => Severity::Critical,
            Event::Server { turn: Turn { is_up: false, .. }, .. } | Event::NotTls { .. } => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// Whether something is up now, or down; `None` where that is not what it is about.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self {
            Event::Server { turn, .. } | Event::Route { turn, .. } => Some(turn.is_up),
            Event::NotTls { .. } | Event::Reloaded { .. } => None,
        }
    }

    /// The word in JSON.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Event::Server { turn: Turn { is_up: true, .. }, .. } => "server_up",
            Event::Server { .. } => "server_down",
            Event::Route { turn: Turn { is_up: true, .. }, .. } => "route_up",
            Event::Route { .. } => "route_down",
            Event::NotTls { .. } => "server_not_tls",
            Event::Reloaded { .. } => "reloaded",
        }
    }
}

/// As HAProxy words it, where it has words for it.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Server { route, server, is_backup, turn, why, takes: [active, backup] } => {
                let title = if *is_backup { "Backup Server" } else { "Server" };
                let [now, before, counted] = if turn.is_up { ["UP", "down", "online"] } else { ["DOWN", "up", "left"] };
                write!(f, "{title} {route}/{server} is {now}, {why}. ")?;
                write!(f, "{active} active and {backup} backup servers {counted}.")?;
                if *active == 0 && *backup > 0 {
                    f.write_str(" Running on backup.")?;
                }
                write!(f, " It was {before} for {}.", Lasted(turn.lasted))
            }
            Event::Route { route, turn: Turn { is_up: false, lasted } } => {
                write!(f, "backend {route} has no server available! It had one for {}.", Lasted(*lasted))
            }
            Event::Route { route, turn } => {
                write!(f, "backend {route} has a server available again. It had none for {}.", Lasted(turn.lasted))
            }
            Event::NotTls { route, server, first } => {
                let shown =
                    if first.is_ascii_graphic() { char::from(*first).to_string() } else { format!("{first:#04x}") };
                write!(
                    f,
                    "Server {route}/{server} answers a hello with what is no TLS (it begins with {shown}): it expects another PROXY \
                     header, or speaks plain text. `fiscalismia-lb try` with a name of the route says which."
                )
            }
            Event::Reloaded { file, changes, orphans, .. } => {
                write!(f, "Reloaded {}: {changes}.", file.display())?;
                match orphans {
                    0 => Ok(()),
                    1 => f.write_str(" 1 connection is open to a server that left the file, and may finish."),
                    _ => write!(f, " {orphans} connections are open to servers that left the file, and may finish."),
                }
            }
        }
    }
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Said(words) => write!(f, "reason: {words}"),
            Why::Checked(checked) => {
                write!(f, "reason: {}", checked.result.describe())?;
                if let Some(status) = checked.status {
                    write!(f, ", code: {status}")?;
                }
                if !checked.info.is_empty() {
                    write!(f, ", info: \"{}\"", checked.info)?;
                }
                write!(f, ", check duration: {}ms", checked.took.as_millis())
            }
        }
    }
}

/// How long something has lasted: to the second, and what is shorter to the millisecond.
struct Lasted(Duration);

impl fmt::Display for Lasted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = match self.0.as_secs() {
            0 => Duration::from_millis(self.0.as_millis() as u64),
            seconds => Duration::from_secs(seconds),
        };
        write!(f, "{}", humantime::format_duration(whole))
    }
}
