//! The limits of one source address: new connections in a period, and open connections.
//!
//! Every attempt counts for the rate, refused ones too, as with HAProxy's `conn_rate`: a source that keeps hammering
//! stays out until it has been quiet enough.
//!
//! # Memory
//! Rates live in two tables of at most [`MAX_SOURCES`] sources each, together 18 MB when both are full, and next to nothing when few
//! sources connect. New sources go into the recent table. Once a period, the recent table becomes the older one, and the older one is
//! thrown away: each of its sources was last seen more than a period ago, so nothing is lost. If more sources come within a period than
//! fit, the tables turn over early. Sources that were not seen since the last turnover are then forgotten, and may have up to `rate`
//! connections more. So a flood of addresses can make the limit forget sources that were quiet during the last [`MAX_SOURCES`]
//! addresses; it cannot make the tables grow, and cannot have other sources refused.
//!
//! Open connections are counted in another table, only with a `concurrent` limit. Each of its entries has an open
//! connection, so `limits.connections` bounds it.
//!
//! The tables hash with std's keyed `SipHash`, under keys from the kernel, so that no client can aim at one bucket.
mod parked;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::time::Time;
use crate::config::PerSource;
use crate::vocabulary::DropReason;

/// Sources in each of the two tables: 7 of 8 of 32,768 buckets, the most that the hash table fills.
pub const MAX_SOURCES: usize = 28_672;
/// Stamps kept for a source. Up to this rate each is one attempt and the limit is exact; see [`Attempts`].
const MOMENTS: usize = 64;
/// The most ticks in a period, so that stamps of 32 bits are unambiguous over four periods.
const MAX_TICKS: u64 = 1 << 30;

/// The limits of `limits.per_source`. The default has none.
#[derive(Debug, Default)]
pub struct RateLimit {
    exempt: Vec<IpNet>,
    ipv6_prefix: u8,
    rate: Option<Rate>,
    concurrent: Option<u32>,
    open: HashMap<IpAddr, u32>,
    evicted_before: u64,
}

impl RateLimit {
    /// Limits that have seen no source yet.
    #[must_use]
    pub fn new(limits: &PerSource) -> RateLimit {
        RateLimit {
            exempt: limits.exempt.clone(),
            ipv6_prefix: limits.ipv6_prefix,
            rate: limits.rate.map(|most| Rate::new(most, limits.period)),
            concurrent: limits.concurrent,
            open: HashMap::new(),
            evicted_before: 0,
        }
    }

    /// Changes to other limits. Known rates stay, unless they were measured in another way. Open connections are
    /// counted again, by [`RateLimit::opened`].
    pub fn change(&mut self, limits: Option<&PerSource>) {
        let new = limits.map(RateLimit::new).unwrap_or_default();
        let old = std::mem::replace(self, new);
        self.evicted_before = old.evicted();
        let same_sources = self.ipv6_prefix == old.ipv6_prefix;
        if let (Some(new), Some(old)) = (&mut self.rate, old.rate)
            && same_sources
            && (new.period, share(new.most)) == (old.period, share(old.most))
        {
            *new = Rate { most: new.most, evicted: 0, ..old };
        }
    }

    /// Decides on a new connection. An allowed one counts as open until [`RateLimit::closed`].
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn admit(&mut self, now: Time, source: IpAddr) -> Result<(), DropReason> {
        let Some(source) = self.limited(source) else {
            return Ok(());
        };
        if self.rate.as_mut().is_some_and(|rate| !rate.admit(now, source)) {
            return Err(DropReason::RateLimited);
        }
        if self.concurrent.is_some_and(|most| self.open.get(&source).copied().unwrap_or(0) >= most) {
            return Err(DropReason::TooManyConnections);
        }
        self.count(source);
        Ok(())
    }

    /// Counts an open connection that was allowed under other limits.
    pub fn opened(&mut self, source: IpAddr) {
        if let Some(source) = self.limited(source) {
            self.count(source);
        }
    }

    /// Uncounts an allowed connection.
    pub fn closed(&mut self, source: IpAddr) {
        if self.concurrent.is_none() {
            return;
        }
        let Some(source) = self.limited(source) else {
            return;
        };
        if let Entry::Occupied(mut open) = self.open.entry(source) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// Sources in the tables.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.rate.as_ref().map_or(0, |rate| rate.recent.len() + rate.older.len())
    }

    /// Sources that were forgotten within their period because the tables were full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted_before + self.rate.as_ref().map_or(0, |rate| rate.evicted)
    }

    /// The address under which a source is counted; `None` if it is exempt.
    fn limited(&self, source: IpAddr) -> Option<IpAddr> {
        if self.exempt.iter().any(|net| net.contains(&source)) {
            return None;
        }
        Some(match source {
            IpAddr::V4(_) => source,
            IpAddr::V6(v6) => Ipv6Net::new(v6, self.ipv6_prefix).map_or(source, |net| net.network().into()),
        })
    }

    fn count(&mut self, source: IpAddr) {
        if self.concurrent.is_some() {
            *self.open.entry(source).or_default() += 1;
        }
    }
}

/// Allows at most `most` attempts of a source in any `period`.
#[derive(Debug)]
struct Rate {
    most: u32,
    period: Duration,
    /// Microseconds in a tick, the unit of stamps; 1 for periods below 17 minutes.
    tick: u64,
    /// Boxed, so that a growing table moves little.
    recent: HashMap<IpAddr, Box<Attempts>>,
    older: HashMap<IpAddr, Box<Attempts>>,
    swapped: Time,
    evicted: u64,
}

impl Rate {
    fn new(most: u32, period: Duration) -> Rate {
        let period = period.max(Duration::from_micros(1));
        Rate {
            most,
            period,
            tick: micros(period) / MAX_TICKS + 1,
            recent: HashMap::new(),
            older: HashMap::new(),
            swapped: Time::ZERO,
            evicted: 0,
        }
    }

    fn admit(&mut self, now: Time, source: IpAddr) -> bool {
        self.forget(now);
        let attempts = match self.recent.entry(source) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.older.remove(&source).unwrap_or_default()),
        };
        let stamp = (now.as_micros() / self.tick) as u32;
        let period = (micros(self.period) / self.tick) as u32;
        attempts.count(stamp, period, self.most) < self.most
    }

    /// Turns the tables over when a period has passed or the recent table is full; twice if the recent one is out of
    /// date as well.
    fn forget(&mut self, now: Time) {
        let periods = now.since(self.swapped).as_micros() / self.period.as_micros();
        if periods > 0 {
            self.turn_over(now);
            if periods > 1 {
                self.turn_over(now);
            }
        } else if self.recent.len() >= MAX_SOURCES {
            self.evicted += self.older.len() as u64;
            self.turn_over(now);
        }
    }

    fn turn_over(&mut self, now: Time) {
        self.swapped = now;
        self.older.clear();
        std::mem::swap(&mut self.recent, &mut self.older);
        self.recent.shrink_to(2 * self.older.len());
    }
}

/// The latest attempts of a source.
///
/// For a rate above [`MOMENTS`] a stamp stands for several attempts, and has the time of the last. No period gets more
/// than the rate then either, but a source may be refused from 62/63 of the rate on.
#[derive(Debug)]
struct Attempts {
    /// The latest first.
    stamps: [u32; MOMENTS],
    /// The number of stamps in use.
    held: u8,
    /// Attempts that the first stamp stands for.
    in_first: u32,
}

impl Attempts {
    /// Notes an attempt. Answers how many there were in the `period` before it; from `most` on, the answer may be too
    /// low, but not below `most`.
    fn count(&mut self, now: u32, period: u32, most: u32) -> u32 {
        let each = share(most);
        let held = self.stamps.iter().take(self.held.into()).take_while(|&&at| now.wrapping_sub(at) < period).count();
        let before = if held == 0 { 0 } else { (held as u32 - 1) * each + self.in_first };
        if held == 0 || self.in_first == each {
            self.stamps.rotate_right(1);
            self.held = MOMENTS.min(held + 1) as u8;
            self.in_first = 0;
        } else {
            self.held = held as u8;
        }
        let [first, ..] = &mut self.stamps;
        *first = now;
        self.in_first += 1;
        before
    }
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts { stamps: [0; MOMENTS], held: 0, in_first: 0 }
    }
}

/// Attempts that a stamp stands for. All stamps but the first are full, so 63 of them and one attempt show that `most` is
/// reached.
fn share(most: u32) -> u32 {
    most.saturating_sub(1).div_ceil(MOMENTS as u32 - 1).max(1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::random::Random;
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    fn source(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    fn limits() -> PerSource {
        PerSource {
            rate: Some(50),
            period: Duration::from_secs(5),
            concurrent: None,
            ipv6_prefix: 64,
            exempt: Vec::new(),
        }
    }

    fn concurrent(most: u32) -> RateLimit {
        RateLimit::new(&PerSource { rate: None, concurrent: Some(most), ..limits() })
    }

    /// Bytes of both tables, with a byte of hash for each place and 8 bytes of malloc for each source.
    fn memory(limit: &RateLimit) -> usize {
        let rate = limit.rate.as_ref().unwrap();
        let table = |table: &HashMap<IpAddr, Box<Attempts>>| {
            let places = (table.capacity() * 8).div_ceil(7);
            places * (size_of::<(IpAddr, Box<Attempts>)>() + 1) + table.len() * (size_of::<Attempts>() + 8)
        };
        table(&rate.recent) + table(&rate.older)
    }

    /// Without this, the deployment's rule does not hold: 50 in 5 s are let in, the 51st is not, other sources are.
    #[test]
    fn fifty_in_five_seconds_and_no_more() {
        let mut limit = RateLimit::new(&limits());
        for n in 0..50 {
            assert_eq!(limit.admit(at(n * SECOND / 10), source(1)), Ok(()));
        }
        assert_eq!(limit.admit(at(5 * SECOND - 1), source(1)), Err(DropReason::RateLimited));
        assert_eq!(limit.admit(at(5 * SECOND - 1), source(2)), Ok(()));
    }

    /// Without this, a burst, or a steady stream at the rate itself, is refused too early or let in too soon.
    #[test]
    fn the_window_slides_to_the_microsecond() {
        for start in [0, 1, 4_999_999, 7_123_456] {
            let mut limit = RateLimit::new(&limits());
            for n in 0..50 {
                assert_eq!(limit.admit(at(start + n), source(1)), Ok(()));
            }
            assert_eq!(limit.admit(at(start + 5 * SECOND), source(1)), Ok(()), "the first is out of the window");
            assert_eq!(limit.admit(at(start + 5 * SECOND), source(1)), Err(DropReason::RateLimited));
        }
        let mut limit = RateLimit::new(&limits());
        for n in 0..1000 {
            assert_eq!(limit.admit(at(n * SECOND / 10), source(1)), Ok(()), "{n}");
        }
    }

    /// Without this, an attacker that never stops gets 50 connections every 5 s.
    #[test]
    fn who_goes_on_hammering_stays_out() {
        let mut limit = RateLimit::new(&limits());
        let admitted = (0..6000).filter(|n| limit.admit(at(n * SECOND / 100), source(1)).is_ok()).count();
        assert_eq!(admitted, 50);
        assert_eq!(limit.admit(at(60 * SECOND + 5 * SECOND), source(1)), Ok(()));
    }

    /// Without this, the limit differs from a naive model that keeps every attempt, such as when a table is replaced.
    #[test]
    fn agrees_with_a_log_of_all_attempts() {
        let mut random = Random::new(4);
        for most in [1, 2, 7, 50, 64, 65, 100, 127, 128, 129, 1000] {
            let limits = PerSource { rate: Some(most), ..limits() };
            let each = if most <= 64 { 1 } else { (most as usize - 1).div_ceil(63) };
            let mut limit = RateLimit::new(&limits);
            let mut log = vec![VecDeque::new(); 4];
            let mut now = 0;
            let (mut admitted, mut refused) = (0, 0);
            for _ in 0..20_000 {
                let pause =
                    if random.below(20 * most) == 0 { 12 * SECOND as u32 } else { 5 * SECOND as u32 / (2 * most) };
                now += random.below(pause);
                let i = random.below(4) as usize;
                log[i].retain(|then| now - then < 5 * SECOND);
                let verdict = limit.admit(at(now), source(i as u32));
                if log[i].len() >= most as usize {
                    assert_eq!(verdict, Err(DropReason::RateLimited), "rate {most}");
                    refused += 1;
                } else if log[i].len() + each <= most as usize {
                    assert_eq!(verdict, Ok(()), "rate {most}");
                    admitted += 1;
                }
                log[i].push_back(now);
            }
            assert!(admitted > 500 && refused > 500, "rate {most}: {admitted} {refused}");
        }
    }

    /// Without this, an old stamp of 32 bits that wraps around is taken for a new one.
    #[test]
    fn long_periods_and_long_silence() {
        for period in [1, 5, 3600, 1_000_000] {
            let mut limit =
                RateLimit::new(&PerSource { rate: Some(1), period: Duration::from_secs(period), ..limits() });
            let tick = limit.rate.as_ref().unwrap().tick;
            assert_eq!(limit.admit(at(0), source(1)), Ok(()));
            assert_eq!(limit.admit(at(period * SECOND - 1 - tick), source(1)), Err(DropReason::RateLimited));
            assert_eq!(limit.admit(at((1 << 32) * tick + period * SECOND), source(1)), Ok(()), "{period} s");
            assert_eq!(limit.admit(at((2 << 32) * tick + period * SECOND), source(1)), Ok(()), "{period} s");
        }
    }

    /// Without this, a flood of addresses takes memory without bound, or makes the limit forget a busy source.
    #[test]
    fn a_million_addresses_stay_within_the_bound() {
        const BOUND: usize = 18_000_000;
        let mut limit = RateLimit::new(&limits());
        let mut busy = 0;
        for n in 0..1_000_000_u32 {
            let now = at(u64::from(n));
            assert_eq!(limit.admit(now, source(0x0b00_0000 + n)), Ok(()));
            if n % 10_000 == 0 {
                busy += usize::from(limit.admit(now, source(1)).is_ok());
            }
            assert!(limit.sources() <= 2 * MAX_SOURCES);
        }
        assert_eq!(busy, 50, "all within a second");
        assert!(memory(&limit) <= BOUND && memory(&limit) > BOUND / 2, "{}", memory(&limit));
        assert!(limit.evicted() > 900_000);

        for n in 1..4 {
            assert_eq!(limit.admit(at((1 + 5 * n) * SECOND), source(2)), Ok(()));
        }
        assert!(memory(&limit) < 5_000, "{}", memory(&limit));
        assert_eq!(limit.sources(), 1);
    }

    /// Without this, an IPv6 client evades its limit with other addresses of its prefix.
    #[test]
    fn ipv6_counts_by_prefix() {
        let v6 = |bits| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | bits));
        let mut limit = RateLimit::new(&PerSource { rate: Some(1), ..limits() });
        assert_eq!(limit.admit(at(0), v6(1)), Ok(()));
        assert_eq!(limit.admit(at(0), v6(0xFFFF_FFFF_FFFF_FFFF)), Err(DropReason::RateLimited));
        assert_eq!(limit.admit(at(0), v6(1 << 64)), Ok(()));
    }

    /// Without this, an exempt source is refused, or its ends count against its neighbours.
    #[test]
    fn exempt_sources_are_not_counted() {
        let exempt = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::7/128".parse().unwrap()];
        let mut limit = RateLimit::new(&PerSource { rate: Some(1), concurrent: Some(1), exempt, ..limits() });
        for _ in 0..3 {
            assert_eq!(limit.admit(at(0), "10.1.2.3".parse().unwrap()), Ok(()));
        }
        let neighbour = "2001:db8::8".parse().unwrap();
        assert_eq!(limit.admit(at(0), neighbour), Ok(()));
        limit.closed("2001:db8::7".parse().unwrap());
        assert_eq!(limit.admit(at(9 * SECOND), neighbour), Err(DropReason::TooManyConnections));
        assert_eq!(limit.sources(), 1);
    }

    /// Without this, a source holds more connections than allowed, or fewer after each refusal.
    #[test]
    fn concurrent_counts_what_is_open() {
        let mut limit = concurrent(2);
        assert_eq!(limit.admit(at(0), source(1)), Ok(()));
        assert_eq!(limit.admit(at(0), source(1)), Ok(()));
        assert_eq!(limit.admit(at(0), source(1)), Err(DropReason::TooManyConnections));
        assert_eq!(limit.admit(at(0), source(2)), Ok(()));
        limit.closed(source(1));
        assert_eq!(limit.admit(at(0), source(1)), Ok(()));
        assert_eq!(limit.admit(at(0), source(1)), Err(DropReason::TooManyConnections));
        for n in [1, 1, 2] {
            limit.closed(source(n));
        }
        assert!(limit.open.is_empty(), "nothing is kept for a source without connections");
        limit.closed(source(3));
    }

    /// Without this, a reload forgets open connections, and their ends are counted off new ones.
    #[test]
    fn open_connections_are_carried_over() {
        let mut limit = concurrent(2);
        limit.opened(source(1));
        assert_eq!(limit.admit(at(0), source(1)), Ok(()));
        assert_eq!(limit.admit(at(0), source(1)), Err(DropReason::TooManyConnections));
    }

    /// Without this, a reload that adds an exemption forgets all sources, and a counter goes down.
    #[test]
    fn other_limits_keep_what_is_known() {
        let mut limit = concurrent(9);
        limit.change(Some(&limits()));
        for n in 0..50 {
            assert_eq!(limit.admit(at(n), source(1)), Ok(()));
        }
        limit.rate.as_mut().unwrap().evicted = 7;
        let exempt = vec!["0.0.0.9/32".parse().unwrap()];
        limit.change(Some(&PerSource { rate: Some(51), exempt, ..limits() }));
        assert_eq!(limit.admit(at(50), source(1)), Ok(()));
        assert_eq!(limit.admit(at(51), source(1)), Err(DropReason::RateLimited));
        limit.change(Some(&PerSource { period: Duration::from_secs(6), ..limits() }));
        assert_eq!(limit.admit(at(52), source(1)), Ok(()), "another period is measured anew");
        limit.change(None);
        assert_eq!((limit.admit(at(53), source(1)), limit.sources(), limit.evicted()), (Ok(()), 0, 7));
    }
}
