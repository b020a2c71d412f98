//! Sets of addresses: the meaning of conditions on `src`.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// First and last address of each range, ascending, neither overlapping nor adjacent.
type Ranges = Vec<(u128, u128)>;

const LAST_V4: u128 = u32::MAX as u128;

/// A set of addresses of both families.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Networks {
    v4: Ranges,
    v6: Ranges,
}

impl Networks {
    pub(super) fn all() -> Networks {
        Networks { v4: vec![(0, LAST_V4)], v6: vec![(0, u128::MAX)] }
    }

    pub(super) fn none() -> Networks {
        Networks { v4: Vec::new(), v6: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn or(&self, other: &Networks) -> Networks {
        let both = |a: &Ranges, b: &Ranges| merged([&a[..], b].concat());
        Networks { v4: both(&self.v4, &other.v4), v6: both(&self.v6, &other.v6) }
    }

    pub(super) fn not(&self) -> Networks {
        Networks { v4: others(&self.v4, LAST_V4), v6: others(&self.v6, u128::MAX) }
    }

    pub(super) fn and(&self, other: &Networks) -> Networks {
        self.not().or(&other.not()).not()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let is_in = |ranges: &Ranges, address: u128| ranges.iter().any(|(from, to)| (*from..=*to).contains(&address));
        match address {
            IpAddr::V4(v4) => is_in(&self.v4, u32::from(v4).into()),
            IpAddr::V6(v6) => is_in(&self.v6, v6.into()),
        }
    }

    /// One of its addresses.
    pub(super) fn any(&self) -> Option<IpAddr> {
        let v4 = self.v4.first().map(|(from, _)| IpAddr::V4(v4(*from)));
        v4.or_else(|| self.v6.first().map(|(from, _)| IpAddr::V6((*from).into())))
    }

    /// The fewest networks that make up the set, as the configuration file writes them.
    pub(super) fn cidrs(&self) -> Vec<String> {
        let v4 = self.v4.iter().flat_map(|(from, to)| Ipv4Subnets::new(v4(*from), v4(*to), 0)).map(IpNet::from);
        let v6 = self.v6.iter().flat_map(|(from, to)| Ipv6Subnets::new((*from).into(), (*to).into(), 0));
        v4.chain(v6.map(IpNet::from)).map(|network| network.to_string()).collect()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Networks {
        let mut all = Networks::none();
        for network in networks {
            match network {
                IpNet::V4(v4) => all.v4.push((u32::from(v4.network()).into(), u32::from(v4.broadcast()).into())),
                IpNet::V6(v6) => all.v6.push((v6.network().into(), v6.broadcast().into())),
            }
        }
        Networks { v4: merged(all.v4), v6: merged(all.v6) }
    }
}

fn v4(address: u128) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(address).unwrap_or(u32::MAX))
}

fn merged(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut all: Ranges = Vec::new();
    for (from, to) in ranges {
        match all.last_mut() {
            Some((_, last)) if from <= last.saturating_add(1) => *last = (*last).max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

/// The complement of `ranges`, up to `last`.
fn others(ranges: &Ranges, last: u128) -> Ranges {
    let mut all = Vec::new();
    let mut next = Some(0);
    for (from, to) in ranges {
        if let Some(first) = next.filter(|first| first < from) {
            all.push((first, from - 1));
        }
        next = to.checked_add(1).filter(|next| *next <= last);
    }
    all.extend(next.map(|first| (first, last)));
    all
}

/// A value of `src`: an address, a network, or one with a mask (`10.0.0.0/255.0.0.0`).
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let why = || format!("{text:?} is not an address or network, and host names are not resolved");
    let mapped = |ip: Ipv6Addr| IpAddr::V6(ip).to_canonical();
    match text.split_once('/') {
        None => match text.parse::<IpAddr>().map_err(|_| why())? {
            IpAddr::V6(ip) => Ok(IpNet::from(mapped(ip))),
            ip @ IpAddr::V4(_) => Ok(IpNet::from(ip)),
        },
        Some((ip, mask)) if mask.contains('.') => {
            let (ip, mask) = (ip.parse().map_err(|_| why())?, mask.parse().map_err(|_| why())?);
            IpNet::with_netmask(ip, mask).map(|network| network.trunc()).map_err(|_| why())
        }
        Some(_) => text.parse::<IpNet>().map(|network| network.trunc()).map_err(|_| why()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(networks: &[&str]) -> Networks {
        networks.iter().map(|text| network(text).unwrap()).collect()
    }

    /// Without this, a set that is too wide lets in clients that HAProxy refuses.
    #[test]
    fn sets() {
        let inner = set(&["10.0.0.0/8", "fd00::/8"]);
        let one = set(&["10.0.0.1"]);
        assert_eq!(inner.and(&one), one);
        assert_eq!(inner.or(&one), inner);
        assert_eq!(inner.not().not(), inner);
        assert_eq!(Networks::all().not(), Networks::none());
        assert!(inner.and(&inner.not()).is_empty());
        assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9", "fd00::/8"]), inner);
        assert_eq!(inner.and(&one.not()).cidrs().first().unwrap(), "10.0.0.0/32");
        assert_eq!(set(&["128.0.0.0/1"]).not().cidrs(), ["0.0.0.0/1", "::/0"]);
        assert_eq!(set(&["10.0.0.0/255.0.0.0"]).cidrs(), ["10.0.0.0/8"]);
        assert_eq!(set(&["::ffff:10.0.0.1", "0.0.0.0/0"]).cidrs(), ["0.0.0.0/0"]);
        for address in ["10.0.0.0", "10.0.0.1", "10.255.255.255", "fdff::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert!(inner.contains(address) && !inner.not().contains(address), "{address}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "::", "fe00::"] {
            let address: IpAddr = outside.parse().unwrap();
            assert!(!inner.contains(address) && inner.not().contains(address), "{outside}");
        }
        assert_eq!(inner.any(), Some("10.0.0.0".parse().unwrap()));
        for bad in ["localhost", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "", "1.2.3"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
