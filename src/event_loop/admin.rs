//! Clients of the admin endpoints, among everything else.
use mio::event::Event;

use super::EventLoop;
use super::control::Phase;
use crate::admin::{Client, Desk, MOST_CLIENTS, Next};
use crate::context::Context;
use crate::net::{Accepted, Key};

impl EventLoop {
    /// Begins with a client, for which another may have to go.
    pub(super) fn begin_admin(&mut self, accepted: Accepted) {
        if self.admins.len() >= MOST_CLIENTS {
            let least = self.admins.iter().min_by_key(|(_, client)| client.worth()).map(|(key, _)| key);
            if let Some(key) = least {
                self.end_admin(key);
            }
        }
        self.context.admins += 1;
        let key = self.admins.reserve();
        let next = self.with_desk(|desk, context| Client::accept(accepted, key, desk, context));
        self.settle_admin(key, next);
    }

    pub(super) fn admin_event(&mut self, key: Key, event: &Event) {
        if let Some(mut client) = self.admins.take(key) {
            client.note(event);
            self.advance_admin(key, client);
        }
    }

    /// Goes on with a client that had its turn.
    pub(super) fn continue_admin(&mut self, key: Key) {
        if let Some(client) = self.admins.take(key) {
            self.advance_admin(key, client);
        }
    }

    pub(super) fn expire_admin(&mut self, key: Key) {
        if let Some(client) = self.admins.take(key) {
            let next = client.expire(key, &mut self.context);
            self.settle_admin(key, next);
        }
    }

    /// Ends a client, whatever it does.
    pub(super) fn end_admin(&mut self, key: Key) {
        if let Some(client) = self.admins.take(key) {
            client.end();
            self.settle_admin(key, Next::Ended);
        }
    }

    fn advance_admin(&mut self, key: Key, client: Client) {
        let next = self.with_desk(|desk, context| client.advance(key, desk, context));
        self.settle_admin(key, next);
    }

    fn with_desk<T>(&mut self, work: impl FnOnce(&Desk<'_>, &mut Context) -> T) -> T {
        let desk = Desk { credentials: &self.credentials, is_draining: self.phase == Phase::Draining };
        work(&desk, &mut self.context)
    }

    fn settle_admin(&mut self, key: Key, next: Next) {
        match next {
            Next::Wait(client) => self.admins.put(key, client),
            Next::Again(client) => {
                self.admins.put(key, client);
                self.admins_again.push(key);
            }
            Next::Asked(asked) => {
                let snapshot = self.snapshot();
                let next = asked.answer(snapshot, key, &mut self.context);
                self.settle_admin(key, next);
            }
            Next::Ended => {
                self.admins.vacate(key);
                self.context.admins -= 1;
            }
        }
    }
}
