//! `log`.
use super::Absent::Is;
use super::{Key, Object};
use crate::config::kinds::Choice;
use crate::config::{LogConnections, LogFormat, defaults};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of log", place: "log", keys: &[&FORMAT, &CONNECTIONS] };

pub(in crate::config) static FORMAT: Key<Choice<LogFormat>> = Key::new(
    "format",
    "`haproxy`: the lines of HAProxy; `json`: one object a line, with full names.",
    Choice(&[("haproxy", LogFormat::Haproxy), ("json", LogFormat::Json)]),
    Is(defaults::LOG_FORMAT),
);
pub(in crate::config) static CONNECTIONS: Key<Choice<LogConnections>> = Key::new(
    "connections",
    "Which lines a connection gets: `all` accept, connect and close; `close` one at its end; `off` none.",
    Choice(&[("all", LogConnections::All), ("close", LogConnections::Close), ("off", LogConnections::Off)]),
    Is(defaults::LOG_CONNECTIONS),
);
