//! Clients of the admin endpoints.
use mio::event::Event;

use crate::admin::{self, Credentials, Reply, Report};
use crate::context::Context;
use crate::http::{Answer, Asked, Clients, Outcome, Way};
use crate::metrics::Buffers;
use crate::net::{Accepted, Key, Token};
use crate::policy::fds::MAX_ADMIN_CLIENTS;
use crate::policy::time::Time;
use crate::policy::tries::Tries;
use crate::vocabulary::CloseReason;

/// All clients of the admin endpoints.
pub(super) struct Admins {
    clients: Clients<Report>,
    credentials: Credentials,
    /// Wrong passwords of the last while.
    tries: Tries,
}

/// A client with a whole request, to be [answered](Admins::answer) in this turn.
#[must_use]
pub(super) struct Request {
    key: Key,
    asked: Asked,
}

impl Admins {
    pub(super) fn new(credentials: Credentials) -> Admins {
        Admins { clients: Clients::new(Token::Admin), credentials, tries: Tries::default() }
    }

    /// Takes over the credentials of a reload.
    pub(super) fn change(&mut self, credentials: Credentials) {
        self.credentials = credentials;
    }

    /// Warnings about the credentials.
    pub(super) fn warnings(&self) -> &[String] {
        self.credentials.warnings()
    }

    /// Begins to serve a client. If all slots are taken, the slowest client is closed.
    pub(super) fn begin(&mut self, accepted: Accepted, context: &mut Context) -> Option<Request> {
        if self.clients.len() >= MAX_ADMIN_CLIENTS {
            self.clients.evict();
        }
        let outcome = self.clients.accept(accepted, Way::Direct, context.now, &context.registry);
        self.follow_up(outcome, context)
    }

    pub(super) fn hear(&mut self, key: Key, event: &Event, context: &mut Context) -> Option<Request> {
        let outcome = self.clients.hear(key, event, context.now, &context.registry);
        self.follow_up(outcome, context)
    }

    /// Clients with unfinished answers, each to be passed to [`Admins::resume`] in this turn.
    pub(super) fn unfinished(&mut self) -> Vec<Key> {
        self.clients.unfinished()
    }

    pub(super) fn has_unfinished(&self) -> bool {
        self.clients.has_unfinished()
    }

    /// Continues a client's answer.
    pub(super) fn resume(&mut self, key: Key, context: &mut Context) {
        let outcome = self.clients.resume(key, context.now, &context.registry);
        let asked = self.follow_up(outcome, context);
        debug_assert!(asked.is_none(), "a client that has asked does not ask again");
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.clients.deadline()
    }

    /// Ends clients whose time is over. A client whose request was too slow gets 408.
    pub(super) fn expire(&mut self, context: &mut Context) -> Vec<Request> {
        let mut asked = Vec::new();
        while let Some(outcome) = self.clients.expire(context.now, &context.registry) {
            asked.extend(self.follow_up(outcome, context));
        }
        asked
    }

    /// The answer to a request.
    pub(super) fn reply(&mut self, request: &Request, is_draining: bool, context: &mut Context) -> Reply {
        let mut desk = admin::Desk { credentials: &self.credentials, tries: &mut self.tries, is_draining };
        admin::reply(&request.asked, &mut desk, context)
    }

    /// Logs the number of wrong passwords since the last such line.
    pub(super) fn log_refusals(&mut self, context: &mut Context) {
        admin::log_refusals(&mut self.tries, context);
    }

    pub(super) fn answer(&mut self, request: Request, answer: Answer<Report>, context: &mut Context) {
        let Request { key, asked } = request;
        let outcome = self.clients.answer(key, asked, answer, context.now, &context.registry);
        let asked = self.follow_up(outcome, context);
        debug_assert!(asked.is_none(), "a client that has asked does not ask again");
    }

    /// Memory for the next snapshot.
    pub(super) fn buffers(&mut self) -> Buffers {
        self.clients.reclaim().map(Report::into_buffers).unwrap_or_default()
    }

    /// Ends every client.
    pub(super) fn end_all(&mut self, context: &mut Context) {
        self.clients.end_all(CloseReason::Killed);
        context.clients.admins = 0;
    }

    /// Makes the slots of ended clients free for reuse, at the end of the turn.
    pub(super) fn free(&mut self) {
        self.clients.free();
    }

    fn follow_up(&self, outcome: Outcome, context: &mut Context) -> Option<Request> {
        context.clients.admins = self.clients.len() as u64;
        match outcome {
            Outcome::Waits | Outcome::Ended(_) => None,
            Outcome::Asked(key, asked) => Some(Request { key, asked }),
        }
    }
}
