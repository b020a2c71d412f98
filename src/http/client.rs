//! The phases of a client.
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mio::Registry;
use mio::event::Event;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Body, Made, Refusal};
use super::{End, PHASE_TIMEOUT, Way};
use crate::net::{Accepted, Received, Stream, Token};
use crate::policy::time::Time;
use crate::preface::{self, Preface, Told};
use crate::vocabulary::CloseReason;
use crate::wire::http_head::{self, Head, Verdict};

/// Bytes of an answer that are made in one turn: a few microseconds' work, so that no connection waits longer for its
/// turn because a client asks for a page.
const SLICE: usize = 8 * 1024;
/// Bytes that a client may send behind its request, a body for example; more is cut off with RST.
const MAX_EXTRA: usize = 256 * 1024;

/// A client, in one of its phases.
pub(super) enum Client<B> {
    Announced(Announced),
    Reading(Reading),
    Writing(Writing<B>),
    Leaving(Leaving),
}

/// A connection of a balancer that has not told its client yet.
pub(super) struct Announced {
    peer: Peer,
}

/// A client whose request is not whole yet.
pub(super) struct Reading {
    peer: Peer,
    /// What came so far.
    head: Vec<u8>,
}

/// A client that is answered.
pub(super) struct Writing<B> {
    peer: Peer,
    /// What was made of the answer.
    made: Vec<u8>,
    /// How much of that is written.
    written: usize,
    /// What makes the rest.
    rest: Option<Made<B>>,
}

/// A client that has its answer. What it still sends is read: to close with bytes unread would send RST, which may overtake
/// the answer (RFC 9112 section 9.6).
pub(super) struct Leaving {
    peer: Peer,
    /// Bytes that came after the request.
    extra: usize,
}

/// A client that has asked, and waits for its answer.
pub struct Asked {
    peer: Peer,
    head: Vec<u8>,
    /// Its time was over before the head was whole.
    is_late: bool,
}

/// What every phase has.
struct Peer {
    stream: Stream,
    source: SocketAddr,
    /// What a balancer told of it.
    told: Option<Box<Told>>,
    accepted: Time,
    /// When the phase is over.
    until: Time,
    bytes_up: u64,
    bytes_down: u64,
}

/// A client whose request is not whole yet, on its way to another process.
#[derive(Clone, Serialize, Deserialize)]
pub struct ParkedClient {
    source: SocketAddr,
    told: Option<Box<Told>>,
    accepted: Time,
    until: Time,
    /// A balancer's that has not told its client yet comes by that way still.
    way: Way,
}

/// What becomes of a client after it was worked on.
pub(super) enum Next<B> {
    /// It waits for an event or its deadline.
    Wait(Client<B>),
    /// It had its turn, and goes on in the next one.
    Again(Client<B>),
    /// Its request is whole, or will not be.
    Asked(Asked),
    Ended(End),
}

/// What a client needs to work.
pub(super) struct Turn<'a, B> {
    /// Names it to the poll.
    pub(super) token: Token,
    pub(super) now: Time,
    pub(super) registry: &'a Registry,
    /// Where bodies go that are not needed any more.
    pub(super) spent: &'a mut Option<B>,
}

impl<B: Body> Client<B> {
    pub(super) fn new(accepted: Accepted, way: Way, now: Time) -> Client<B> {
        let Accepted { stream, source } = accepted;
        let until = now + PHASE_TIMEOUT;
        let peer = Peer { stream, source, told: None, accepted: now, until, bytes_up: 0, bytes_down: 0 };
        match way {
            Way::Balancer => Client::Announced(Announced { peer }),
            Way::Direct => Client::Reading(Reading { peer, head: Vec::new() }),
        }
    }

    /// Goes on with a client of another process.
    pub(super) fn take_up(parked: ParkedClient, head: Vec<u8>, socket: OwnedFd) -> Client<B> {
        let ParkedClient { source, told, accepted, until, way } = parked;
        let peer = Peer {
            stream: Stream::handed_on(socket),
            source,
            told,
            accepted,
            until,
            bytes_up: head.len() as u64,
            bytes_down: 0,
        };
        match way {
            Way::Balancer => Client::Announced(Announced { peer }),
            Way::Direct => Client::Reading(Reading { peer, head }),
        }
    }

    /// What another process needs to go on: with it, what came of the request, and the socket. `None` for a client that has
    /// its answer, as far as it will come.
    pub(super) fn park(&self) -> Option<(ParkedClient, &[u8], BorrowedFd<'_>)> {
        let (peer, head, way) = match self {
            Client::Announced(Announced { peer }) => (peer, &[][..], Way::Balancer),
            Client::Reading(Reading { peer, head }) => (peer, &head[..], Way::Direct),
            Client::Writing(_) | Client::Leaving(_) => return None,
        };
        let Peer { source, accepted, until, .. } = *peer;
        Some((ParkedClient { source, told: peer.told.clone(), accepted, until, way }, head, peer.stream.as_fd()))
    }

    /// Notes what an event says.
    pub(super) fn note(&mut self, event: &Event) {
        match self {
            Client::Announced(Announced { peer })
            | Client::Reading(Reading { peer, .. })
            | Client::Writing(Writing { peer, .. })
            | Client::Leaving(Leaving { peer, .. }) => peer.stream.note(event),
        }
    }

    /// Does what can be done now.
    pub(super) fn advance(self, turn: &mut Turn<'_, B>) -> Next<B> {
        match self {
            Client::Announced(announced) => announced.advance(turn),
            Client::Reading(reading) => reading.advance(turn),
            Client::Writing(writing) => writing.advance(turn),
            Client::Leaving(leaving) => leaving.advance(turn),
        }
    }

    /// A deadline has come up, if not that of a phase before. What has arrived in time counts, though nobody has looked at
    /// it yet.
    pub(super) fn expire(self, turn: &mut Turn<'_, B>) -> Next<B> {
        if self.until() > turn.now {
            return Next::Wait(self);
        }
        match self.advance(turn) {
            Next::Wait(client) if client.until() <= turn.now => client.time_out(turn),
            next => next,
        }
    }

    fn time_out(self, turn: &mut Turn<'_, B>) -> Next<B> {
        match self {
            // A browser connects ahead of need, and would take an answer for that of its next request.
            Client::Reading(Reading { peer, head }) if !head.is_empty() => {
                Next::Asked(Asked { peer, head, is_late: true })
            }
            client => Next::Ended(client.end(CloseReason::ClientSilent, turn.spent)),
        }
    }

    /// Ends it, whatever it does. An answer that is not written whole ends with RST: to a client of HTTP/1.0, FIN would be
    /// the end of a whole one.
    pub(super) fn end(self, reason: CloseReason, spent: &mut Option<B>) -> End {
        match self {
            Client::Announced(Announced { peer }) | Client::Reading(Reading { peer, .. }) => peer.end(reason),
            Client::Writing(writing) => writing.abandon(reason, spent),
            Client::Leaving(Leaving { peer, .. }) => peer.end(CloseReason::Answered),
        }
    }

    /// Which client ends first to make room for another: the lowest.
    pub(super) fn worth(&self) -> (u8, Time) {
        let phase = match self {
            Client::Leaving(_) => 0,
            Client::Announced(_) | Client::Reading(_) => 1,
            Client::Writing(_) => 2,
        };
        (phase, self.until())
    }

    /// When its phase is over.
    pub(super) fn until(&self) -> Time {
        match self {
            Client::Announced(Announced { peer })
            | Client::Reading(Reading { peer, .. })
            | Client::Writing(Writing { peer, .. })
            | Client::Leaving(Leaving { peer, .. }) => peer.until,
        }
    }
}

impl Announced {
    /// Reads the header if it is whole, and goes on with the client that it tells of.
    fn advance<B>(mut self, turn: &Turn<'_, B>) -> Next<B> {
        match preface::read(&mut self.peer.stream) {
            Preface::Incomplete if self.peer.watch(turn) => Next::Wait(Client::Announced(self)),
            Preface::Incomplete => Next::Ended(self.peer.end(CloseReason::OutOfResources)),
            Preface::Client(told) => {
                let peer = Peer { source: told.source, told: Some(told.into()), ..self.peer };
                Reading { peer, head: Vec::new() }.advance(turn)
            }
            Preface::Check => Next::Ended(End { is_check: true, ..self.peer.end(CloseReason::Answered) }),
            Preface::Refused(reason, why) => Next::Ended(End { why, ..self.peer.end(CloseReason::Dropped(reason)) }),
        }
    }
}

impl Reading {
    /// Reads until the head is whole, or the socket is empty.
    fn advance<B>(mut self, turn: &Turn<'_, B>) -> Next<B> {
        let mut room = [0; 2048];
        loop {
            match self.peer.read(&mut room) {
                Received::Bytes(n) => self.head.extend_from_slice(room.get(..n).unwrap_or_default()),
                Received::Blocked if self.peer.watch(turn) => return Next::Wait(Client::Reading(self)),
                Received::Blocked => return Next::Ended(self.peer.end(CloseReason::OutOfResources)),
                Received::End | Received::Failed(_) => return Next::Ended(self.peer.end(CloseReason::ClientBroke)),
            }
            if http_head::read(&self.head) != Verdict::Incomplete {
                return Next::Asked(Asked { peer: self.peer, head: self.head, is_late: false });
            }
        }
    }
}

impl Asked {
    /// The client goes on elsewhere: its socket, which nobody watches then, what a balancer told of it, when it was let in,
    /// and all that it has sent.
    #[must_use]
    pub fn give_up(mut self, registry: &Registry) -> (Stream, Option<Box<Told>>, Time, Vec<u8>) {
        self.peer.stream.unwatch(registry);
        (self.peer.stream, self.peer.told, self.peer.accepted, self.head)
    }

    /// The client's address.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.peer.source
    }

    /// The user at the other end of a unix socket (`SO_PEERCRED`, unix(7)); of any other socket nobody.
    #[must_use]
    pub fn peer_uid(&self) -> u32 {
        rustix::net::sockopt::socket_peercred(&self.peer.stream).map_or(u32::MAX, |peer| peer.uid.as_raw())
    }

    /// The head of its request.
    ///
    /// # Errors
    /// There is none that could be answered with anything but the refusal.
    pub fn request(&self) -> Result<Head<'_>, Refusal> {
        if self.is_late {
            return Err(Refusal::late());
        }
        Refusal::unless_head(http_head::read(&self.head))
    }

    pub(super) fn answer<B: Body>(mut self, answer: Answer<B>, turn: &mut Turn<'_, B>) -> Next<B> {
        let (made, rest) = answer.begin(self.request().ok().as_ref());
        self.peer.until = turn.now + PHASE_TIMEOUT;
        let mut writing = Writing { peer: self.peer, made, written: 0, rest };
        writing.make(turn.spent);
        writing.advance(turn)
    }
}

impl<B: Body> Writing<B> {
    /// Writes what is made, and makes the next slice for the next turn.
    fn advance(mut self, turn: &mut Turn<'_, B>) -> Next<B> {
        while let Some(left @ [_, ..]) = self.made.get(self.written..) {
            match self.peer.stream.write(left) {
                Ok(0) if self.peer.watch(turn) => return Next::Wait(Client::Writing(self)),
                Ok(0) => return Next::Ended(self.abandon(CloseReason::OutOfResources, turn.spent)),
                Ok(n) => {
                    self.written += n;
                    self.peer.bytes_down += n as u64;
                }
                Err(_) => return Next::Ended(self.abandon(CloseReason::ClientBroke, turn.spent)),
            }
        }
        self.made.clear();
        self.written = 0;
        if self.make(turn.spent) {
            return if self.peer.watch(turn) {
                Next::Again(Client::Writing(self))
            } else {
                Next::Ended(self.abandon(CloseReason::OutOfResources, turn.spent))
            };
        }
        self.peer.stream.finish();
        self.peer.until = turn.now + PHASE_TIMEOUT;
        Leaving { peer: self.peer, extra: 0 }.advance(turn)
    }

    /// Makes the next slice; `false`: there is none.
    fn make(&mut self, spent: &mut Option<B>) -> bool {
        if let Some(mut rest) = self.rest.take() {
            if rest.make(&mut self.made, SLICE) {
                self.rest = Some(rest);
            } else {
                *spent = Some(rest.body);
            }
        }
        !self.made.is_empty()
    }

    /// Breaks off: the answer is not whole, and must not look so.
    fn abandon(self, reason: CloseReason, spent: &mut Option<B>) -> End {
        if let Some(rest) = self.rest {
            *spent = Some(rest.body);
        }
        let end = self.peer.account(reason);
        self.peer.stream.reset();
        end
    }
}

impl Leaving {
    /// Reads until the client has closed as well.
    fn advance<B>(mut self, turn: &Turn<'_, B>) -> Next<B> {
        let mut room = [0; 2048];
        while self.extra < MAX_EXTRA {
            match self.peer.read(&mut room) {
                Received::Bytes(n) => self.extra += n,
                Received::Blocked if self.peer.watch(turn) => return Next::Wait(Client::Leaving(self)),
                Received::Blocked | Received::End | Received::Failed(_) => break,
            }
        }
        Next::Ended(self.peer.end(CloseReason::Answered))
    }
}

impl Peer {
    fn read(&mut self, room: &mut [u8]) -> Received {
        let received = self.stream.read(room);
        if let Received::Bytes(n) = received {
            self.bytes_up += n as u64;
        }
        received
    }

    /// Has the poll report what can be done; `false` where the kernel cannot.
    fn watch<B>(&mut self, turn: &Turn<'_, B>) -> bool {
        self.stream.watch(turn.registry, turn.token).is_ok()
    }

    fn account(&self, reason: CloseReason) -> End {
        let Peer { source, accepted, bytes_up, bytes_down, .. } = *self;
        End { source, accepted, bytes_up, bytes_down, reason, is_check: false, why: None }
    }

    /// Closes.
    fn end(self, reason: CloseReason) -> End {
        self.account(reason)
    }
}
