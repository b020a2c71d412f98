//! What an operator sees: the admin endpoints, metrics, the page, and Grafana's view of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests throughout")]

mod counters;
mod csv;
mod endpoints;
mod grafana;
mod http;
#[allow(dead_code, reason = "another test program uses the rest of it")]
#[path = "../e2e/kit/mod.rs"]
mod kit;
mod names;
mod own_metrics;
mod page;
mod prometheus;
mod reloads;
mod slow_clients;
