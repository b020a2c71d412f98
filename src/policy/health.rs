//! Whether a server is up, by the results of its probes.
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::config::{HealthCheck, Probe};
use crate::vocabulary::CheckResult;

/// The health of one server, and when its next probe starts.
///
/// As in HAProxy, a new server counts as up, but is unproven: one failure takes it down. After its first pass it goes down after
/// `fall` failures in a row, and comes up after `rise` passes in a row.
#[derive(Debug)]
pub struct Health {
    check: HealthCheck,
    standing: Standing,
    /// While up, failures until it goes down; while down, passes until it comes up.
    to_change: u32,
    next_probe: Time,
    running: bool,
    /// Whether a probe has passed since the server has its address.
    proven: bool,
    /// Whether the last probe ended without a verdict.
    unjudged: bool,
    failures: u64,
    last: Option<Checked>,
}

/// Up or down, with the times: of a server, and of a route as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    up: bool,
    since: Time,
    downs: u64,
    downtime: Duration,
    /// How long the state before this one lasted.
    #[serde(default)]
    lasted: Duration,
}

/// A change of standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It came up.
    Up,
    /// It went down.
    Down,
}

/// Results in a row. While a server is up, `count` is the failures left of `fall` (`UP 1/3`); while it is down, the
/// passes so far of `rise` (`DOWN 1/2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Failures left, or passes so far.
    pub count: u32,
    /// The count that a change of state takes.
    pub of: u32,
}

/// The result of one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The verdict.
    pub result: CheckResult,
    /// The HTTP status, if one came.
    pub status: Option<u16>,
    /// The words of the kernel or the parser; may be empty.
    pub info: Box<str>,
    /// From the probe's start to its verdict.
    pub took: Duration,
}

impl Checked {
    /// The result in a few words.
    #[must_use]
    pub fn found(&self) -> String {
        let code = self.status.map(|status| format!(" {status}")).unwrap_or_default();
        let info = if self.info.is_empty() { String::new() } else { format!(": {}", self.info) };
        format!("{}{code}{info}", self.result.describe())
    }
}

/// A server's health as the next process gets it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ParkedHealth {
    standing: Standing,
    to_change: u32,
    next_probe: Time,
    failures: u64,
    last: Option<Checked>,
}

impl Health {
    /// The health of a server that was not probed yet.
    #[must_use]
    pub fn new(check: &HealthCheck, now: Time, first_probe: Time) -> Health {
        Health {
            check: check.clone(),
            standing: Standing::new(now),
            to_change: 1,
            next_probe: first_probe,
            running: false,
            proven: false,
            unjudged: false,
            failures: 0,
            last: None,
        }
    }

    /// When to start the next probe. `None` while one is running, and with [`Probe::Off`].
    #[must_use]
    pub fn next_probe(&self) -> Option<Time> {
        (!self.running && self.check.probe != Probe::Off).then_some(self.next_probe)
    }

    /// Notes the start of a probe.
    pub fn started(&mut self) {
        self.running = true;
    }

    /// Forgets the running probe: its verdict will not count.
    pub fn stop_probe(&mut self) {
        self.running = false;
    }

    /// Takes the verdict of the running probe. If health was reset meanwhile, no probe is running and nothing happens.
    pub fn report(&mut self, now: Time, checked: Checked) -> Option<Change> {
        if !self.running {
            return None;
        }
        self.running = false;
        self.unjudged = false;
        let change = self.judge(now, checked);
        self.schedule(now);
        change
    }

    fn judge(&mut self, now: Time, checked: Checked) -> Option<Change> {
        let passed = checked.result.passed();
        self.proven |= passed;
        self.last = Some(checked);
        // As HAProxy, counts failures of servers that are up, including the one that takes the server down.
        self.failures += u64::from(!passed && self.is_up());
        if passed == self.is_up() {
            self.to_change = self.needed();
            return None;
        }
        self.to_change = self.to_change.saturating_sub(1);
        if self.to_change > 0 {
            return None;
        }
        self.change_to(now, passed)
    }

    /// Notes that the running probe ended without a verdict: what stopped it was not the server. The next probe is due
    /// at once; the caller waits before it. Answers whether it is the first in a row.
    pub fn no_verdict(&mut self) -> bool {
        self.running = false;
        !std::mem::replace(&mut self.unjudged, true)
    }

    /// Applies a changed configuration; health and counters stay. Probes that were off begin at `first_probe`.
    pub fn adopt(&mut self, now: Time, check: &HealthCheck, first_probe: Time) -> Option<Change> {
        if *check == self.check {
            return None;
        }
        let was_off = self.check.probe == Probe::Off;
        self.check = check.clone();
        self.to_change = self.to_change.min(self.needed());
        if check.probe == Probe::Off {
            self.running = false;
            self.last = None;
            return self.change_to(now, true);
        }
        if was_off {
            self.next_probe = first_probe;
        }
        let wait = self.next_probe.since(now).as_micros();
        self.next_probe = now + micros(wait % self.interval());
        None
    }

    /// Resets the health of a server whose address changed. Counters stay: they never go down.
    pub fn restart(&mut self, now: Time, first_probe: Time) -> Option<Change> {
        self.running = false;
        self.proven = false;
        self.unjudged = false;
        self.last = None;
        self.next_probe = first_probe;
        let change = self.change_to(now, true);
        self.to_change = 1;
        change
    }

    /// The state that the next process goes on with.
    #[must_use]
    pub fn park(&self) -> ParkedHealth {
        ParkedHealth {
            standing: self.standing.clone(),
            to_change: self.to_change,
            next_probe: self.next_probe,
            failures: self.failures,
            last: self.last.clone(),
        }
    }

    /// Takes over the state of the previous process. Its verdict counts only if the server is probed, as nothing would
    /// revise it.
    pub fn take_up(&mut self, parked: ParkedHealth) {
        self.failures = parked.failures;
        if self.check.probe == Probe::Off && !parked.standing.is_up() {
            return;
        }
        self.standing = parked.standing;
        self.to_change = parked.to_change.clamp(1, self.needed());
        self.next_probe = parked.next_probe;
        self.last = parked.last;
    }

    /// Takes over what the previous process has counted of a server that has another address now: counters never go down.
    pub fn take_up_counts(&mut self, now: Time, parked: &ParkedHealth) {
        self.failures = parked.failures;
        self.standing.downs = parked.standing.downs;
        self.standing.downtime = parked.standing.downtime(now);
    }

    /// Whether the server counts as up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.standing.up
    }

    /// Whether a probe has passed since the server has its address.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether it is up or down, since when, and its changes so far.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The count that HAProxy writes after the state.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let of = self.needed();
        Tally { count: if self.is_up() { self.to_change } else { of - self.to_change }, of }
    }

    /// Failures of probes while the server was up.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// The code of the last probe's result.
    #[must_use]
    pub fn result(&self) -> CheckResult {
        self.last.as_ref().map_or(CheckResult::Initializing, |last| last.result)
    }

    /// The result of the last probe.
    #[must_use]
    pub fn last(&self) -> Option<&Checked> {
        self.last.as_ref()
    }

    /// How the server is probed.
    #[must_use]
    pub fn check(&self) -> &HealthCheck {
        &self.check
    }

    /// Results in a row that change the current state.
    fn needed(&self) -> u32 {
        if self.is_up() { self.check.fall } else { self.check.rise }
    }

    fn change_to(&mut self, now: Time, up: bool) -> Option<Change> {
        let change = self.standing.set(now, up);
        self.to_change = self.needed();
        change
    }

    /// The next start on the grid of whole intervals: a probe that took long does not shift the grid, and one that took
    /// several intervals is not followed by a burst.
    fn schedule(&mut self, now: Time) {
        let late = now.since(self.next_probe).as_micros();
        self.next_probe = self.next_probe + micros((late / self.interval() + 1) * self.interval());
    }

    /// Time from one probe to the next: shorter while the results in a row do not suffice for a verdict.
    fn interval(&self) -> u128 {
        let is_pending = self.to_change < self.needed();
        let interval = if is_pending { self.check.fast_interval } else { self.check.interval };
        interval.as_micros().max(1)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.of)
    }
}

impl Standing {
    /// Up, since `now`.
    #[must_use]
    pub fn new(now: Time) -> Standing {
        Standing { up: true, since: now, downs: 0, downtime: Duration::ZERO, lasted: Duration::ZERO }
    }

    /// Sets the state. Answers whether it changed.
    pub fn set(&mut self, now: Time, up: bool) -> Option<Change> {
        if up == self.up {
            return None;
        }
        self.downtime = self.downtime(now);
        self.downs += u64::from(!up);
        self.up = up;
        self.lasted = now.since(self.since);
        self.since = now;
        Some(if up { Change::Up } else { Change::Down })
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// The time of the last change, or of the start.
    #[must_use]
    pub fn since(&self) -> Time {
        self.since
    }

    /// How long the previous state lasted.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// How often it went down.
    #[must_use]
    pub fn downs(&self) -> u64 {
        self.downs
    }

    /// Total time down until `now`.
    #[must_use]
    pub fn downtime(&self, now: Time) -> Duration {
        if self.up { self.downtime } else { self.downtime + now.since(self.since) }
    }
}

/// Spreads the first probes, so that those of many servers do not start together: the first at once, all within a
/// second (1 ms a server above 1,000 servers), and within the interval.
#[derive(Debug)]
pub struct Spread {
    from: Time,
    servers: u32,
    position: u32,
}

impl Spread {
    /// A spread for `servers` servers, from `now` on.
    #[must_use]
    pub fn new(now: Time, servers: u32) -> Spread {
        Spread { from: now, servers: servers.max(1), position: 0 }
    }

    /// The time from which it spreads.
    #[must_use]
    pub fn now(&self) -> Time {
        self.from
    }

    /// The time of the next server's first probe.
    pub fn first_probe(&mut self, interval: Duration) -> Time {
        let width = interval.min(Duration::from_millis(u64::from(self.servers)).max(Duration::from_secs(1)));
        let at = self.from + width / self.servers * self.position;
        self.position = (self.position + 1) % self.servers;
        at
    }
}

fn micros(micros: u128) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use crate::config::ProxyProtocol;

    const SECOND: Duration = Duration::from_secs(1);

    fn tally(health: &Health) -> (u32, u32) {
        let Tally { count, of } = health.tally();
        (count, of)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + SECOND * seconds as u32
    }

    fn check() -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp,
            interval: 10 * SECOND,
            fast_interval: 10 * SECOND,
            timeout: 5 * SECOND,
            fall: 3,
            rise: 2,
            port: None,
            proxy_header: ProxyProtocol::V2,
        }
    }

    fn checked(result: CheckResult) -> Checked {
        Checked { result, status: None, info: "".into(), took: Duration::ZERO }
    }

    fn probe(health: &mut Health, now: Time, pass: bool) -> Option<Change> {
        health.started();
        health.report(now, checked(if pass { CheckResult::L4Ok } else { CheckResult::L4Connection }))
    }

    fn fresh() -> Health {
        Health::new(&check(), at(0), at(0))
    }

    /// Without this, a server that was dead from the start gets clients for three intervals.
    #[test]
    fn one_failure_takes_an_unproven_server_down() {
        let mut health = fresh();
        assert!(health.is_up());
        assert_eq!(tally(&health), (1, 3));
        assert_eq!(probe(&mut health, at(0), false), Some(Change::Down));
        assert_eq!(tally(&health), (0, 2));
    }

    /// Without this, a single lost probe takes a good server out.
    #[test]
    fn a_proven_server_goes_down_after_fall_and_comes_back_after_rise() {
        let mut health = fresh();
        assert_eq!(probe(&mut health, at(0), true), None);
        assert_eq!(tally(&health), (3, 3));
        assert_eq!(probe(&mut health, at(10), false), None);
        assert_eq!(probe(&mut health, at(20), false), None);
        assert_eq!(tally(&health), (1, 3));
        assert_eq!(probe(&mut health, at(30), false), Some(Change::Down));
        assert_eq!(probe(&mut health, at(40), true), None);
        assert_eq!(tally(&health), (1, 2));
        assert_eq!(probe(&mut health, at(50), false), None);
        assert_eq!(probe(&mut health, at(60), true), None);
        assert_eq!(probe(&mut health, at(70), true), Some(Change::Up));
        assert_eq!(tally(&health), (3, 3));
    }

    /// Without this, dashboards show wrong times, numbers and lengths of outages.
    #[test]
    fn standing_adds_up() {
        let mut health = fresh();
        probe(&mut health, at(10), false);
        probe(&mut health, at(20), false);
        assert_eq!(health.standing().since(), at(10));
        assert_eq!(health.standing().downtime(at(25)), 15 * SECOND);
        assert_eq!(health.failures(), 1, "HAProxy does not count failures of a server that is down");
        probe(&mut health, at(30), true);
        probe(&mut health, at(40), true);
        assert_eq!(health.standing().downtime(at(100)), 30 * SECOND);
        assert_eq!((health.standing().since(), health.standing().lasted()), (at(40), 30 * SECOND));
        assert_eq!(health.standing().downs(), 1);
        for (n, seconds) in [50, 60, 70].into_iter().enumerate() {
            probe(&mut health, at(seconds), false);
            assert_eq!(health.failures(), 2 + n as u64);
        }
        assert_eq!((health.is_up(), health.standing().downs()), (false, 2));
    }

    /// Without this, a server changes state after other results than in HAProxy, whose number from 0 to rise + fall - 1
    /// is the model here.
    #[test]
    fn agrees_with_haproxys_counter() {
        let mut random = Random::new(11);
        for _ in 0..200 {
            let (fall, rise) = (1 + random.below(4) as u32, 1 + random.below(4) as u32);
            let mut health = Health::new(&HealthCheck { fall, rise, ..check() }, at(0), at(0));
            let mut counter = rise;
            for step in 0..200 {
                let pass = random.below(2) == 0;
                if pass {
                    counter += 1;
                    if counter >= rise {
                        counter = rise + fall - 1;
                    }
                } else {
                    counter = counter.saturating_sub(1);
                    if counter < rise {
                        counter = 0;
                    }
                }
                probe(&mut health, at(step), pass);
                assert_eq!(health.is_up(), counter >= rise);
                let shown = if counter >= rise { (counter + 1 - rise, fall) } else { (counter, rise) };
                assert_eq!(tally(&health), shown);
            }
        }
    }

    /// Without this, slow probes drift, overlap, or are followed by a burst.
    #[test]
    fn probes_start_on_a_fixed_cadence() {
        let mut health = Health::new(&check(), at(0), at(3));
        assert_eq!(health.next_probe(), Some(at(3)));
        health.started();
        assert_eq!(health.next_probe(), None);
        health.report(at(7), checked(CheckResult::L4Ok));
        assert_eq!(health.next_probe(), Some(at(13)));
        health.started();
        health.report(at(38), checked(CheckResult::L4Ok));
        assert_eq!(health.next_probe(), Some(at(43)));
    }

    /// Without this, `fast_interval` has no effect, or goes on after the verdict.
    #[test]
    fn a_pending_verdict_hastens_probes() {
        let mut health = Health::new(&HealthCheck { fast_interval: 2 * SECOND, ..check() }, at(0), at(0));
        let mut seen = Vec::new();
        for passed in [true, false, true, false, false, false, true, true, true] {
            let now = health.next_probe().unwrap();
            probe(&mut health, now, passed);
            seen.push((now, health.is_up()));
        }
        // Down at the third failure in a row, up at the second pass; on the grid again then.
        let expected = [
            (0, true),
            (10, true),
            (12, true),
            (22, true),
            (24, true),
            (26, false),
            (36, false),
            (38, true),
            (48, true),
        ];
        assert_eq!(seen, expected.map(|(second, up)| (at(second), up)));
    }

    /// Without this, a server that is not probed goes down, or one that was down stays so after a reload.
    #[test]
    fn off_is_always_up() {
        let off = HealthCheck { probe: Probe::Off, ..check() };
        let mut health = Health::new(&off, at(0), at(0));
        assert_eq!(health.next_probe(), None);
        assert_eq!(health.report(at(1), checked(CheckResult::L4Timeout)), None);
        assert!(health.is_up());

        let mut health = fresh();
        probe(&mut health, at(0), false);
        health.started();
        assert_eq!(health.adopt(at(5), &off, at(5)), Some(Change::Up));
        assert_eq!(health.report(at(6), checked(CheckResult::L4Timeout)), None, "the probe that was running");
        assert_eq!(health.adopt(at(9), &check(), at(11)), None);
        assert_eq!(health.next_probe(), Some(at(11)));
    }

    /// Without this, a reload brings dead servers back, or probes at the old interval.
    #[test]
    fn adopting_keeps_health_and_takes_the_new_pace() {
        let mut health = fresh();
        probe(&mut health, at(0), true);
        let quick = HealthCheck { interval: 4 * SECOND, fast_interval: 4 * SECOND, fall: 1, ..check() };
        assert_eq!(health.adopt(at(1), &quick, at(1)), None);
        assert_eq!(health.next_probe(), Some(at(2)), "the old moment, 10, less whole new intervals");
        assert_eq!(tally(&health), (1, 1));
        assert_eq!(probe(&mut health, at(2), false), Some(Change::Down));
        health.adopt(at(3), &HealthCheck { rise: 5, ..quick }, at(3));
        assert!(!health.is_up());
        assert_eq!(health.standing().downs(), 1);
    }

    /// Without this, a server at a new address inherits the old one's state, or its counters go down.
    #[test]
    fn restart_forgets_health_and_keeps_counters() {
        let mut health = fresh();
        probe(&mut health, at(0), false);
        health.started();
        assert_eq!(health.restart(at(2), at(4)), Some(Change::Up));
        assert_eq!(health.report(at(3), checked(CheckResult::L4Timeout)), None, "a probe of the old address");
        assert_eq!((tally(&health), health.next_probe()), ((1, 3), Some(at(4))));
        assert_eq!((health.failures(), health.standing().downs()), (1, 1));
        assert_eq!(health.standing().downtime(at(9)), 2 * SECOND);
    }

    /// Without this, /stats does not show the last probe's result, or a cancelled probe counts.
    #[test]
    fn the_last_verdict_is_kept_and_one_that_was_called_off_is_none() {
        let mut health = fresh();
        assert_eq!((health.last(), health.result()), (None, CheckResult::Initializing));
        health.started();
        health.report(at(1), checked(CheckResult::L6Timeout));
        assert_eq!((health.last(), health.result()), (Some(&checked(CheckResult::L6Timeout)), CheckResult::L6Timeout));
        health.started();
        health.stop_probe();
        assert_eq!(health.report(at(2), checked(CheckResult::L4Ok)), None);
        assert_eq!(health.result(), CheckResult::L6Timeout);
    }

    /// Without this, the log says that a server is down and not why.
    #[test]
    fn a_verdict_is_worded_with_all_that_came() {
        let l7 = Checked { status: Some(503), ..checked(CheckResult::L7Status) };
        assert_eq!(l7.found(), format!("{} 503", CheckResult::L7Status.describe()));
        let l4 = Checked { info: "Connection refused".into(), ..checked(CheckResult::L4Connection) };
        assert_eq!(l4.found(), format!("{}: Connection refused", CheckResult::L4Connection.describe()));
    }

    /// Without this, a shortage of the host takes servers down, or ends their probes.
    #[test]
    fn a_probe_without_a_verdict_changes_nothing() {
        let mut health = fresh();
        for (is_first, proven) in [(true, false), (false, false)] {
            health.started();
            assert_eq!((health.no_verdict(), health.is_proven()), (is_first, proven));
        }
        assert_eq!((tally(&health), health.next_probe()), ((1, 3), Some(at(0))));
        assert_eq!(
            health.report(at(1), checked(CheckResult::L4Timeout)),
            None,
            "there is no probe that it could be of"
        );
        probe(&mut health, at(10), true);
        health.started();
        assert!(health.no_verdict(), "a row ends with a verdict");
        assert_eq!((tally(&health), health.next_probe()), ((3, 3), Some(at(20))));
        assert!(health.is_proven());
        health.restart(at(21), at(22));
        assert!(!health.is_proven(), "nothing is known of another address");
        health.started();
        assert!(health.no_verdict());
    }

    /// Without this, all servers are probed at the same moment.
    #[test]
    fn first_probes_are_spread() {
        let times = |servers, interval| {
            let mut spread = Spread::new(at(5), servers);
            (0..servers).map(|_| spread.first_probe(interval)).collect::<Vec<_>>()
        };
        assert_eq!(Spread::new(at(5), 1).now(), at(5), "since when the servers stand");
        assert_eq!(times(1, 10 * SECOND), [at(5)]);
        assert_eq!(times(2, 10 * SECOND), [at(5), at(5) + SECOND / 2]);
        let many = times(5000, 10 * SECOND);
        assert!(many.is_sorted_by(|a, b| a < b));
        assert_eq!(many.last(), Some(&(at(9) + Duration::from_millis(999))));
        assert!(times(5000, 2 * SECOND).iter().all(|time| *time < at(7)));
    }

    /// Without this, a restart sends clients to a server that is known to be down, or one lost probe takes a server
    /// down.
    #[test]
    fn another_process_goes_on_where_this_one_was() {
        let mut before = fresh();
        probe(&mut before, at(0), true);
        probe(&mut before, at(10), false);
        probe(&mut before, at(20), false);
        let text = serde_json::to_string(&before.park()).unwrap();
        let mut after = Health::new(&check(), at(25), at(26));
        after.take_up(serde_json::from_str(&text).unwrap());
        assert_eq!((after.is_up(), tally(&after), after.failures()), (true, (1, 3), 2));
        assert_eq!((after.next_probe(), after.last()), (Some(at(30)), before.last()));
        assert_eq!(probe(&mut after, at(30), false), Some(Change::Down));

        let text = serde_json::to_string(&after.park()).unwrap();
        let mut third = Health::new(&check(), at(31), at(31));
        third.take_up(serde_json::from_str(&text).unwrap());
        assert_eq!((third.is_up(), third.standing().downs(), third.standing().since()), (false, 1, at(30)));

        let mut unprobed = Health::new(&HealthCheck { probe: Probe::Off, ..check() }, at(31), at(31));
        unprobed.take_up(serde_json::from_str(&text).unwrap());
        assert!(unprobed.is_up(), "nothing would ever bring it back");
    }
}
