//! `log`.
use super::Absent::Is;
use super::{Key, Object};
use crate::config::kinds::{Boolean, Choice};
use crate::config::{LogConnections, LogFormat, defaults};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of log", place: "log", keys: &[&FORMAT, &CONNECTIONS, &EMPTY] };

pub(in crate::config) static FORMAT: Key<Choice<LogFormat>> = Key::new(
    "format",
    "`haproxy`: lines in HAProxy's format; `json`: one object per line, with full names.",
    Choice(&[("haproxy", LogFormat::Haproxy), ("json", LogFormat::Json)]),
    Is(defaults::LOG_FORMAT),
);
pub(in crate::config) static CONNECTIONS: Key<Choice<LogConnections>> = Key::new(
    "connections",
    "The lines for each connection: `all` at accept, connect and close; `close` only at its end; `off` none.",
    Choice(&[("all", LogConnections::All), ("close", LogConnections::Close), ("off", LogConnections::Off)]),
    Is(defaults::LOG_CONNECTIONS),
);
pub(in crate::config) static EMPTY: Key<Boolean> = Key::new(
    "empty",
    "Whether a connection that ends before its first byte is logged, such as a port scanner's or a health check's.",
    Boolean,
    Is(defaults::LOG_EMPTY),
);
