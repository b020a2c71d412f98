//! Events of servers, routes and the configuration: a sentence for an operator, and fields for a program.
use std::fmt;
use std::path::Path;
use std::time::Duration;

use log::Level;

use crate::policy::health::Checked;

/// The severity of a line, with the words and numbers of syslog (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Clients of a route are refused.
    Critical,
    /// An operation failed or was refused.
    Error,
    /// An operator should look into it.
    Warning,
    /// Normal operation.
    Info,
    /// For developers.
    Debug,
}

/// An event that concerns more than one connection.
pub enum Event<'a> {
    /// A server has gone down or come up.
    Server {
        /// The name of its route.
        route: &'a str,
        /// The server's name.
        server: &'a str,
        /// Whether the server is a backup.
        is_backup: bool,
        /// The state that it changed to.
        transition: Transition,
        /// The cause.
        why: Why<'a>,
        /// The servers of the route that take connections now.
        in_service: InService,
    },
    /// A route lost its last server, or has one again.
    Route {
        /// The name of the route.
        route: &'a str,
        /// The state that it changed to.
        transition: Transition,
    },
    /// A server answered a hello with bytes that are not TLS.
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
        /// The file that was read.
        file: &'a Path,
        /// The number of its routes.
        routes: usize,
        /// The number of its servers.
        servers: usize,
        /// The keys that have changed, in one line.
        changes: &'a str,
        /// Open connections to servers that left the file with this reload.
        orphans: u64,
    },
}

/// A change from down to up, or from up to down.
#[derive(Clone, Copy, Debug)]
pub struct Transition {
    /// Whether it is up now.
    pub is_up: bool,
    /// How long the previous state lasted.
    pub lasted: Duration,
}

/// The servers of a route that take connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InService {
    /// Servers that are not backups.
    pub active: usize,
    /// Backups.
    pub backup: usize,
}

/// The cause of a server's change.
#[derive(Clone, Copy)]
pub enum Why<'a> {
    /// A probe.
    Checked(&'a Checked),
    /// Another cause, in words.
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

    /// The prefix from which the journal reads a line's priority (`sd-daemon(3)`).
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
            Event::Route { transition: Transition { is_up: false, .. }, .. } => Severity::Critical,
            Event::Server { transition: Transition { is_up: false, .. }, .. } | Event::NotTls { .. } => {
                Severity::Warning
            }
            _ => Severity::Info,
        }
    }

    /// The change of state that it reports, if any.
    pub(super) fn transition(&self) -> Option<Transition> {
        match self {
            Event::Server { transition, .. } | Event::Route { transition, .. } => Some(*transition),
            Event::NotTls { .. } | Event::Reloaded { .. } => None,
        }
    }

    /// The word in JSON.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Event::Server { transition: Transition { is_up: true, .. }, .. } => "server_up",
            Event::Server { .. } => "server_down",
            Event::Route { transition: Transition { is_up: true, .. }, .. } => "route_up",
            Event::Route { .. } => "route_down",
            Event::NotTls { .. } => "server_not_tls",
            Event::Reloaded { .. } => "reloaded",
        }
    }
}

/// HAProxy's words, where HAProxy has such an event.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Server { route, server, is_backup, transition, why, in_service } => {
                let InService { active, backup } = in_service;
                let title = if *is_backup { "Backup Server" } else { "Server" };
                let [now, before, counted] =
                    if transition.is_up { ["UP", "down", "online"] } else { ["DOWN", "up", "left"] };
                write!(f, "{title} {route}/{server} is {now}, {why}. ")?;
                write!(f, "{active} active and {backup} backup servers {counted}.")?;
                if *active == 0 && *backup > 0 {
                    f.write_str(" Running on backup.")?;
                }
                write!(f, " It was {before} for {}.", Lasted(transition.lasted))
            }
            Event::Route { route, transition: Transition { is_up: false, lasted } } => {
                write!(f, "backend {route} has no server available! It had one for {}.", Lasted(*lasted))
            }
            Event::Route { route, transition } => {
                write!(
                    f,
                    "backend {route} has a server available again. It had none for {}.",
                    Lasted(transition.lasted)
                )
            }
            Event::NotTls { route, server, first } => {
                let shown =
                    if first.is_ascii_graphic() { char::from(*first).to_string() } else { format!("{first:#04x}") };
                write!(
                    f,
                    "Server {route}/{server} answers a hello with bytes that are not TLS (the first is {shown}): it expects another PROXY \
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

/// A duration: whole seconds, or milliseconds below a second.
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
