//! Clients that speak HTTP, among everything else.
use mio::event::Event;

use super::EventLoop;
use super::control::Phase;
use crate::admin::{self, Desk, Reply};
use crate::http::{Outcome, redirect};
use crate::net::{Accepted, Key};
use crate::policy::fds::{ADMIN_CLIENTS, REDIRECT_CLIENTS};
use crate::policy::reason::CloseReason;

impl EventLoop {
    /// Begins with a client of the redirect, for which another may have to go.
    pub(super) fn begin_redirect(&mut self, accepted: Accepted) {
        // That one has been slow for a second at least, as no more of them are let in: nobody slow keeps another out.
        if self.redirects.len() >= REDIRECT_CLIENTS
            && let Some(end) = self.redirects.evict()
        {
            redirect::ended(end, &mut self.context);
        }
        let context = &mut self.context;
        self.redirect_rate.take(context.now);
        context.redirects += 1;
        context.process.http.accepted(context.now, context.redirects);
        let outcome = self.redirects.accept(accepted, context.now, &context.registry);
        self.settle_redirect(outcome);
    }

    pub(super) fn redirect_event(&mut self, key: Key, event: &Event) {
        let outcome = self.redirects.hear(key, event, self.context.now, &self.context.registry);
        self.settle_redirect(outcome);
    }

    fn settle_redirect(&mut self, outcome: Outcome) {
        let context = &mut self.context;
        match outcome {
            Outcome::Waits => {}
            Outcome::Asked(key, asked) => {
                let answer = redirect::answer(&asked, &mut context.process.http);
                let outcome = self.redirects.answer(key, asked, answer, context.now, &context.registry);
                self.settle_redirect(outcome);
            }
            Outcome::Ended(end) => redirect::ended(end, context),
        }
    }

    /// Begins with a client of the admin endpoints, for which another may have to go.
    pub(super) fn begin_admin(&mut self, accepted: Accepted) {
        if self.admins.len() >= ADMIN_CLIENTS && self.admins.evict().is_some() {
            self.context.admins -= 1;
        }
        let context = &mut self.context;
        context.admins += 1;
        let outcome = self.admins.accept(accepted, context.now, &context.registry);
        self.settle_admin(outcome);
    }

    pub(super) fn admin_event(&mut self, key: Key, event: &Event) {
        let outcome = self.admins.hear(key, event, self.context.now, &self.context.registry);
        self.settle_admin(outcome);
    }

    /// Goes on with a client that had its turn.
    pub(super) fn resume_admin(&mut self, key: Key) {
        let outcome = self.admins.resume(key, self.context.now, &self.context.registry);
        self.settle_admin(outcome);
    }

    fn settle_admin(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Waits => {}
            Outcome::Asked(key, asked) => {
                let desk = Desk { credentials: &self.credentials, is_draining: self.phase == Phase::Draining };
                let answer = match admin::reply(&asked, &desk, &mut self.context) {
                    Reply::Answer(answer) => answer,
                    Reply::Report(wanted) => wanted.answer(self.snapshot()),
                };
                let outcome = self.admins.answer(key, asked, answer, self.context.now, &self.context.registry);
                self.settle_admin(outcome);
            }
            Outcome::Ended(_) => self.context.admins -= 1,
        }
    }

    /// Ends the phases whose time is over.
    pub(super) fn http_timers(&mut self) {
        while let Some(outcome) = self.redirects.expire(self.context.now, &self.context.registry) {
            self.settle_redirect(outcome);
        }
        while let Some(outcome) = self.admins.expire(self.context.now, &self.context.registry) {
            self.settle_admin(outcome);
        }
    }

    /// Ends every client: the process is about to go.
    pub(super) fn end_http(&mut self) {
        for end in self.redirects.end_all(CloseReason::Killed) {
            redirect::ended(end, &mut self.context);
        }
        self.context.admins -= self.admins.end_all(CloseReason::Killed).len() as u64;
    }
}
