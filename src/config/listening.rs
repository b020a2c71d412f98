//! Which addresses are listened on, and for which routes. Its work is linear in the size of the file, which may have ten
//! thousand routes with their own addresses.
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Config, Route};

impl Config {
    /// The routes with their own addresses, in the order of the file; of routes that share addresses, the first.
    pub fn owners(&self) -> impl Iterator<Item = &Arc<Route>> {
        let mut seen = HashSet::new();
        self.routes.iter().filter(move |route| !route.listen.is_empty() && seen.insert(&*route.listen))
    }

    /// The routes by their addresses, each with its index among all routes. Routes on the file's own addresses are
    /// under the empty list.
    #[must_use]
    pub fn by_listen(&self) -> HashMap<&[SocketAddr], Vec<(usize, &Arc<Route>)>> {
        let mut all: HashMap<&[SocketAddr], Vec<_>> = HashMap::new();
        for (index, route) in self.routes.iter().enumerate() {
            all.entry(&route.listen).or_default().push((index, route));
        }
        all
    }

    /// Addresses of all listeners whose clients are routed.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listen.iter().chain(self.owners().flat_map(|route| &route.listen)).copied()
    }
}

/// Addresses that are taken, and the path of the key that took each.
#[derive(Default)]
pub(super) struct Taken {
    paths: HashMap<SocketAddr, String>,
    /// The first address of each family and port: a wildcard address clashes with it.
    first: HashMap<(bool, u16), SocketAddr>,
}

impl Taken {
    /// Takes `address`, which stands at `path`. Answers the taken address that would make the kernel refuse this one,
    /// if any. Families never clash, as an IPv6 listener takes IPv6 only. Port 0 never clashes, as the kernel chooses
    /// another each time.
    pub(super) fn take(&mut self, address: SocketAddr, path: String) -> Option<(SocketAddr, &str)> {
        let any = SocketAddr::new(all_of_family(address.ip()), address.port());
        let kind = (address.is_ipv4(), address.port());
        let first = self.first.get(&kind).copied().filter(|_| address == any);
        let other = first.or_else(|| [address, any].into_iter().find(|other| self.paths.contains_key(other)));
        let other = other.filter(|_| address.port() != 0);
        if other.is_none() {
            self.first.entry(kind).or_insert(address);
            self.paths.insert(address, path);
        }
        let other = other?;
        Some((other, self.paths.get(&other)?))
    }
}

pub(super) fn all_of_family(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, `check` accepts two listeners that the kernel refuses side by side.
    #[test]
    fn what_clashes() {
        for (first, second, clash) in [
            ("10.0.0.1:443", "10.0.0.1:443", true),
            ("10.0.0.1:443", "10.0.0.1:444", false),
            ("10.0.0.1:443", "10.0.0.2:443", false),
            ("10.0.0.1:443", "0.0.0.0:443", true),
            ("0.0.0.0:443", "10.0.0.1:443", true),
            ("0.0.0.0:443", "[::]:443", false),
            ("[::]:443", "[::1]:443", true),
            ("[::1]:443", "[::]:443", true),
            ("10.0.0.1:0", "10.0.0.1:0", false),
        ] {
            let mut taken = Taken::default();
            assert_eq!(taken.take(first.parse().unwrap(), "a".to_owned()), None);
            let found = taken.take(second.parse().unwrap(), "b".to_owned());
            let expected = clash.then(|| (first.parse().unwrap(), "a"));
            assert_eq!(found, expected, "{first} {second}");
        }
    }
}
