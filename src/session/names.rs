//! The names of open sessions' hellos, for the log. Sessions with the same names share one copy.
use std::hash::Hasher as _;
use std::rc::Rc;

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};

use crate::wire::client_hello::Hello;

/// The most names that are shared, at the cost of a pointer each.
const MAX_NAMES: usize = 256;

/// The most bytes of a list of protocols that are kept.
const MAX_ALPN: usize = 64;

/// The names in a hello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The SNI.
    pub(super) sni: Option<Box<[u8]>>,
    /// The protocols, each with its length in front. The last may be cut off.
    pub(super) alpn: Box<[u8]>,
}

/// The same as the next process gets it.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ParkedNames {
    sni: Option<String>,
    alpn: Vec<u8>,
}

impl Names {
    pub(super) fn park(&self) -> ParkedNames {
        let sni = self.sni.as_deref().map(|sni| String::from_utf8_lossy(sni).into_owned());
        ParkedNames { sni, alpn: self.alpn.to_vec() }
    }
}

/// Recent names.
///
/// Most clients send one of few names with one of few lists of protocols. Otherwise, as for a route of `*.a.b` with
/// thousands of names, or a client that invents them, each connection has its own copy.
pub(super) struct NamePool(Box<[Option<Rc<Names>>]>);

impl NamePool {
    pub(super) fn new() -> NamePool {
        NamePool(vec![None; MAX_NAMES].into())
    }

    /// The names of a hello.
    pub(super) fn of(&mut self, hello: &Hello<'_>) -> Rc<Names> {
        self.share(hello.sni, hello.alpn_list())
    }

    /// The names of a client of the previous process.
    pub(super) fn take_up(&mut self, parked: &ParkedNames) -> Rc<Names> {
        self.share(parked.sni.as_deref().map(str::as_bytes), &parked.alpn)
    }

    /// These names. A long list of protocols is cut off.
    fn share(&mut self, sni: Option<&[u8]>, alpn: &[u8]) -> Rc<Names> {
        let alpn = alpn.get(..MAX_ALPN).unwrap_or(alpn);
        let make = || Rc::new(Names { sni: sni.map(Box::from), alpn: alpn.into() });
        // A client can make names collide here, which costs it more than this process.
        let mut hasher = FnvHasher::default();
        hasher.write(sni.unwrap_or_default());
        let index = hasher.finish() as usize ^ alpn.len();
        let Some(slot) = self.0.get_mut(index % MAX_NAMES) else { return make() };
        match slot {
            Some(names) if names.sni.as_deref() == sni && *names.alpn == *alpn => Rc::clone(names),
            _ => Rc::clone(slot.insert(make())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, each idle connection takes memory for its name, or gets another's name.
    #[test]
    fn the_same_names_are_kept_once() {
        let mut pool = NamePool::new();
        let first = pool.share(Some(b"a.test"), b"\x02h2");
        for n in 0..1000 {
            let name = format!("{n}.test");
            let other = pool.share(Some(name.as_bytes()), b"\x02h2");
            assert_eq!(other.sni.as_deref(), Some(name.as_bytes()));
        }
        let again = pool.share(Some(b"a.test"), b"\x02h2");
        assert_eq!(first, again);
        assert!(Rc::ptr_eq(&again, &pool.share(Some(b"a.test"), b"\x02h2")));
        assert_ne!(again, pool.share(Some(b"a.test"), b"\x08http/1.1"));
        assert_ne!(pool.share(None, b""), pool.share(Some(b""), b""));
        assert_eq!(pool.share(None, &[9; 1000]).alpn.len(), MAX_ALPN);
    }
}
