//! What a kernel may answer, at places that a seed picks.
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use rustix::io::Errno;

use crate::net::{Call, faults};
use crate::policy::random::Random;

/// Errors after which everything has to go on as if nothing had been: a call is made again, later or otherwise.
const HARMLESS: &[(Call, &[Errno])] = &[
    // accept(2), with the errors of the new connection that Linux passes on.
    (
        Call::Accept,
        &[
            Errno::CONNABORTED,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::INTR,
            Errno::MFILE,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::NOPROTOOPT,
            Errno::OPNOTSUPP,
            Errno::PERM,
            Errno::PROTO,
        ],
    ),
    (Call::Log, &[Errno::INTR, Errno::AGAIN, Errno::IO, Errno::NOSPC, Errno::PIPE]),
    // Of fcntl(2), which makes a pipe longer, too.
    (Call::Pipe, &[Errno::BUSY, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::PERM]),
    (Call::Poll, &[Errno::INTR]),
    (Call::Read, &[Errno::INTR]),
    // gVisor and seccomp: nothing is spliced any more.
    (Call::Splice, &[Errno::ACCESS, Errno::INTR, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM]),
    (Call::Write, &[Errno::INTR]),
    // A connection for which there is no socket now waits, and one that is refused tries again.
    (
        Call::Connect,
        &[
            Errno::ACCESS,
            Errno::ADDRINUSE,
            Errno::ADDRNOTAVAIL,
            Errno::AGAIN,
            Errno::CONNREFUSED,
            Errno::HOSTUNREACH,
            Errno::INTR,
            Errno::NETUNREACH,
            Errno::PERM,
            Errno::TIMEDOUT,
        ],
    ),
    (Call::Socket, &[Errno::ACCESS, Errno::AFNOSUPPORT, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]),
    // Of a listener in a reload, which changes nothing then; of a server's `source`.
    (Call::Bind, &[Errno::ACCESS, Errno::ADDRINUSE, Errno::ADDRNOTAVAIL, Errno::NOMEM]),
];

/// Errors that end a connection.
const FATAL: &[(Call, &[Errno])] = &[
    (Call::Address, &[Errno::NOBUFS]),
    (
        Call::Read,
        &[Errno::CONNRESET, Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::NOMEM, Errno::NOTCONN, Errno::TIMEDOUT],
    ),
    (Call::Splice, &[Errno::CONNRESET, Errno::IO, Errno::NOMEM, Errno::PIPE, Errno::TIMEDOUT]),
    (Call::Watch, &[Errno::NOMEM, Errno::NOSPC]),
    (
        Call::Write,
        &[
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::HOSTUNREACH,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::PIPE,
            Errno::TIMEDOUT,
        ],
    ),
];

/// What has failed so far, over all seeds.
#[derive(Clone, Default)]
pub(super) struct Struck(Rc<RefCell<HashSet<(Call, Errno)>>>);

impl Struck {
    /// What no seed has had fail.
    pub(super) fn missing(&self) -> Vec<(Call, Errno)> {
        let struck = self.0.borrow();
        let all = HARMLESS.iter().chain(FATAL).flat_map(|(call, errors)| errors.iter().map(|error| (*call, *error)));
        all.filter(|error| !struck.contains(error)).collect()
    }
}

/// What the kernel is like.
#[derive(Clone)]
pub(super) struct Weather {
    /// One call in so many fails; 0: none.
    every: u32,
    /// Whether connections may end by it.
    may_end: bool,
    /// Whether one has.
    has_ended: Rc<Cell<bool>>,
    random: Rc<RefCell<Random>>,
    struck: Struck,
}

impl Weather {
    /// That of a seed: good, or with harmless errors, or with all.
    pub(super) fn of(random: &mut Random, struck: &Struck) -> Weather {
        let every = [0, 8, 64, 256][random.below(4) as usize];
        let own = Random::new(random.next().into());
        let (may_end, random) = (random.below(2) == 0, Rc::new(RefCell::new(own)));
        Weather { every, may_end, has_ended: Rc::default(), random, struck: struck.clone() }
    }

    /// Becomes good.
    pub(super) fn clear(&mut self) {
        self.every = 0;
    }

    /// Whether an error may have ended a connection.
    pub(super) fn has_ended_any(&self) -> bool {
        self.has_ended.get()
    }

    /// Makes the calls of `act` under it.
    pub(super) fn during<T>(&self, act: impl FnOnce() -> T) -> T {
        if self.every == 0 {
            return act();
        }
        let weather = self.clone();
        faults::follow(Some(Box::new(move |call| weather.strike(call))));
        let done = act();
        faults::follow(None);
        done
    }

    fn strike(&self, call: Call) -> Option<Errno> {
        let random = &mut *self.random.borrow_mut();
        if random.below(self.every) > 0 {
            return None;
        }
        let may_end = self.may_end && random.below(2) == 0;
        let table = if may_end { FATAL } else { HARMLESS };
        let (_, errors) = table.iter().find(|(of, _)| *of == call)?;
        self.has_ended.set(self.has_ended.get() || may_end);
        let error = errors.get(random.below(errors.len() as u32) as usize).copied()?;
        self.struck.0.borrow_mut().insert((call, error));
        Some(error)
    }
}
