//! Waiting: for a server to have room, for the next try, or for fds.
use std::borrow::Cow;
use std::time::Duration;

use super::close;
use super::connect::{Routed, give_up, seek};
use super::{Client, Next, Session};
use crate::context::Context;
use crate::net::{Key, Token, slot_number};
use crate::policy::reason::CloseReason;
use crate::policy::time::Time;

/// The longest pause before the same server is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The pause before a socket is asked for again.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A session that waits.
pub struct Queue {
    pub(super) client: Client,
    routed: Routed,
    payload: Box<[u8]>,
    why: Why,
    since: Time,
    until: Time,
}

/// What a session waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Every server has as many connections as it may.
    Full,
    /// Every server has failed; after a pause they are tried again.
    Retry,
    /// There is no socket to be had.
    Shortage,
}

impl Queue {
    pub(super) fn enter(
        mut client: Client,
        mut routed: Routed,
        payload: Cow<'_, [u8]>,
        why: Why,
        key: Key,
        context: &mut Context,
    ) -> Next {
        let since = context.now;
        let connect = routed.config.timeouts.connect;
        let until = since
            + match why {
                Why::Full => connect,
                Why::Retry => connect.min(RETRY_PAUSE),
                Why::Shortage => SHORTAGE_PAUSE,
            };
        let too_late = why == Why::Shortage && since >= routed.since + connect;
        if too_late || client.stream.watch(&context.registry, Token::Client(key)).is_err() {
            return give_up(client, &routed, None, CloseReason::OutOfResources, context);
        }
        if why == Why::Full
            && let Some(route) = context.fleet.route_mut(routed.place)
        {
            routed.ahead = routed.ahead.max(route.queue.len() as u64);
            route.queue.push_back(key);
            route.most_queued = route.most_queued.max(route.queue.len());
        }
        context.deadlines.arm(slot_number(key), key, until);
        let payload = payload.into_owned().into_boxed_slice();
        Next::Wait(Session::Queue(Queue { client, routed, payload, why, since, until }.into()))
    }

    /// Looks whether the client is still there.
    pub(super) fn advance(self, key: Key, context: &mut Context) -> Next {
        if self.client.stream.is_broken() {
            self.end(CloseReason::ClientLeft, key, context);
            return Next::Ended;
        }
        Next::Wait(Session::Queue(self.into()))
    }

    pub(super) fn expire(self, key: Key, context: &mut Context) -> Next {
        match self.why {
            Why::Full => {
                self.quit(key, context);
                give_up(self.client, &self.routed, None, CloseReason::ServersFull, context)
            }
            Why::Retry | Why::Shortage => self.leave(key, context),
        }
    }

    /// A server may have room.
    pub(super) fn room(self, key: Key, context: &mut Context) -> Next {
        if self.why == Why::Full { self.leave(key, context) } else { Next::Wait(Session::Queue(self.into())) }
    }

    pub(super) fn deadline(&self) -> Time {
        self.until
    }

    pub(super) fn end(self, reason: CloseReason, key: Key, context: &mut Context) {
        self.quit(key, context);
        close::close(&self.client, &self.routed.record(None), reason, context);
    }

    /// Waits no longer for a server to have room.
    fn quit(&self, key: Key, context: &mut Context) {
        if self.why == Why::Full
            && let Some(route) = context.fleet.route_mut(self.routed.place)
            && let Some(place) = route.queue.iter().position(|waiting| *waiting == key)
        {
            route.queue.remove(place);
        }
    }

    fn leave(self, key: Key, context: &mut Context) -> Next {
        let Queue { client, mut routed, payload, why, since, .. } = self;
        if why == Why::Full {
            routed.queued += context.now.since(since);
        }
        seek(client, routed, Cow::Owned(payload.into_vec()), key, context)
    }
}
