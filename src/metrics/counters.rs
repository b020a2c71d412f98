//! Plain counters, changed by the one thread that owns them. What the state itself shows is computed for each snapshot
//! and not counted here.
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Changes, Histograms};
use crate::policy::time::{Time, UnixTime};
use crate::vocabulary::{CloseReason, DropReason};

/// Events that an average covers, as in HAProxy.
const WINDOW: u64 = 1024;

/// Counters of the process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The frontend of the file's own `listen`.
    pub https: Frontend,
    /// The frontends of all routes with their own `listen`, as one.
    pub owned: Frontend,
    /// The redirect.
    pub http: Frontend,
    /// TLS clients refused before they had a route, by [`DropReason::index`].
    pub drops: [u64; DropReason::ALL.len()],
    /// TLS connections that ended, by [`CloseReason::index`].
    pub closes: [u64; CloseReason::ALL.len()],
    /// Bytes of TLS clients that were moved by splice.
    pub bytes_spliced: u64,
    /// How often accepting paused: out of fds, or at the limit of connections.
    pub accept_pauses: u64,
    /// Connects that failed because every local port for their peer was in use.
    pub ports_short: u64,
    /// Reloads.
    pub reloads: Reloads,
    /// When the last probe ended.
    pub last_probe: Option<Time>,
    /// Sizes and durations.
    pub histograms: Histograms,
    /// The last changes of servers.
    pub changes: Changes,
}

/// How often the configuration was read again.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    /// Reloads that succeeded.
    pub succeeded: u64,
    /// Reloads that failed.
    pub failed: u64,
    /// When the configuration was last read, whether or not that succeeded.
    pub last: UnixTime,
    /// Whether the last reload succeeded.
    pub last_succeeded: bool,
}

/// Counters of a frontend.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Frontend {
    /// Clients accepted from the backlog, with their rate.
    pub accepted: Rate,
    /// Clients among them whose address was over its limits. They are dropped once their hello has come.
    #[serde(rename = "refused")]
    pub over_limits: u64,
    /// Clients that were dropped, except those that left before their first byte.
    pub denied: u64,
    /// Highest number of clients at once.
    pub most_sessions: u64,
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
    /// Requests to the redirect that were not HTTP, or named no host.
    pub errors: u64,
}

/// Counters of one server, or of a route's connections that never had a server. The counters of a route are the sum of
/// them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
    /// Attempts to connect.
    pub connects: u64,
    /// Connections for which the balance picked this server. A retry on the same server does not count.
    pub balanced: u64,
    /// Connections that ended because the last attempt to connect failed, or no server would take them.
    pub connect_errors: u64,
    /// Connections that the server reset or left idle too long.
    pub response_errors: u64,
    /// Failed attempts that were followed by another one.
    pub retries: u64,
    /// Failed attempts that were followed by one to another server.
    pub redispatches: u64,
    /// Connections that the client reset or left idle too long.
    pub client_aborts: u64,
    /// Connections that the server reset or left idle too long.
    pub server_aborts: u64,
    /// Hellos that the server answered with bytes that are not TLS.
    pub not_tls: u64,
}

/// How a server or route is used over time: figures that cannot be added up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Connections assigned to it, with their rate.
    pub sessions: Rate,
    /// Highest number of connections at once.
    pub most_sessions: u64,
    /// How long connections waited in the queue.
    pub queue_time: Summary,
    /// How long successful connects took.
    pub connect_time: Summary,
    /// How long connections that reached a server lasted.
    pub total_time: Summary,
}

/// A count of events, and their rate per second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rate {
    total: u64,
    /// When the last one was.
    last: Option<Time>,
    /// Events in the second of the last one.
    this_second: u32,
    /// Events in the second before that.
    second_before: u32,
    most: u32,
}

/// Durations: the average of the latest, and the longest.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    count: u64,
    /// In seconds.
    average: f64,
    longest: Duration,
}

impl Process {
    /// Counters of a process that read its configuration at `started`.
    #[must_use]
    pub fn new(started: UnixTime) -> Process {
        Process {
            https: Frontend::default(),
            owned: Frontend::default(),
            http: Frontend::default(),
            drops: [0; DropReason::ALL.len()],
            closes: [0; CloseReason::ALL.len()],
            bytes_spliced: 0,
            accept_pauses: 0,
            ports_short: 0,
            reloads: Reloads { succeeded: 0, failed: 0, last: started, last_succeeded: true },
            last_probe: None,
            histograms: Histograms::new(),
            changes: Changes::default(),
        }
    }

    /// Counts the end of a TLS connection.
    pub fn closed(&mut self, reason: CloseReason, spliced: u64) {
        self.bytes_spliced += spliced;
        if let Some(closes) = self.closes.get_mut(reason.index()) {
            *closes += 1;
        }
        if let CloseReason::Dropped(reason) = reason
            && let Some(drops) = self.drops.get_mut(reason.index())
        {
            *drops += 1;
        }
    }

    /// Counts a reload.
    pub fn reloaded(&mut self, at: UnixTime, succeeded: bool) {
        self.reloads.succeeded += u64::from(succeeded);
        self.reloads.failed += u64::from(!succeeded);
        self.reloads.last = at;
        self.reloads.last_succeeded = succeeded;
    }
}

impl Frontend {
    /// Counts a client that was accepted; `now_open` clients are open now.
    pub fn accepted(&mut self, now: Time, now_open: u64) {
        self.accepted.add(now);
        self.most_sessions = self.most_sessions.max(now_open);
    }

    /// Counts the end of a client.
    pub fn ended(&mut self, bytes_up: u64, bytes_down: u64, is_denied: bool) {
        self.moved(bytes_up, bytes_down);
        self.denied += u64::from(is_denied);
    }

    /// Counts the bytes of a client that has ended.
    pub fn moved(&mut self, bytes_up: u64, bytes_down: u64) {
        self.bytes_up += bytes_up;
        self.bytes_down += bytes_down;
    }
}

impl Traffic {
    /// Counts the end of a connection. As in HAProxy's manual, a server's abort is a response error as well, and an
    /// idle timeout is an abort by the side that was silent.
    pub fn closed(&mut self, reason: CloseReason, bytes_up: u64, bytes_down: u64) {
        self.bytes_up += bytes_up;
        self.bytes_down += bytes_down;
        match reason {
            CloseReason::ClientBroke | CloseReason::ClientLeft | CloseReason::ClientSilent => self.client_aborts += 1,
            CloseReason::ServerBroke | CloseReason::ServerSilent => {
                self.server_aborts += 1;
                self.response_errors += 1;
            }
            CloseReason::ServerRefused | CloseReason::ConnectTimeout | CloseReason::ServersFull => {
                self.connect_errors += 1;
            }
            CloseReason::Done
            | CloseReason::Dropped(_)
            | CloseReason::OutOfResources
            | CloseReason::Killed
            | CloseReason::Answered => {}
        }
    }
}

impl AddAssign<&Traffic> for Traffic {
    fn add_assign(&mut self, other: &Traffic) {
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
        self.connects += other.connects;
        self.balanced += other.balanced;
        self.connect_errors += other.connect_errors;
        self.response_errors += other.response_errors;
        self.retries += other.retries;
        self.redispatches += other.redispatches;
        self.client_aborts += other.client_aborts;
        self.server_aborts += other.server_aborts;
        self.not_tls += other.not_tls;
    }
}

impl Usage {
    /// Counts a connection that was assigned; `now_open` connections are open now.
    pub fn opened(&mut self, now: Time, now_open: u64) {
        self.sessions.add(now);
        self.most_sessions = self.most_sessions.max(now_open);
    }

    /// Counts a connect that succeeded.
    pub fn connected(&mut self, queued: Duration, connect: Duration) {
        self.queue_time.add(queued);
        self.connect_time.add(connect);
    }
}

impl Rate {
    /// Counts one event.
    pub fn add(&mut self, now: Time) {
        (self.this_second, self.second_before) = self.at(now);
        self.this_second += 1;
        self.most = self.most.max(self.this_second);
        self.total += 1;
        self.last = Some(now);
    }

    /// The number of events.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When the last one was.
    #[must_use]
    pub fn last(&self) -> Option<Time> {
        self.last
    }

    /// The most events in one second of the clock.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Events in the last second: those of this second of the clock, and a share of the second before in proportion to
    /// the part that the last second covers, as if its events had come evenly.
    #[must_use]
    pub fn per_second(&self, now: Time) -> u32 {
        let (this, before) = self.at(now);
        let left = SECOND - now.as_micros() % SECOND;
        this + (u64::from(before) * left / SECOND) as u32
    }

    /// Events in the second of `now`, and in the one before.
    fn at(&self, now: Time) -> (u32, u32) {
        let Some(last) = self.last else { return (0, 0) };
        match now.as_micros() / SECOND - last.as_micros() / SECOND {
            0 => (self.this_second, self.second_before),
            1 => (0, self.this_second),
            _ => (0, 0),
        }
    }
}

/// A second in microseconds.
const SECOND: u64 = 1_000_000;

impl Summary {
    /// Adds a duration.
    pub fn add(&mut self, duration: Duration) {
        self.count += 1;
        let weight = self.count.min(WINDOW) as f64;
        self.average += (duration.as_secs_f64() - self.average) / weight;
        self.longest = self.longest.max(duration);
    }

    /// The average in seconds. Up to 1,024 durations count alike; beyond that the older ones count a little less, as in
    /// HAProxy. `None` without any.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        (self.count > 0).then_some(self.average)
    }

    /// The longest duration; `None` without any.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    /// Without this, a page shows old connections as those of this second.
    #[test]
    fn a_rate_is_that_of_the_last_second() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(5000)), 0);
        for millis in [1000, 1100, 1200, 1300] {
            rate.add(at(millis));
        }
        assert_eq!(rate.per_second(at(1999)), 4);
        assert_eq!(rate.per_second(at(2500)), 2, "half of the second before is over for longer");
        rate.add(at(2500));
        assert_eq!(rate.per_second(at(2500)), 3);
        assert_eq!((rate.per_second(at(3000)), rate.per_second(at(4000))), (1, 0));
        assert_eq!((rate.total(), rate.most(), rate.last()), (5, 4, Some(at(2500))));
        rate.add(at(9000));
        assert_eq!(rate.per_second(at(9000)), 1);
    }

    /// Without this, an average depends on connections of long ago, or on the last one alone.
    #[test]
    fn an_average_is_that_of_the_last_1024() {
        let mut summary = Summary::default();
        assert_eq!((summary.average(), summary.longest()), (None, None));
        for millis in [10, 20, 30, 40] {
            summary.add(Duration::from_millis(millis));
        }
        assert!((summary.average().unwrap() - 0.025).abs() < 1e-9);
        for _ in 0..10_000 {
            summary.add(Duration::from_millis(1));
        }
        assert!((summary.average().unwrap() - 0.001).abs() < 1e-4);
        summary.add(Duration::from_millis(1025));
        assert!((summary.average().unwrap() - 0.002).abs() < 1e-4, "one of 1,024 counts for as much");
        assert_eq!(summary.longest(), Some(Duration::from_millis(1025)));
    }
}
