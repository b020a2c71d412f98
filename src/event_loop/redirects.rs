//! Clients of the redirect, among everything else.
use mio::event::Event;

use super::EventLoop;
use crate::context::Context;
use crate::net::{Accepted, Key};
use crate::policy::reason::CloseReason;
use crate::redirect::{MOST_CLIENTS, Next, Redirect};

impl EventLoop {
    /// Begins with a client, for which another may have to go.
    pub(super) fn begin_redirect(&mut self, accepted: Accepted) {
        if self.redirects.len() >= MOST_CLIENTS {
            let longest = self.redirects.iter().min_by_key(|(_, redirect)| redirect.accepted()).map(|(key, _)| key);
            if let Some(key) = longest {
                self.redirect(key, |redirect, _, context| redirect.end(CloseReason::ClientSilent, context));
            }
        }
        self.redirect_rate.take(self.context.now);
        let context = &mut self.context;
        context.redirects += 1;
        context.process.http.accepted(context.now, context.redirects);
        let key = self.redirects.reserve();
        let next = Redirect::accept(accepted, key, &mut self.context);
        self.settle_redirect(key, next);
    }

    pub(super) fn redirect_event(&mut self, key: Key, event: &Event) {
        self.redirect(key, |mut redirect, key, context| {
            redirect.note(event);
            redirect.advance(key, context)
        });
    }

    /// Lends a client what it needs to work, if it is still there.
    pub(super) fn redirect(&mut self, key: Key, work: impl FnOnce(Redirect, Key, &mut Context) -> Next) {
        if let Some(redirect) = self.redirects.take(key) {
            let next = work(redirect, key, &mut self.context);
            self.settle_redirect(key, next);
        }
    }

    fn settle_redirect(&mut self, key: Key, next: Next) {
        match next {
            Next::Wait(redirect) => self.redirects.put(key, redirect),
            Next::Ended => self.redirects.vacate(key),
        }
    }
}
