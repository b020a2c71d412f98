//! All sessions, and those among them with unfinished work.
use std::fmt;
use std::net::SocketAddr;

use mio::event::Event;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_json::value::RawValue;

use crate::config::PerSource;
use crate::context::{Context, Handed};
use crate::fleet::{RouteId, ServerId, ServerMap};
use crate::handover::{Cargo, Incoming, Span, State};
use crate::net::{Accepted, Key, Slots};
use crate::session::{Lent, Next, Parked, Session, Shared, Side, Sockets};

/// Names of the state's sections.
const SESSIONS: &str = "sessions";
const RATES: &str = "rates";
const NUMBER: &str = "number_of_sessions";

/// A session as the next process gets it.
#[derive(Serialize, Deserialize)]
struct Entry<R> {
    /// Read by itself, so that a record that cannot be read is lost alone.
    record: R,
    held: [Span; 2],
    has_server: bool,
}

/// Reads a list entry by entry: the freed memory of a whole list would lie unused between the sessions.
struct Each<F>(F);

impl<'a, F: FnMut(Entry<&'a RawValue>)> Visitor<'a> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sessions")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            (self.0)(entry);
        }
        Ok(())
    }
}

/// How many sessions a hand-over brought.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    /// Sessions in the hand-over.
    pub(super) all: usize,
    /// Sessions that go on.
    pub(super) kept: usize,
}

/// All sessions.
pub(super) struct Sessions {
    slots: Slots<Session>,
    /// Sessions that yielded and have more to do.
    again: Vec<Key>,
    /// What sessions share.
    pub(super) shared: Shared,
}

impl Sessions {
    pub(super) fn new(shared: Shared) -> Sessions {
        Sessions { slots: Slots::new(), again: Vec::new(), shared }
    }

    /// The number of sessions.
    pub(super) fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Every session but the one that is working.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().map(|(_, session)| session)
    }

    /// Whether there may be one more session.
    pub(super) fn has_room(&self) -> bool {
        self.len() < self.shared.capacity
    }

    /// Whether a session can go on without an event.
    pub(super) fn can_go_on(&self) -> bool {
        !self.again.is_empty() || !self.shared.line.is_empty()
    }

    /// Begins a session with a client that the listener at `bound` accepted. `frontend`: the route that owns the
    /// address, if any.
    pub(super) fn begin(
        &mut self,
        accepted: Accepted,
        bound: SocketAddr,
        frontend: Option<RouteId>,
        context: &mut Context,
    ) {
        let key = self.slots.reserve();
        context.clients.sessions = self.len();
        match frontend {
            None => context.process.https.accepted(context.now, context.at(None)),
            Some(id) => {
                context.process.owned.accepted(context.now, context.fleet.at_owners() + 1);
                context.fleet.come_in(id, context.now);
            }
        }
        let next = Session::accept(accepted, bound, frontend, &mut Lent { key, shared: &mut self.shared, context });
        self.store(key, next, context);
    }

    /// Begins a session with a client of the redirect, whose request goes to a server.
    pub(super) fn take_on(&mut self, handed: Handed, context: &mut Context) {
        let key = self.slots.reserve();
        context.clients.sessions = self.len();
        context.clients.count_handed_on();
        let next = Session::take_on(handed, &mut Lent { key, shared: &mut self.shared, context });
        self.store(key, next, context);
    }

    /// Handles an event of one of a session's sockets.
    pub(super) fn hear(&mut self, key: Key, side: Side, event: &Event, context: &mut Context) {
        self.work(key, context, |session, lent| session.hear(side, event, lent));
    }

    /// Takes the sessions with unfinished work, up to this moment.
    pub(super) fn take_unfinished(&mut self) -> Vec<Key> {
        let mut unfinished = std::mem::take(&mut self.again);
        unfinished.sort_unstable();
        unfinished.dedup();
        unfinished
    }

    /// Lets them go on, and then the next session that moves bulk.
    pub(super) fn go_on(&mut self, unfinished: Vec<Key>, context: &mut Context) {
        for key in unfinished {
            self.work(key, context, Session::advance);
        }
        if let Some(key) = self.shared.line.pop() {
            self.work(key, context, Session::advance);
        }
    }

    /// Ends sessions whose deadline is over.
    pub(super) fn expire(&mut self, context: &mut Context) {
        while let Some(key) = self.shared.deadlines.pop_due(context.now) {
            self.work(key, context, Session::expire);
        }
    }

    /// Gives waiting connections a server, while there is room.
    pub(super) fn serve_queues(&mut self, context: &mut Context) {
        while let Some(key) = context.fleet.next_with_room() {
            self.work(key, context, Session::room);
        }
    }

    /// Ends the sessions of a server.
    pub(super) fn end_of(&mut self, server: ServerId, context: &mut Context) {
        let of_it = self.slots.iter().filter(|(_, session)| session.server() == Some(server));
        let keys = of_it.map(|(key, _)| key).collect();
        self.kill(keys, context);
    }

    /// Ends every session. Answers how many there were.
    pub(super) fn end_all(&mut self, context: &mut Context) -> usize {
        let keys: Vec<Key> = self.slots.iter().map(|(key, _)| key).collect();
        let count = keys.len();
        self.kill(keys, context);
        count
    }

    /// Applies other limits to source addresses.
    pub(super) fn change_limits(&mut self, limits: Option<&PerSource>) {
        self.shared.sources.change(limits);
        for source in self.slots.iter().filter_map(|(_, session)| session.admitted_source()) {
            self.shared.sources.opened(source);
        }
    }

    /// Parks every session, the oldest first, so that waiting ones keep their order.
    pub(super) fn park<'a>(&'a mut self, cargo: &mut Cargo<'a>) -> Result<(), String> {
        let rates = cargo.state.put_bytes(&self.shared.sources.park());
        let mut sessions: Vec<&mut Session> = self.slots.values_mut().collect();
        sessions.sort_by_key(|session| session.accepted());
        let mut entries = Vec::new();
        for session in sessions {
            let Parked { record, held, client, server } = session.park(&mut self.shared.pipes)?;
            let held = held.map(|bytes| cargo.state.put_bytes(bytes));
            entries.push(Entry { record, held, has_server: server.is_some() });
            cargo.push(client);
            if let Some(server) = server {
                cargo.push(server);
            }
        }
        cargo.state.put(RATES, &rates)?;
        cargo.state.put(NUMBER, &(entries.len() as u64))?;
        cargo.state.put(SESSIONS, &entries)
    }

    /// Takes over the sessions of the previous process, as far as there is room. `map` leads from its servers to this one's.
    pub(super) fn take_up(
        &mut self,
        state: &mut State,
        sockets: &mut Incoming,
        map: &ServerMap,
        context: &mut Context,
    ) -> Result<Taken, String> {
        let rates = state.take(RATES)?;
        self.shared.sources.take_up(state.bytes(rates).unwrap_or_default());
        let Some(text) = state.take_text(SESSIONS) else { return Ok(Taken::default()) };
        // If not all of them fit, there must still be room for the fds of those that are refused.
        let all_fit = !state.take::<u64>(NUMBER).is_ok_and(|number| number > self.shared.capacity);
        let mut taken = Taken::default();
        let each = |entry| {
            taken.all += 1;
            taken.kept += usize::from(self.take_up_one(&entry, all_fit, state, sockets, map, context));
        };
        let read = serde_json::Deserializer::from_str(text.get()).deserialize_seq(Each(each));
        context.clients.sessions = self.len();
        read.map_err(|error| format!("{SESSIONS}: {error}"))?;
        Ok(taken)
    }

    /// Takes over one session. Answers whether it goes on: a record that cannot be read is lost alone.
    fn take_up_one(
        &mut self,
        entry: &Entry<&RawValue>,
        all_fit: bool,
        state: &State,
        sockets: &mut Incoming,
        map: &ServerMap,
        context: &mut Context,
    ) -> bool {
        let Entry { record, held, has_server } = *entry;
        let Some(client) = sockets.pull() else { return false };
        let server = if has_server { sockets.pull() } else { None };
        let kept_free = if all_fit { 0 } else { sockets.at_once().div_ceil(2) as u64 };
        let has_room = self.len() + kept_free < self.shared.capacity;
        let sockets = Sockets { client, server };
        let Some(record) = serde_json::from_str(record.get()).ok().filter(|_| has_room) else {
            sockets.reset();
            return false;
        };
        let held = held.map(|span| state.bytes(span).unwrap_or_default());
        let key = self.slots.reserve();
        context.clients.sessions = self.len();
        let lent = &mut Lent { key, shared: &mut self.shared, context };
        let next = Session::take_up(record, held, sockets, map, lent);
        let is_kept = !matches!(next, Next::Ended);
        self.store(key, next, context);
        is_kept
    }

    /// Makes the slots of ended sessions free for reuse.
    pub(super) fn free(&mut self) {
        self.slots.free();
    }

    fn kill(&mut self, keys: Vec<Key>, context: &mut Context) {
        for key in keys {
            self.work(key, context, |session, lent| {
                session.kill(lent);
                Next::Ended
            });
        }
    }

    /// Lends a session what it needs to work, if it is still there.
    fn work(&mut self, key: Key, context: &mut Context, work: impl FnOnce(Session, &mut Lent<'_>) -> Next) {
        if let Some(session) = self.slots.take(key) {
            let next = work(session, &mut Lent { key, shared: &mut self.shared, context });
            self.store(key, next, context);
        }
    }

    fn store(&mut self, key: Key, next: Next, context: &mut Context) {
        match next {
            Next::Wait(session) => self.slots.put(key, session),
            Next::Again(session) => {
                self.slots.put(key, session);
                self.again.push(key);
            }
            Next::Later(session) => {
                self.slots.put(key, session);
                self.shared.line.stand(key);
            }
            Next::Ended => {
                self.slots.vacate(key);
                context.clients.sessions = self.len();
            }
        }
    }
}
