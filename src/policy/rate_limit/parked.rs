//! Rates as the next process gets them.
//!
//! ```text
//! 8 bytes   micros of the period     4 bytes  attempts that a stamp stands for
//! 1 byte    IPv6 prefix              8 bytes  when the tables were swapped
//! then for each source, those of the older table first:
//! 1 byte    1: of the recent table
//! 16 bytes  address, IPv4 as ::ffff:a.b.c.d
//! 4 bytes   attempts that the first stamp stands for
//! 1 byte    number of stamps, then 4 bytes each, the latest first
//! ```
//!
//! Numbers are little endian. The bytes come from a process that may be of another version, but not from a client.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::{Attempts, MAX_SOURCES, Rate, RateLimit, Time, micros, share};

impl RateLimit {
    /// The known rates; empty without a rate limit.
    #[must_use]
    pub fn park(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let Some(rate) = &self.rate else { return all };
        all.extend_from_slice(&rate.measure(self.ipv6_prefix));
        all.extend_from_slice(&rate.swapped.as_micros().to_le_bytes());
        for (is_recent, table) in [(0, &rate.older), (1, &rate.recent)] {
            for (source, attempts) in table {
                all.push(is_recent);
                let address = match source {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => *v6,
                };
                all.extend_from_slice(&address.octets());
                all.extend_from_slice(&attempts.in_first.to_le_bytes());
                all.push(attempts.held);
                all.extend(attempts.stamps.iter().take(attempts.held.into()).flat_map(|stamp| stamp.to_le_bytes()));
            }
        }
        all
    }

    /// Takes over the rates of the previous process, if it measured in the same way. Sources that do not fit are left
    /// out.
    pub fn take_up(&mut self, parked: &[u8]) {
        let prefix = self.ipv6_prefix;
        let Some(rate) = &mut self.rate else { return };
        let mut bytes = parked.strip_prefix(&rate.measure(prefix)[..]).unwrap_or_default();
        let Some(swapped) = number::<8>(&mut bytes) else { return };
        rate.swapped = Time::from_micros(u64::from_le_bytes(swapped));
        while let Some((is_recent, source, attempts)) = entry(&mut bytes) {
            let table = if is_recent { &mut rate.recent } else { &mut rate.older };
            insert(table, source, attempts);
        }
    }
}

impl Rate {
    /// The parameters that give stamps their meaning.
    fn measure(&self, ipv6_prefix: u8) -> Vec<u8> {
        let mut measure = micros(self.period).to_le_bytes().to_vec();
        measure.extend_from_slice(&share(self.most).to_le_bytes());
        measure.push(ipv6_prefix);
        measure
    }
}

fn insert(table: &mut HashMap<IpAddr, Box<Attempts>>, source: IpAddr, attempts: Attempts) {
    if table.len() < MAX_SOURCES {
        table.insert(source, Box::new(attempts));
    }
}

fn entry(bytes: &mut &[u8]) -> Option<(bool, IpAddr, Attempts)> {
    let [is_recent] = number(bytes)?;
    let source = IpAddr::V6(Ipv6Addr::from(number::<16>(bytes)?)).to_canonical();
    let in_first = u32::from_le_bytes(number(bytes)?);
    let [held] = number(bytes)?;
    let mut attempts = Attempts { held, in_first, ..Attempts::default() };
    for n in 0..usize::from(held) {
        *attempts.stamps.get_mut(n)? = u32::from_le_bytes(number(bytes)?);
    }
    Some((is_recent == 1, source, attempts))
}

fn number<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (number, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::DropReason;
    use super::*;
    use crate::config::PerSource;

    fn limits(rate: u32) -> PerSource {
        let period = Duration::from_secs(5);
        PerSource { rate: Some(rate), period, concurrent: None, ipv6_prefix: 64, exempt: Vec::new() }
    }

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    /// Without this, a restart lets in a source that is over its limit, or refuses one that has waited.
    #[test]
    fn a_source_that_hammers_stays_out() {
        let sources: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let mut before = RateLimit::new(&limits(50));
        for n in 0..50 {
            assert_eq!(sources.map(|source| before.admit(at(n), source)), [Ok(()), Ok(())]);
        }
        let mut after = RateLimit::new(&limits(50));
        after.take_up(&before.park());
        assert_eq!(after.sources(), 2);
        for source in sources {
            assert_eq!(after.admit(at(100), source), Err(DropReason::RateLimited));
            assert_eq!(after.admit(at(5_000_001), source), Ok(()), "two have left the window");
        }
        assert_eq!(after.admit(at(100), "192.0.2.2".parse().unwrap()), Ok(()));
    }

    /// Without this, stamps of another period or prefix are misread, and wrong sources are refused.
    #[test]
    fn what_was_measured_otherwise_is_forgotten() {
        let mut before = RateLimit::new(&limits(50));
        before.admit(at(1), "192.0.2.1".parse().unwrap()).unwrap();
        let mut after = RateLimit::new(&PerSource { period: Duration::from_secs(6), ..limits(50) });
        after.take_up(&before.park());
        assert_eq!(after.sources(), 0);
        let mut after = RateLimit::default();
        after.take_up(&before.park());
        assert_eq!(after.sources(), 0);
    }

    /// Without this, each restart under a flood of addresses makes the tables larger.
    #[test]
    fn a_table_takes_no_more_than_its_bound() {
        let mut table = HashMap::new();
        for n in 0..=MAX_SOURCES as u32 {
            insert(&mut table, IpAddr::from(n.to_be_bytes()), Attempts::default());
        }
        assert_eq!(table.len(), MAX_SOURCES);
    }

    /// Without this, truncated or foreign state makes the program panic at its start.
    #[test]
    fn what_is_cut_short_is_taken_as_far_as_it_goes() {
        let mut before = RateLimit::new(&limits(50));
        for n in 0..10 {
            before.admit(at(n), IpAddr::from([192, 0, 2, n as u8])).unwrap();
        }
        let whole = before.park();
        for cut in 0..whole.len() {
            let mut after = RateLimit::new(&limits(50));
            after.take_up(&whole[..cut]);
            assert!(after.sources() < 10);
        }
        for n in 0..whole.len() {
            let mut other = whole.clone();
            other[n] ^= 0xFF;
            RateLimit::new(&limits(50)).take_up(&other);
        }
    }
}
