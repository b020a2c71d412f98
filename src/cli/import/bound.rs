//! The `bind` lines of a proxy.
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::lex::{Environment, Line};
use super::report::Report;
use super::values::Place;

/// The addresses that a proxy is bound to.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) binds: Vec<Bind>,
    /// The first `bind` line of which TLS is opened.
    pub(super) opens_tls: Option<usize>,
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
            self.opens_tls.get_or_insert(line.number);
        }
        for (word, why) in [
            ("interface", "a listener has no device; write an address of that device"),
            ("namespace", "there are no namespaces; start a process in it"),
            ("transparent", "only addresses of this machine are listened on"),
            ("maxconn", "the limit is of the whole process: limits.connections"),
            ("accept-netscaler-cip", "of headers, PROXY version 1 and 2 are read: accept_proxy.from"),
            ("mptcp", "only TCP is taken"),
        ] {
            if has(word) {
                report.lost(line.number, &format!("bind {} {word}", line.word(1)), why);
            }
        }
        let mut addresses = Vec::new();
        for word in line.word(1).split(',').filter(|word| !word.is_empty()) {
            match Place::read(word, environment) {
                Ok(place) if place.ports.is_some() => addresses.extend(place.addresses()),
                Ok(_) => report.lost(line.number, &format!("bind {word}"), "it has no port"),
                Err(why) => report.lost(line.number, &format!("bind {word}"), &why),
            }
        }
        if !has("v6only") {
            self.add_both_families(&mut addresses);
        }
        let accepts_proxy = has("accept-proxy");
        self.binds.push(Bind { number: line.number, addresses, accepts_proxy });
    }

    /// `[::]` without `v6only` takes IPv4 too, where nothing else of the proxy does.
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
