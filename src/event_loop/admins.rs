//! Clients of the admin endpoints: how many, and what becomes of each.
use mio::event::Event;

use crate::admin::{self, Credentials, Reply, Report};
use crate::context::Context;
use crate::http::{Answer, Asked, Clients, Outcome, Way};
use crate::metrics::Room;
use crate::net::{Accepted, Key, Token};
use crate::policy::fds::ADMIN_CLIENTS;
use crate::policy::time::Time;
use crate::policy::tries::Tries;
use crate::vocabulary::CloseReason;

/// All clients of the admin endpoints.
pub(super) struct Admins {
    clients: Clients<Report>,
    credentials: Credentials,
    /// Wrong passwords of late.
    tries: Tries,
}

/// A client that has asked; it is to be [answered](Admins::answer) in this turn.
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

    /// What the operator should know of the credentials.
    pub(super) fn warnings(&self) -> &[String] {
        self.credentials.warnings()
    }

    /// Begins with a client, for which another may have to go.
    pub(super) fn begin(&mut self, accepted: Accepted, context: &mut Context) -> Option<Request> {
        if self.clients.len() >= ADMIN_CLIENTS {
            self.clients.evict();
        }
        let outcome = self.clients.accept(accepted, Way::Direct, context.now, &context.registry);
        self.settle(outcome, context)
    }

    pub(super) fn hear(&mut self, key: Key, event: &Event, context: &mut Context) -> Option<Request> {
        let outcome = self.clients.hear(key, event, context.now, &context.registry);
        self.settle(outcome, context)
    }

    /// Clients that had their turn and have more to do, each for [`Admins::resume`] in this turn.
    pub(super) fn unfinished(&mut self) -> Vec<Key> {
        self.clients.unfinished()
    }

    pub(super) fn has_unfinished(&self) -> bool {
        self.clients.has_unfinished()
    }

    /// Goes on with a client that had its turn: it is being answered.
    pub(super) fn resume(&mut self, key: Key, context: &mut Context) {
        let outcome = self.clients.resume(key, context.now, &context.registry);
        let asked = self.settle(outcome, context);
        debug_assert!(asked.is_none(), "a client that has asked does not ask again");
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.clients.deadline()
    }

    /// Ends what has lasted too long. A client that was too slow to ask is to be told so.
    pub(super) fn expire(&mut self, context: &mut Context) -> Vec<Request> {
        let mut asked = Vec::new();
        while let Some(outcome) = self.clients.expire(context.now, &context.registry) {
            asked.extend(self.settle(outcome, context));
        }
        asked
    }

    /// What a request gets.
    pub(super) fn reply(&mut self, request: &Request, is_draining: bool, context: &mut Context) -> Reply {
        let mut desk = admin::Desk { credentials: &self.credentials, tries: &mut self.tries, is_draining };
        admin::reply(&request.asked, &mut desk, context)
    }

    /// Logs how many wrong passwords there were since that was told last.
    pub(super) fn log_refusals(&mut self, context: &mut Context) {
        admin::log_refusals(&mut self.tries, context);
    }

    pub(super) fn answer(&mut self, request: Request, answer: Answer<Report>, context: &mut Context) {
        let Request { key, asked } = request;
        let outcome = self.clients.answer(key, asked, answer, context.now, &context.registry);
        let asked = self.settle(outcome, context);
        debug_assert!(asked.is_none(), "a client that has asked does not ask again");
    }

    /// Memory for the next snapshot.
    pub(super) fn room(&mut self) -> Room {
        self.clients.reclaim().map(Report::into_room).unwrap_or_default()
    }

    /// Ends every client.
    pub(super) fn end_all(&mut self, context: &mut Context) {
        self.clients.end_all(CloseReason::Killed);
        context.clients.admins = 0;
    }

    /// Makes the slots of ended clients free for reuse: the turn is over.
    pub(super) fn free(&mut self) {
        self.clients.free();
    }

    fn settle(&self, outcome: Outcome, context: &mut Context) -> Option<Request> {
        context.clients.admins = self.clients.len() as u64;
        match outcome {
            Outcome::Waits | Outcome::Ended(_) => None,
            Outcome::Asked(key, asked) => Some(Request { key, asked }),
        }
    }
}
