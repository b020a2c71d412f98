//! Clients of the redirect.
use std::convert::Infallible;

use mio::event::Event;

use crate::context::{Context, Handed, Timer};
use crate::fleet::RouteId;
use crate::handover::{Cargo, Incoming, Span, State};
use crate::http::redirect::{self, MAX_A_SECOND};
use crate::http::{Asked, Clients, End, Outcome, ParkedClient, Refusal, Status, Way};
use crate::net::{Accepted, Key, Token};
use crate::policy::fds::MAX_REDIRECT_CLIENTS;
use crate::policy::per_second::PerSecond;
use crate::policy::time::Time;
use crate::policy::timers::Deadline;
use crate::vocabulary::CloseReason;

/// Name of the state's section.
const REDIRECTS: &str = "redirects";

/// All clients of the redirect.
pub(super) struct Redirects {
    clients: Clients<Infallible>,
    /// Rate of accepted clients.
    rate: PerSecond,
    /// When the next client may be accepted.
    next: Deadline,
}

impl Redirects {
    pub(super) fn new() -> Redirects {
        let (clients, rate) = (Clients::new(Token::Redirect), PerSecond::new(MAX_A_SECOND));
        Redirects { clients, rate, next: Deadline::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether another client may be accepted now.
    pub(super) fn has_room(&self, now: Time) -> bool {
        self.rate.ready_at() <= now
    }

    /// Arms a timer for when the next client may be accepted.
    pub(super) fn await_room(&mut self, context: &mut Context) {
        self.next.arm(&mut context.timers, self.rate.ready_at(), Timer::NextRedirect);
    }

    /// Notes that this timer has come up.
    pub(super) fn note_room(&mut self, at: Time) {
        self.next.fired(at);
    }

    /// Begins to serve a client. If all slots are taken, the slowest client is closed. That client has been slow for at
    /// least a second, as no more clients than slots are accepted in a second: a slow client keeps no other out.
    pub(super) fn begin(&mut self, accepted: Accepted, context: &mut Context) {
        if self.len() >= MAX_REDIRECT_CLIENTS
            && let Some(end) = self.clients.evict()
        {
            self.note_end(end, context);
        }
        self.rate.take(context.now);
        context.clients.redirects = self.len() as u64 + 1;
        context.process.http.accepted(context.now, context.clients.redirects);
        let way = if context.config.is_balancer(accepted.source.ip()) { Way::Balancer } else { Way::Direct };
        let outcome = self.clients.accept(accepted, way, context.now, &context.registry);
        self.follow_up(outcome, context);
    }

    pub(super) fn hear(&mut self, key: Key, event: &Event, context: &mut Context) {
        let outcome = self.clients.hear(key, event, context.now, &context.registry);
        self.follow_up(outcome, context);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.clients.deadline()
    }

    /// Ends clients whose time is over.
    pub(super) fn expire(&mut self, context: &mut Context) {
        while let Some(outcome) = self.clients.expire(context.now, &context.registry) {
            self.follow_up(outcome, context);
        }
    }

    /// Parks every client whose request is not whole yet.
    pub(super) fn park<'a>(&'a self, cargo: &mut Cargo<'a>) -> Result<(), String> {
        let mut clients = Vec::new();
        for (client, head, socket) in self.clients.park() {
            clients.push((client, cargo.state.put_bytes(head)));
            cargo.push(socket);
        }
        cargo.state.put(REDIRECTS, &clients)
    }

    /// Takes over the clients of the previous process.
    pub(super) fn take_up(
        &mut self,
        state: &mut State,
        sockets: &mut Incoming,
        context: &mut Context,
    ) -> Result<(), String> {
        let clients: Vec<(ParkedClient, Span)> = state.take(REDIRECTS)?;
        for (client, head) in clients {
            let Some(socket) = sockets.pull() else { break };
            context.clients.redirects = self.len() as u64 + 1;
            let head = state.bytes(head).unwrap_or_default().to_vec();
            let outcome = self.clients.take_up(client, head, socket, context.now, &context.registry);
            self.follow_up(outcome, context);
        }
        Ok(())
    }

    /// Ends every client.
    pub(super) fn end_all(&mut self, context: &mut Context) {
        let ends = self.clients.end_all(CloseReason::Killed);
        for (left, end) in (0..ends.len() as u64).rev().zip(ends) {
            redirect::log_end(end, context);
            context.clients.redirects = left;
        }
    }

    /// Makes the slots of ended clients free for reuse, at the end of the turn.
    pub(super) fn free(&mut self) {
        self.clients.free();
    }

    /// Hands a client on to a server. It becomes a session, and counts towards their limit.
    fn hand_on(&mut self, key: Key, asked: Asked, (route, port): (RouteId, u16), context: &mut Context) {
        // Those of this turn are no sessions yet.
        let sessions = context.clients.sessions + context.to_hand_on.len() as u64;
        if sessions >= context.config.limits.connections.into() {
            let busy = Refusal { status: Status::Unavailable, why: "too many connections; try again later".to_owned() };
            let outcome = self.clients.answer(key, asked, busy.into(), context.now, &context.registry);
            return self.follow_up(outcome, context);
        }
        let source = asked.source();
        let (stream, told, accepted, sent) = asked.give_up(&context.registry);
        self.clients.let_go(key);
        context.clients.redirects = self.len() as u64;
        context.to_hand_on.push(Handed { stream, source, told, accepted, sent, route, port });
    }

    fn follow_up(&mut self, outcome: Outcome, context: &mut Context) {
        match outcome {
            Outcome::Waits => {}
            Outcome::Asked(key, asked) => {
                if let Some(taken) = redirect::taken(&asked, context) {
                    return self.hand_on(key, asked, taken, context);
                }
                let answer = redirect::answer(&asked, &mut context.process.http);
                let outcome = self.clients.answer(key, asked, answer, context.now, &context.registry);
                self.follow_up(outcome, context);
            }
            Outcome::Ended(end) => self.note_end(end, context),
        }
    }

    fn note_end(&self, end: End, context: &mut Context) {
        redirect::log_end(end, context);
        context.clients.redirects = self.len() as u64;
    }
}
