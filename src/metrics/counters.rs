//! Plain counters, bumped by the one thread that owns them. What can be told from the state itself is computed when it
//! is asked for, and not kept here.
use std::time::Duration;

use crate::policy::reason::{CloseReason, DropReason};

/// Counters of the process and its TLS frontend.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Clients let in from the backlog.
    pub accepted: u64,
    /// Most clients at once so far.
    pub most_sessions: u64,
    /// Clients refused before they had a route, by [`DropReason::index`].
    pub drops: [u64; DropReason::ALL.len()],
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
    /// Of all bytes, those that were spliced.
    pub bytes_spliced: u64,
    /// How often accepting paused, out of fds or at the limit of connections.
    pub accept_pauses: u64,
    /// Reloads that worked.
    pub reloads: u64,
    /// Reloads that were refused.
    pub failed_reloads: u64,
}

/// Counters of one server, or of a route's connections that never got one.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Connections that were given to it.
    pub sessions: u64,
    /// Most connections at once so far.
    pub most_sessions: u64,
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
    /// Tries to connect.
    pub connects: u64,
    /// Tries that failed.
    pub connect_errors: u64,
    /// Connections that the server broke off, or let go silent.
    pub response_errors: u64,
    /// Tries after a failed one.
    pub retries: u64,
    /// Of the retries, those that went to another server.
    pub redispatches: u64,
    /// Connections that the client broke off.
    pub client_aborts: u64,
    /// Connections that the server broke off.
    pub server_aborts: u64,
    /// How long connects took that worked.
    pub connect_time: Summary,
    /// How long connections lived that reached the server.
    pub total_time: Summary,
}

/// Durations: all of them, and the longest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Summary {
    /// Adds one.
    pub fn add(&mut self, duration: Duration) {
        self.count += 1;
        self.sum += duration;
        self.longest = self.longest.max(duration);
    }
}

impl Traffic {
    /// Counts a connection's end.
    pub fn closed(&mut self, reason: CloseReason, bytes_up: u64, bytes_down: u64) {
        self.bytes_up += bytes_up;
        self.bytes_down += bytes_down;
        match reason {
            CloseReason::ClientBroke | CloseReason::ClientLeft => self.client_aborts += 1,
            CloseReason::ServerBroke => {
                self.server_aborts += 1;
                self.response_errors += 1;
            }
            CloseReason::ServerSilent => self.response_errors += 1,
            _ => {}
        }
    }
}
