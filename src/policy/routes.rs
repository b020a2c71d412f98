//! Finds the route of a hello. An exact name beats `*.a.b` beats `**.a.b` (the longest first) beats `*`. Among routes
//! for the same name, one whose ALPN the hello offers beats one without ALPN.
//!
//! A lookup allocates nothing and takes at most two hash lookups for any number of routes; with `**` names, one more
//! for each label.
use std::net::SocketAddr;
use std::sync::Arc;

use fnv::FnvHashMap;

use crate::config::{MAX_HOST_NAME, Route, SniPattern};

/// Routes by name, built once for each configuration.
///
/// The names in the tables are the configuration's. A client that picks colliding names slows down only its own lookup,
/// so the hash need not be keyed.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: FnvHashMap<Box<[u8]>, Candidates>,
    /// By the name after `*.`.
    wildcard: FnvHashMap<Box<[u8]>, Candidates>,
    /// By the name after `**.`.
    subdomains: FnvHashMap<Box<[u8]>, Candidates>,
    default: Candidates,
}

/// The routes for one name.
#[derive(Debug, Default)]
struct Candidates {
    by_alpn: Vec<AlpnRoute>,
    any: Option<usize>,
}

#[derive(Debug)]
struct AlpnRoute {
    protocol: Box<[u8]>,
    route: usize,
    /// Index of the protocol in the route's `alpn`.
    position: usize,
}

/// The route of a hello, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index in the slice from which the table was built.
    pub route: usize,
    /// The kind of name that matched.
    pub name: NameMatch,
    /// Index of the entry of the route's `alpn` that the hello offers; `None` for a route without ALPN.
    pub alpn: Option<usize>,
}

/// The kind of name that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameMatch {
    /// `a.b`
    Exact,
    /// `*.a.b`
    Wildcard,
    /// `**.a.b`
    Subdomains,
    /// `*`
    Default,
}

impl RouteTable {
    /// The table of those `routes` that listen at `listen`; empty stands for the file's addresses. If two claimed the
    /// same name and ALPN, which a checked configuration excludes, the first would get it.
    #[must_use]
    pub fn new(routes: &[Arc<Route>], listen: &[SocketAddr]) -> RouteTable {
        RouteTable::of(routes.iter().enumerate().filter(|(_, route)| route.listen == listen))
    }

    /// The table of these routes, each with its index.
    pub fn of<'a>(routes: impl IntoIterator<Item = (usize, &'a Arc<Route>)>) -> RouteTable {
        let mut table = RouteTable::default();
        for (index, route) in routes {
            for pattern in &route.sni {
                table.candidates(pattern).add(index, route);
            }
        }
        table
    }

    /// The table of names over plain HTTP, where neither `listen` nor ALPN matters. Of routes for the same name, the
    /// first with `http` gets it.
    #[must_use]
    pub fn of_hosts(routes: &[Arc<Route>]) -> RouteTable {
        let mut table = RouteTable::default();
        let all = || routes.iter().enumerate();
        for (index, route) in all().filter(|(_, route)| route.http.is_some()).chain(all()) {
            for pattern in &route.sni {
                table.candidates(pattern).any.get_or_insert(index);
            }
        }
        table
    }

    fn candidates(&mut self, pattern: &SniPattern) -> &mut Candidates {
        match pattern {
            SniPattern::Exact(name) => self.exact.entry(name.as_bytes().into()).or_default(),
            SniPattern::Wildcard(parent) => self.wildcard.entry(parent.as_bytes().into()).or_default(),
            SniPattern::Subdomains(parent) => self.subdomains.entry(parent.as_bytes().into()).or_default(),
            SniPattern::Default => &mut self.default,
        }
    }

    /// The route for a hello with this SNI and these protocols, in the client's order. Case and one trailing dot are
    /// ignored. `None`: no route takes it.
    pub fn find<'a>(&self, sni: Option<&[u8]>, alpn: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Match> {
        let mut buffer = [0; MAX_HOST_NAME];
        sni.and_then(|sni| self.find_named(lower_case(sni, &mut buffer)?, &alpn))
            .or_else(|| self.default.pick(NameMatch::Default, alpn))
    }

    fn find_named<'a>(&self, name: &[u8], alpn: &(impl Iterator<Item = &'a [u8]> + Clone)) -> Option<Match> {
        let exact = self.exact.get(name).and_then(|candidates| candidates.pick(NameMatch::Exact, alpn.clone()));
        exact.or_else(|| {
            let parent = parent(name)?;
            let wildcard = self.wildcard.get(parent).and_then(|found| found.pick(NameMatch::Wildcard, alpn.clone()));
            wildcard.or_else(|| self.find_above(parent, alpn))
        })
    }

    /// The longest `**` name that is a suffix of this one.
    fn find_above<'a>(&self, name: &[u8], alpn: &(impl Iterator<Item = &'a [u8]> + Clone)) -> Option<Match> {
        if self.subdomains.is_empty() {
            return None;
        }
        std::iter::successors(Some(name), |name| parent(name))
            .find_map(|name| self.subdomains.get(name)?.pick(NameMatch::Subdomains, alpn.clone()))
    }
}

impl Candidates {
    fn add(&mut self, index: usize, route: &Route) {
        if route.alpn.is_empty() {
            self.any.get_or_insert(index);
        }
        self.by_alpn.extend(route.alpn.iter().enumerate().map(|(position, protocol)| AlpnRoute {
            protocol: protocol.as_bytes().into(),
            route: index,
            position,
        }));
    }

    fn pick<'a>(&self, name: NameMatch, mut alpn: impl Iterator<Item = &'a [u8]>) -> Option<Match> {
        let offered = if self.by_alpn.is_empty() {
            None
        } else {
            alpn.find_map(|protocol| self.by_alpn.iter().find(|wanted| *wanted.protocol == *protocol))
        };
        match offered {
            Some(wanted) => Some(Match { route: wanted.route, name, alpn: Some(wanted.position) }),
            None => self.any.map(|route| Match { route, name, alpn: None }),
        }
    }
}

/// `sni` in lower case without one trailing dot; `None` if it is too long for any name.
fn lower_case<'b>(sni: &[u8], buffer: &'b mut [u8; MAX_HOST_NAME]) -> Option<&'b [u8]> {
    let sni = sni.strip_suffix(b".").unwrap_or(sni);
    let name = buffer.get_mut(..sni.len())?;
    name.copy_from_slice(sni);
    name.make_ascii_lowercase();
    Some(name)
}

/// The name without its first label; `None` if that label is empty or the only one.
fn parent(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().position(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
    name.get(dot + 1..)
}

#[cfg(test)]
mod tests;
