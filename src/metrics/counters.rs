//! Plain counters, bumped by the one thread that owns them. What can be told from the state itself is computed when it
//! is asked for, and not kept here.
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Changes, Histograms};
use crate::policy::time::{Time, UnixTime};
use crate::vocabulary::{CloseReason, DropReason};

/// Connections of which an average is made, as in HAProxy.
const WINDOW: u64 = 1024;

/// Counters of the process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The frontend of the file's own `listen`.
    pub https: Frontend,
    /// All the frontends of routes with a `listen` of their own together.
    pub owned: Frontend,
    /// The redirect.
    pub http: Frontend,
    /// TLS clients refused before they had a route, by [`DropReason::index`].
    pub drops: [u64; DropReason::ALL.len()],
    /// TLS connections that ended, by [`CloseReason::index`].
    pub closes: [u64; CloseReason::ALL.len()],
    /// Of all bytes of TLS clients, those that were spliced.
    pub bytes_spliced: u64,
    /// How often accepting paused, out of fds or at the limit of connections.
    pub accept_pauses: u64,
    /// Sockets that could not connect because every local port for their peer was in use.
    pub ports_short: u64,
    /// Reloads.
    pub reloads: Reloads,
    /// When the last probe finished.
    pub last_probe: Option<Time>,
    /// What is counted by size.
    pub histograms: Histograms,
    /// The last changes of servers.
    pub changes: Changes,
}

/// How often the configuration was read again.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    /// Reloads that worked.
    pub worked: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// When the configuration was read last, with or without success.
    pub last: UnixTime,
    /// Whether that worked.
    pub last_worked: bool,
}

/// Counters of a frontend.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Frontend {
    /// Clients let in from the backlog, and how many in a second.
    pub accepted: Rate,
    /// Of these, those whose address may not have another connection. They are dropped once their hello has come.
    pub refused: u64,
    /// TLS clients that were dropped, but for those that left before their first byte.
    pub denied: u64,
    /// Most clients at once so far.
    pub most_sessions: u64,
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
    /// Requests of the redirect that were no HTTP, or did not say which host.
    pub errors: u64,
}

/// Counters of one server, or of a route's connections that never got one. Sums of them are those of a route.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
    /// Tries to connect.
    pub connects: u64,
    /// Connections that the balancing gave it. A second try there is no new one.
    pub balanced: u64,
    /// Connections that ended because the last try to connect failed, or no server would take them.
    pub connect_errors: u64,
    /// Connections that the server broke off, or let go silent.
    pub response_errors: u64,
    /// Failed tries after which it was tried again.
    pub retries: u64,
    /// Failed tries after which another server was tried.
    pub redispatches: u64,
    /// Connections that the client broke off, or let go silent.
    pub client_aborts: u64,
    /// Connections that the server broke off, or let go silent.
    pub server_aborts: u64,
    /// Hellos that the server answered with what is no TLS.
    pub not_tls: u64,
}

/// How a server, or a route, is used over time: what cannot be summed up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Connections that were given to it, and how many in a second.
    pub sessions: Rate,
    /// Most connections at once so far.
    pub most_sessions: u64,
    /// How long connections waited for a server to have room.
    pub queue_time: Summary,
    /// How long connects took that worked.
    pub connect_time: Summary,
    /// How long connections lived that reached a server.
    pub total_time: Summary,
}

/// Events: how many, and how many in a second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rate {
    total: u64,
    /// When the last one was.
    last: Option<Time>,
    /// In the second of the last one.
    this_second: u32,
    /// In the second before that.
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
    /// Nothing has happened yet, and the configuration was read at `started`.
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
            reloads: Reloads { worked: 0, refused: 0, last: started, last_worked: true },
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
    pub fn reloaded(&mut self, at: UnixTime, worked: bool) {
        self.reloads.worked += u64::from(worked);
        self.reloads.refused += u64::from(!worked);
        self.reloads.last = at;
        self.reloads.last_worked = worked;
    }
}

impl Frontend {
    /// Counts a client that was let in; there are so many `now_open` now.
    pub fn accepted(&mut self, now: Time, now_open: u64) {
        self.accepted.add(now);
        self.most_sessions = self.most_sessions.max(now_open);
    }

    /// Counts a TLS client that has ended.
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
    /// Counts a connection's end. As in HAProxy's manual, a server's abort counts as a response error too, and an idle timeout
    /// counts as an abort of the side that was silent.
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
    /// Counts a connection that was given to it; it has so many `now_open` now.
    pub fn opened(&mut self, now: Time, now_open: u64) {
        self.sessions.add(now);
        self.most_sessions = self.most_sessions.max(now_open);
    }

    /// Counts a connect that worked.
    pub fn connected(&mut self, queued: Duration, connect: Duration) {
        self.queue_time.add(queued);
        self.connect_time.add(connect);
    }
}

impl Rate {
    /// Counts one.
    pub fn add(&mut self, now: Time) {
        (self.this_second, self.second_before) = self.at(now);
        self.this_second += 1;
        self.most = self.most.max(self.this_second);
        self.total += 1;
        self.last = Some(now);
    }

    /// How many.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When the last one was.
    #[must_use]
    pub fn last(&self) -> Option<Time> {
        self.last
    }

    /// The most in a second of the clock so far.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most
    }

    /// How many in the last second: those of this second of the clock, and of the one before the part that is not over
    /// for longer, as if they had come evenly.
    #[must_use]
    pub fn per_second(&self, now: Time) -> u32 {
        let (this, before) = self.at(now);
        let left = SECOND - now.as_micros() % SECOND;
        this + (u64::from(before) * left / SECOND) as u32
    }

    /// How many in the second of `now` and in the one before.
    fn at(&self, now: Time) -> (u32, u32) {
        let Some(last) = self.last else { return (0, 0) };
        match now.as_micros() / SECOND - last.as_micros() / SECOND {
            0 => (self.this_second, self.second_before),
            1 => (0, self.this_second),
            _ => (0, 0),
        }
    }
}

/// In microseconds.
const SECOND: u64 = 1_000_000;

impl Summary {
    /// Adds one.
    pub fn add(&mut self, duration: Duration) {
        self.count += 1;
        let weight = self.count.min(WINDOW) as f64;
        self.average += (duration.as_secs_f64() - self.average) / weight;
        self.longest = self.longest.max(duration);
    }

    /// The average in seconds: of all up to 1,024, then one in which each counts a little less than the next, as in
    /// HAProxy. `None`: there are none.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        (self.count > 0).then_some(self.average)
    }

    /// The longest so far. `None`: there are none.
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

    /// Without this, a page shows the connections of long ago as those of this second.
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

    /// Without this, an average hangs on to what was true a million connections ago, or jumps with the last one.
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
