//! An answer goes out.
use super::answer::{Answer, Rest};
use super::{Client, Next, Peer};
use crate::context::Context;
use crate::net::{Key, Received};

/// Bytes of an answer that are made in one turn: a few microseconds' work, so that no connection waits longer for its
/// turn because somebody looks at a page.
const SLICE: usize = 8 * 1024;
/// What a client may send after its request; more is cut off with a reset.
const MOST_EXTRA: usize = 64 * 1024;

/// A client that is answered.
pub struct Writing {
    pub(super) peer: Peer,
    /// What was made of the answer.
    made: Vec<u8>,
    /// How much of that is written.
    written: usize,
    rest: Option<Rest>,
}

/// A client that has its answer. Closing at once would send RST if it said more than the request, and RST overtakes the
/// answer (RFC 9112 section 9.6).
pub struct Leaving {
    pub(super) peer: Peer,
    /// Bytes that came after the request.
    extra: usize,
}

impl Writing {
    pub(super) fn begin(peer: Peer, answer: Answer, key: Key, context: &mut Context) -> Next {
        let Answer { head, rest } = answer;
        let mut writing = Writing { peer: peer.renew(context.now), made: head, written: 0, rest };
        writing.make(context);
        writing.advance(key, context)
    }

    /// Writes what is made, and makes the next slice for the next turn.
    pub(super) fn advance(mut self, key: Key, context: &mut Context) -> Next {
        while let Some(left @ [_, ..]) = self.made.get(self.written..) {
            match self.peer.stream.write(left) {
                Ok(0) if self.peer.watch(key, context) => return Next::Wait(Client::Writing(self)),
                Ok(0) | Err(_) => return self.abandon(),
                Ok(n) => self.written += n,
            }
        }
        self.made.clear();
        self.written = 0;
        if self.make(context) {
            return if self.peer.watch(key, context) { Next::Again(Client::Writing(self)) } else { self.abandon() };
        }
        self.peer.stream.finish();
        Leaving { peer: self.peer.renew(context.now), extra: 0 }.advance(key, context)
    }

    /// Breaks off: the answer is not whole, and must not look so.
    pub(super) fn abandon(self) -> Next {
        self.peer.stream.reset();
        Next::Ended
    }

    /// Makes the next slice; `false`: there is none.
    fn make(&mut self, context: &mut Context) -> bool {
        if let Some(mut rest) = self.rest.take() {
            if rest.make(&mut self.made, SLICE) {
                self.rest = Some(rest);
            } else {
                context.room = rest.into_snapshot().into_room();
            }
        }
        !self.made.is_empty()
    }
}

impl Leaving {
    /// Reads until the client has closed as well.
    pub(super) fn advance(mut self, key: Key, context: &mut Context) -> Next {
        let mut room = [0; 2048];
        while self.extra < MOST_EXTRA {
            match self.peer.stream.read(&mut room) {
                Received::Bytes(n) => self.extra += n,
                Received::Blocked if self.peer.watch(key, context) => return Next::Wait(Client::Leaving(self)),
                Received::Blocked | Received::End | Received::Failed(_) => break,
            }
        }
        Next::Ended
    }
}
