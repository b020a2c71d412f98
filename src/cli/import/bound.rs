//! The `bind` lines of a proxy.
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::lex::{Environment, Line};
use super::report::Report;
use super::values::Address;

/// The addresses that a proxy is bound to.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) binds: Vec<Bind>,
    /// The number of the first `bind` line with `ssl`.
    pub(super) terminates_tls: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Bind {
    pub(super) number: usize,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) accepts_proxy: bool,
}

impl Bound {
    /// Follows a `bind` line.
    pub(super) fn follow(&mut self, line: &Line, environment: &Environment, report: &mut Report) {
        let options = line.rest(2);
        let has = |word: &str| options.iter().any(|option| option == word);
        if has("ssl") {
            self.terminates_tls.get_or_insert(line.number);
        }
        for (word, why) in [
            ("interface", "a listener is not tied to a network device; write an address of that device"),
            ("namespace", "network namespaces are not supported; run a process in that namespace"),
            ("transparent", "a listener takes only addresses of this machine"),
            ("maxconn", "only the whole process has a limit: limits.connections"),
            ("accept-netscaler-cip", "only PROXY headers, version 1 and 2, are read: accept_proxy.from"),
            ("mptcp", "Multipath TCP is not supported; clients connect by TCP"),
        ] {
            if has(word) {
                report.lost(line.number, &format!("bind {} {word}", line.word(1)), why);
            }
        }
        let mut addresses = Vec::new();
        for word in line.word(1).split(',').filter(|word| !word.is_empty()) {
            match Address::read(word, environment) {
                Ok(address) if address.ports.is_some() => addresses.extend(address.addresses()),
                Ok(_) => report.lost(line.number, &format!("bind {word}"), "the address has no port"),
                Err(why) => report.lost(line.number, &format!("bind {word}"), &why),
            }
        }
        if !has("v6only") {
            self.add_both_families(&mut addresses);
        }
        let accepts_proxy = has("accept-proxy");
        self.binds.push(Bind { number: line.number, addresses, accepts_proxy });
    }

    /// Adds 0.0.0.0 beside `[::]` without `v6only`, which takes IPv4 too, unless a `bind` of the proxy has that already.
    fn add_both_families(&self, addresses: &mut Vec<SocketAddr>) {
        let mut both = Vec::new();
        for address in addresses.iter() {
            both.push(*address);
            let v4 = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), address.port());
            let taken =
                || self.binds.iter().flat_map(|bind| &bind.addresses).chain(addresses.iter()).any(|other| *other == v4);
            if address.is_ipv6() && address.ip().is_unspecified() && !taken() {
                both.push(v4);
            }
        }
        *addresses = both;
    }

    /// The addresses of all its `bind` lines, each once.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut seen = HashSet::new();
        let all = self.binds.iter().flat_map(|bind| &bind.addresses).copied();
        all.filter(|address| seen.insert(*address)).collect()
    }
}
