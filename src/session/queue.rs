//! Waits: until a server has room, for the next attempt, or for fds.
use std::borrow::Cow;
use std::time::Duration;

use super::close::give_up;
use super::connect::seek;
use super::routed::Routed;
use super::{Lent, Moved, Next, Session};
use crate::net::Token;
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;

/// The longest pause before the same server is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The pause before a socket is opened again after a shortage.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A session that waits.
pub struct Queue {
    pub(super) routed: Routed,
    payload: Box<[u8]>,
    why: Why,
    since: Time,
    until: Time,
}

/// What a session waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Room: every server is at its limit of connections.
    Full,
    /// The next attempt: every server has failed.
    Retry,
    /// A socket: the process is out of fds, or the kernel of memory or ports.
    Shortage,
}

impl Queue {
    pub(super) fn enter(mut routed: Routed, payload: Cow<'_, [u8]>, why: Why, lent: &mut Lent<'_>) -> Next {
        let since = lent.context.now;
        let connect = routed.found.config.timeouts.connect;
        let until = since
            + match why {
                Why::Full => connect,
                Why::Retry => connect.min(RETRY_PAUSE),
                Why::Shortage => SHORTAGE_PAUSE,
            };
        let too_late = why == Why::Shortage && since >= routed.since + connect;
        if too_late || routed.client.stream.watch(&lent.context.registry, Token::Client(lent.key)).is_err() {
            return give_up(routed, CloseReason::OutOfResources, lent);
        }
        if why == Why::Full {
            let ahead = lent.context.fleet.wait(routed.route(), lent.key);
            let waited = routed.waited.get_or_insert_default();
            waited.ahead = waited.ahead.max(ahead);
        }
        lent.arm(until);
        let payload = payload.into_owned().into_boxed_slice();
        Next::Wait(Session::Queue(Queue { routed, payload, why, since, until }.into()))
    }

    /// Handles an event of the client, which may have left.
    pub(super) fn advance(self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        if self.routed.client.stream.is_broken() {
            self.end(CloseReason::ClientLeft, lent);
            return Next::Ended;
        }
        Next::Wait(Session::Queue(self))
    }

    pub(super) fn expire(self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        match self.why {
            Why::Full => {
                self.quit(lent);
                give_up(self.routed, CloseReason::ServersFull, lent)
            }
            Why::Retry | Why::Shortage => self.leave(lent),
        }
    }

    /// Goes on: a server may have room.
    pub(super) fn room(self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        if self.why == Why::Full { self.leave(lent) } else { Next::Wait(Session::Queue(self)) }
    }

    /// The hello, and the bytes that came after it.
    pub(super) fn hello(&self) -> &[u8] {
        self.payload.get(usize::from(self.routed.found.header)..).unwrap_or_default()
    }

    pub(super) fn deadline(&self) -> Time {
        self.until
    }

    pub(super) fn end(self: Box<Self>, reason: CloseReason, lent: &mut Lent<'_>) {
        self.quit(lent);
        self.routed.close(Moved::default(), reason, lent);
    }

    /// Takes the session out of the route's queue.
    fn quit(&self, lent: &mut Lent<'_>) {
        if self.why == Why::Full {
            lent.context.fleet.quit(self.routed.route(), lent.key);
        }
    }

    fn leave(self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        let Queue { mut routed, payload, why, since, .. } = *self;
        if why == Why::Full {
            routed.waited.get_or_insert_default().time += lent.context.now.since(since);
        }
        seek(routed, Cow::Owned(payload.into_vec()), lent)
    }
}
