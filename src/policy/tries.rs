//! Wrong passwords: how many an address may try, and when the log reports them.
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::Ipv6Net;

use super::per_second::PerSecond;
use super::time::Time;

/// Wrong passwords that an address may try in a second.
pub const MAX_A_SECOND: usize = 10;
/// Addresses whose last second is remembered. While there are more, no further address may try.
const MAX_ADDRESSES: usize = 1024;
/// The first wrong password of an address is logged at once, further ones once in this time.
pub const SUMMARY_PERIOD: Duration = Duration::from_secs(10);
/// The prefix of IPv6 that counts as one address: a client can use any address of its own network.
const IPV6_PREFIX: u8 = 64;

/// When a refusal is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// At once.
    Now,
    /// In a [summary](Tries::summary) at that time.
    At(Time),
    /// In a summary that is scheduled already.
    Due,
}

/// Recent wrong passwords.
#[derive(Debug, Default)]
pub struct Tries {
    addresses: HashMap<IpAddr, PerSecond>,
    /// Refusals since the last log line.
    untold: u64,
    /// The time of the last log line.
    told: Option<Time>,
}

impl Tries {
    /// Whether a password from `source` is checked at all.
    pub fn may_try(&mut self, source: IpAddr, now: Time) -> bool {
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.retain(|_, tries| tries.is_recent(now));
        }
        match self.addresses.get(&network(source)) {
            Some(tries) => tries.ready_at() <= now,
            None => self.addresses.len() < MAX_ADDRESSES,
        }
    }

    /// Counts a wrong password from `source`.
    pub fn failed(&mut self, source: IpAddr, now: Time) {
        self.addresses.entry(network(source)).or_insert_with(|| PerSecond::new(MAX_A_SECOND)).take(now);
    }

    /// Counts a refusal. Answers when it is to be logged.
    pub fn note_refusal(&mut self, now: Time) -> Notice {
        self.untold += 1;
        match self.told.map(|told| told + SUMMARY_PERIOD) {
            _ if self.untold > 1 => Notice::Due,
            Some(due) if due > now => Notice::At(due),
            _ => {
                self.summary(now);
                Notice::Now
            }
        }
    }

    /// The refusals since the last log line.
    pub fn summary(&mut self, now: Time) -> u64 {
        self.told = Some(now);
        std::mem::take(&mut self.untold)
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => Ipv6Net::new(v6, IPV6_PREFIX).map_or(source, |net| net.network().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_micros(1000 * millis)
    }

    /// Without this, a password is guessed as fast as the machine answers.
    #[test]
    fn an_address_has_ten_tries_a_second() {
        let (mut tries, one, other) = (Tries::default(), IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let looked_at = (0..10_000).filter(|_| {
            let may = tries.may_try(one, at(500));
            may.then(|| tries.failed(one, at(500))).is_some()
        });
        assert_eq!(looked_at.count(), MAX_A_SECOND);
        assert!(tries.may_try(other, at(500)) && !tries.may_try(one, at(1499)) && tries.may_try(one, at(1500)));
        let host = |last| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        (0..10).for_each(|last| tries.failed(host(last), at(500)));
        assert!(!tries.may_try(host(99), at(500)), "a network of IPv6 is one address");
    }

    /// Without this, a flood of addresses takes memory without bound, or locks clients out for good.
    #[test]
    fn addresses_are_bounded_and_forgotten() {
        let mut tries = Tries::default();
        for number in 0..100_000_u32 {
            let source = IpAddr::from(number.to_be_bytes());
            if tries.may_try(source, at(0)) {
                tries.failed(source, at(0));
            }
        }
        assert_eq!(tries.addresses.len(), MAX_ADDRESSES);
        assert!(tries.may_try(IpAddr::from([255; 4]), at(1000)));
    }

    /// Without this, each wrong password is a log line, or the last ones are never reported.
    #[test]
    fn refusals_are_summed_up() {
        let mut tries = Tries::default();
        assert_eq!(tries.note_refusal(at(0)), Notice::Now);
        assert_eq!(tries.note_refusal(at(100)), Notice::At(at(10_000)));
        assert!((1..5000).all(|_| tries.note_refusal(at(100)) == Notice::Due));
        assert_eq!(tries.summary(at(10_000)), 5000);
        assert_eq!(tries.note_refusal(at(10_001)), Notice::At(at(20_000)), "the next is summed up as well");
        assert_eq!(tries.summary(at(20_000)), 1);
        assert_eq!(tries.note_refusal(at(30_000)), Notice::Now, "and after a pause it is told at once");
    }
}
