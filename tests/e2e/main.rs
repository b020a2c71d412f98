//! The real program from outside, with clients, servers, its log and signals.
//!
//! `points` has a file for each of the twelve points that an edge proxy must get right. Every other file is named after
//! what it tests. `kit` has the parts of the tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests throughout")]

mod accept_proxy;
mod acme;
mod balance;
mod balance_source;
mod chaos;
mod control;
mod handed_on;
mod handover;
mod handover_counts;
mod handover_kinds;
mod handover_load;
mod health;
mod import;
mod kit;
mod lifecycle;
mod limits;
mod listeners;
mod log_events;
mod log_forms;
mod log_lines;
mod many_routes;
mod memory;
mod peers;
mod points;
mod probes;
mod proxy_header;
mod proxy_header_peers;
mod redirect;
mod reject;
mod routing;
mod server_killed;
mod shortages;
mod signals;
mod system_calls;
mod systemd;
mod timeouts;
mod tls_probes;
