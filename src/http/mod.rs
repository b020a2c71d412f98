//! HTTP/1 for the two kinds of listeners that speak it: the redirect and the admin endpoints. Both are functions from a
//! request to an [`Answer`]; everything between the socket and that function is here, once:
//!
//! ```text
//!           whole head, or too late            written
//!   Reading ------------------------> Writing ---------> Leaving ---> ended
//! ```
//!
//! Before that, a balancer's PROXY header announces a client that came through it.
//!
//! A phase lasts [`PHASE_TIMEOUT`] at most. One request a connection: closing after the answer keeps a client's life short, and
//! what it sends behind its request out of it.
mod answer;
mod client;
pub mod redirect;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::Registry;
use mio::event::Event;
use serde::{Deserialize, Serialize};

use crate::net::{Accepted, Key, Slots, Token, slot_number};
use crate::policy::time::Time;
use crate::policy::timers::SlotDeadlines;
use crate::vocabulary::CloseReason;
pub use answer::{Answer, Body, Refusal, Status};
pub use client::{Asked, ParkedClient};
use client::{Client, Next, Turn};

/// How long a client may take to send its request, then to take the answer, then to close.
pub const PHASE_TIMEOUT: Duration = Duration::from_secs(5);

/// All clients of one kind of listener. `B` makes the bodies of their answers.
pub struct Clients<B> {
    /// What an event's token says for one of them.
    token: fn(Key) -> Token,
    slots: Slots<Client<B>>,
    /// When phases are over.
    deadlines: SlotDeadlines<Key>,
    /// Clients that had their turn and have more to do.
    again: Vec<Key>,
    /// The last body that is not needed any more; its memory may serve the next one.
    spent: Option<B>,
}

/// What has become of a client after it was worked on.
pub enum Outcome {
    /// It waits: for an event, its deadline, or its next turn.
    Waits,
    /// It has asked. Its slot stays reserved until [`Clients::answer`].
    Asked(Key, Asked),
    /// It has ended.
    Ended(End),
}

/// The end of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The client's address.
    pub source: SocketAddr,
    /// When it was accepted.
    pub accepted: Time,
    /// Bytes from the client.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
    /// Why it ended.
    pub reason: CloseReason,
    /// It was a balancer's own check, which is nobody's business.
    pub is_check: bool,
    /// What was wrong with what a balancer told.
    pub why: Option<&'static str>,
}

/// The way by which a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Its own.
    Direct,
    /// A balancer's, which begins with a PROXY header.
    Balancer,
}

impl<B: Body> Clients<B> {
    /// No client yet. `token` names one to the poll.
    #[must_use]
    pub fn new(token: fn(Key) -> Token) -> Clients<B> {
        Clients { token, slots: Slots::new(), deadlines: SlotDeadlines::new(), again: Vec::new(), spent: None }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Begins with a client that was let in; its request may be there already.
    pub fn accept(&mut self, accepted: Accepted, way: Way, now: Time, registry: &Registry) -> Outcome {
        let key = self.slots.reserve();
        let next = Client::new(accepted, way, now).advance(&mut self.turn(key, now, registry));
        self.store(key, next)
    }

    /// Goes on with a client of another process, of whose request `head` has come so far.
    pub fn take_up(
        &mut self,
        parked: ParkedClient,
        head: Vec<u8>,
        socket: OwnedFd,
        now: Time,
        registry: &Registry,
    ) -> Outcome {
        let key = self.slots.reserve();
        let next = Client::take_up(parked, head, socket).advance(&mut self.turn(key, now, registry));
        self.store(key, next)
    }

    /// Those whose request is not whole yet, for another process: with each, what came of the request, and the socket.
    pub fn park(&self) -> impl Iterator<Item = (ParkedClient, &[u8], BorrowedFd<'_>)> {
        self.slots.iter().filter_map(|(_, client)| client.park())
    }

    /// Does what an event makes possible.
    pub fn hear(&mut self, key: Key, event: &Event, now: Time, registry: &Registry) -> Outcome {
        let Some(mut client) = self.slots.take(key) else { return Outcome::Waits };
        client.note(event);
        let next = client.advance(&mut self.turn(key, now, registry));
        self.store(key, next)
    }

    /// Clients that had their turn and have more to do, each for [`Clients::resume`] in this turn.
    pub fn unfinished(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.again)
    }

    /// Whether a client has more to do.
    #[must_use]
    pub fn has_unfinished(&self) -> bool {
        !self.again.is_empty()
    }

    /// Goes on with a client that had its turn.
    pub fn resume(&mut self, key: Key, now: Time, registry: &Registry) -> Outcome {
        let Some(client) = self.slots.take(key) else { return Outcome::Waits };
        let next = client.advance(&mut self.turn(key, now, registry));
        self.store(key, next)
    }

    /// Lets go of a client that has asked and goes on elsewhere.
    pub fn let_go(&mut self, key: Key) {
        self.slots.vacate(key);
    }

    /// Answers a client that has asked.
    pub fn answer(&mut self, key: Key, asked: Asked, answer: Answer<B>, now: Time, registry: &Registry) -> Outcome {
        let next = asked.answer(answer, &mut self.turn(key, now, registry));
        self.store(key, next)
    }

    /// When the next phase is over, at the earliest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Ends a phase whose time is over; `None`: there is none.
    pub fn expire(&mut self, now: Time, registry: &Registry) -> Option<Outcome> {
        let key = self.deadlines.pop_due(now)?;
        let Some(client) = self.slots.take(key) else { return Some(Outcome::Waits) };
        let next = client.expire(&mut self.turn(key, now, registry));
        Some(self.store(key, next))
    }

    /// Ends the client that may go first to make room for another: one that has its answer, else one that has not asked
    /// yet, else one that does not take its answer; of these the one that has been about it for longest.
    pub fn evict(&mut self) -> Option<End> {
        let (key, _) = self.slots.iter().min_by_key(|(_, client)| client.worth())?;
        self.end(key, CloseReason::ClientSilent)
    }

    /// Ends every client.
    pub fn end_all(&mut self, reason: CloseReason) -> Vec<End> {
        let keys: Vec<Key> = self.slots.iter().map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.end(key, reason)).collect()
    }

    /// A body that is not needed any more.
    pub fn reclaim(&mut self) -> Option<B> {
        self.spent.take()
    }

    /// Makes the slots of ended clients free for reuse: the turn is over.
    pub fn free(&mut self) {
        self.slots.free();
    }

    fn end(&mut self, key: Key, reason: CloseReason) -> Option<End> {
        let end = self.slots.take(key)?.end(reason, &mut self.spent);
        self.slots.vacate(key);
        Some(end)
    }

    /// What a client needs to work.
    fn turn<'a>(&'a mut self, key: Key, now: Time, registry: &'a Registry) -> Turn<'a, B> {
        Turn { token: (self.token)(key), now, registry, spent: &mut self.spent }
    }

    fn store(&mut self, key: Key, next: Next<B>) -> Outcome {
        match next {
            Next::Wait(client) => {
                self.deadlines.arm(slot_number(key), key, client.until());
                self.slots.put(key, client);
                Outcome::Waits
            }
            Next::Again(client) => {
                self.again.push(key);
                self.store(key, Next::Wait(client))
            }
            Next::Asked(asked) => Outcome::Asked(key, asked),
            Next::Ended(end) => {
                self.slots.vacate(key);
                Outcome::Ended(end)
            }
        }
    }
}
