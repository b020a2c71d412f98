//! The control socket: an operator's requests to the running process, over HTTP/1 on a unix socket ([`crate::http`]).
//!
//! | request | answer |
//! |---|---|
//! | `GET /servers` | every server of the configuration, a JSON array |
//! | `POST /server?server=ROUTE/SERVER&…` | its route's servers after the change: `mode=ready`, `drain` or `maint`, `kill=1`, `weight=N`, `until=SECONDS` |
//! | `POST /drain` | `{"at_most_ms":N}`; the process accepts no more clients, and ends after N ms at the latest |
//! | `GET /config` | the text of the configuration in force |
//! | `GET /connections` | the open connections, a JSON object a line |
//! | `GET /stats.json` | as the admin endpoint |
//!
//! No request waits: a command with `--wait` asks again.
mod answer;
mod request;

pub use answer::{Body, Connection, servers};
pub use request::{Change, Command};
