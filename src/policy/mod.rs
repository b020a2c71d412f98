//! Pure decisions. Time comes in as an argument; nothing here opens a socket or reads a clock.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod fds;
pub mod health;
pub mod line;
pub mod per_second;
#[cfg(test)]
pub(crate) mod random;
pub mod rate_limit;
pub mod routes;
pub mod servers;
pub mod time;
pub mod timers;
pub mod tries;
