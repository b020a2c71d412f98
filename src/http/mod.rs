//! HTTP/1 for the redirect, the admin endpoints and the control socket. Each of these is a function from a request to
//! an [`Answer`]; everything between the socket and that function is here, once:
//!
//! ```text
//!           whole head, or too late            written
//!   Reading ------------------------> Writing ---------> Leaving ---> ended
//! ```
//!
//! A client that comes through a balancer first sends the balancer's PROXY header.
//!
//! A phase lasts at most [`PHASE_TIMEOUT`]. One request a connection: closing after the answer keeps a client's life
//! short, and no bytes after its request matter.
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
use client::{Client, Lent, Next};

/// The time for a client to send its request, then to take the answer, then to close.
pub const PHASE_TIMEOUT: Duration = Duration::from_secs(5);

/// All clients of one kind of listener. `B` generates the bodies of their answers.
pub struct Clients<B> {
    /// The token of a client.
    token: fn(Key) -> Token,
    slots: Slots<Client<B>>,
    /// The deadlines of phases.
    deadlines: SlotDeadlines<Key>,
    /// Clients that yielded and have more to do.
    again: Vec<Key>,
    /// The last body that is finished with; the next one may reuse its memory.
    spent: Option<B>,
}

/// What a client's work has led to.
pub enum Outcome {
    /// The client waits: for an event, its deadline, or its next turn.
    Waits,
    /// The request is whole. Its slot stays reserved until [`Clients::answer`].
    Asked(Key, Asked),
    /// The client has ended.
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
    /// Whether it was a balancer's own check, which is not logged.
    pub is_check: bool,
    /// What was wrong with a balancer's header.
    pub why: Option<&'static str>,
}

/// How a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Directly.
    Direct,
    /// Through a balancer in front, which sends a PROXY header first.
    Balancer,
}

impl<B: Body> Clients<B> {
    /// No clients. `token` makes the token of one.
    #[must_use]
    pub fn new(token: fn(Key) -> Token) -> Clients<B> {
        Clients { token, slots: Slots::new(), deadlines: SlotDeadlines::new(), again: Vec::new(), spent: None }
    }

    /// The number of clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Begins to serve an accepted client, whose request may have come already.
    pub fn accept(&mut self, accepted: Accepted, way: Way, now: Time, registry: &Registry) -> Outcome {
        let key = self.slots.reserve();
        let next = Client::new(accepted, way, now).advance(&mut self.lend(key, now, registry));
        self.store(key, next)
    }

    /// Takes over a client of the previous process, which had received `head` of its request.
    pub fn take_up(
        &mut self,
        parked: ParkedClient,
        head: Vec<u8>,
        socket: OwnedFd,
        now: Time,
        registry: &Registry,
    ) -> Outcome {
        let key = self.slots.reserve();
        let next = Client::take_up(parked, head, socket).advance(&mut self.lend(key, now, registry));
        self.store(key, next)
    }

    /// The clients whose request is not whole yet, for the next process: each with the bytes so far and the socket.
    pub fn park(&self) -> impl Iterator<Item = (ParkedClient, &[u8], BorrowedFd<'_>)> {
        self.slots.iter().filter_map(|(_, client)| client.park())
    }

    /// Handles an event.
    pub fn hear(&mut self, key: Key, event: &Event, now: Time, registry: &Registry) -> Outcome {
        let Some(mut client) = self.slots.take(key) else { return Outcome::Waits };
        client.note(event);
        let next = client.advance(&mut self.lend(key, now, registry));
        self.store(key, next)
    }

    /// Clients with unfinished answers, each to be passed to [`Clients::resume`] in this turn.
    pub fn unfinished(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.again)
    }

    /// Whether a client has more to do.
    #[must_use]
    pub fn has_unfinished(&self) -> bool {
        !self.again.is_empty()
    }

    /// Continues a client's answer.
    pub fn resume(&mut self, key: Key, now: Time, registry: &Registry) -> Outcome {
        let Some(client) = self.slots.take(key) else { return Outcome::Waits };
        let next = client.advance(&mut self.lend(key, now, registry));
        self.store(key, next)
    }

    /// Releases a client that is handed on.
    pub fn let_go(&mut self, key: Key) {
        self.slots.vacate(key);
    }

    /// Answers a client whose request is whole.
    pub fn answer(&mut self, key: Key, asked: Asked, answer: Answer<B>, now: Time, registry: &Registry) -> Outcome {
        let next = asked.answer(answer, &mut self.lend(key, now, registry));
        self.store(key, next)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Ends a phase whose deadline is over; `None` if there is none.
    pub fn expire(&mut self, now: Time, registry: &Registry) -> Option<Outcome> {
        let key = self.deadlines.pop_due(now)?;
        let Some(client) = self.slots.take(key) else { return Some(Outcome::Waits) };
        let next = client.expire(&mut self.lend(key, now, registry));
        Some(self.store(key, next))
    }

    /// Closes one client for another one: first one that has its answer, then one without a whole request, then one
    /// that does not take its answer; among these the one that has taken longest.
    pub fn evict(&mut self) -> Option<End> {
        let (key, _) = self.slots.iter().min_by_key(|(_, client)| client.worth())?;
        self.end(key, CloseReason::ClientSilent)
    }

    /// Ends every client.
    pub fn end_all(&mut self, reason: CloseReason) -> Vec<End> {
        let keys: Vec<Key> = self.slots.iter().map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.end(key, reason)).collect()
    }

    /// A body that is finished with.
    pub fn reclaim(&mut self) -> Option<B> {
        self.spent.take()
    }

    /// Makes the slots of ended clients free for reuse, at the end of the turn.
    pub fn free(&mut self) {
        self.slots.free();
    }

    fn end(&mut self, key: Key, reason: CloseReason) -> Option<End> {
        let end = self.slots.take(key)?.end(reason, &mut self.spent);
        self.slots.vacate(key);
        Some(end)
    }

    /// What a client needs to work.
    fn lend<'a>(&'a mut self, key: Key, now: Time, registry: &'a Registry) -> Lent<'a, B> {
        Lent { token: (self.token)(key), now, registry, spent: &mut self.spent }
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
