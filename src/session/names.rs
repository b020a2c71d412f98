//! The server names of open sessions' hellos, for the log. Sessions with the same name share one copy.
use std::hash::Hasher as _;
use std::rc::Rc;

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};

use crate::wire::client_hello::Hello;

/// Names that are shared at most, each of which costs a pointer.
const SLOTS: usize = 256;

/// Bytes of a list of protocols that are kept.
const MOST_ALPN: usize = 64;

/// What a hello asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The name.
    pub(super) sni: Option<Box<[u8]>>,
    /// The protocols, each behind its length; the last may be cut.
    pub(super) alpn: Box<[u8]>,
}

/// The same on their way to another process.
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

/// Names that were asked for last.
///
/// Most clients ask for one of few names with one of few lists of protocols. Where that is not so, as for a route of
/// `*.a.b` with thousands of names, or with a client that makes them up, each connection holds its own.
pub(super) struct NamePool(Box<[Option<Rc<Names>>]>);

impl NamePool {
    pub(super) fn new() -> NamePool {
        NamePool(vec![None; SLOTS].into())
    }

    /// The names of a hello.
    pub(super) fn of(&mut self, hello: &Hello<'_>) -> Rc<Names> {
        self.share(hello.sni, hello.alpn_list())
    }

    /// Those of a client of another process.
    pub(super) fn take_up(&mut self, parked: &ParkedNames) -> Rc<Names> {
        self.share(parked.sni.as_deref().map(str::as_bytes), &parked.alpn)
    }

    /// These names; the list of protocols is cut where it is long.
    fn share(&mut self, sni: Option<&[u8]>, alpn: &[u8]) -> Rc<Names> {
        let alpn = alpn.get(..MOST_ALPN).unwrap_or(alpn);
        let make = || Rc::new(Names { sni: sni.map(Box::from), alpn: alpn.into() });
        // A client can have names fall on each other's slots, which costs it more than this process.
        let mut hasher = FnvHasher::default();
        hasher.write(sni.unwrap_or_default());
        let index = hasher.finish() as usize ^ alpn.len();
        let Some(slot) = self.0.get_mut(index % SLOTS) else { return make() };
        match slot {
            Some(names) if names.sni.as_deref() == sni && *names.alpn == *alpn => Rc::clone(names),
            _ => Rc::clone(slot.insert(make())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, each idle connection costs the memory of its name, or gets another's.
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
        assert_eq!(pool.share(None, &[9; 1000]).alpn.len(), MOST_ALPN);
    }
}
