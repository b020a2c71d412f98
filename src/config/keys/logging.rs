//! `log`.
use super::Absent::Is;
use super::{Key, Object};
use crate::config::kinds::{Boolean, Choice};
use crate::config::{LogConnections, LogFormat, defaults};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of log", place: "log", keys: &[&FORMAT, &CONNECTIONS, &EMPTY] };

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
pub(in crate::config) static EMPTY: Key<Boolean> = Key::new(
    "empty",
    "Whether connections that end before their first byte get lines, such as those of port scanners and of checks.",
    Boolean,
    Is(defaults::LOG_EMPTY),
);
