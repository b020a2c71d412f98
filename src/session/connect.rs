//! From a route to a connected server that has taken the PROXY header and the hello.
use std::borrow::Cow;
use std::fmt;

use rustix::io::Errno;

use super::close::give_up;
use super::queue::{Queue, Why};
use super::relay::Relay;
use super::routed::Routed;
use super::{Lent, Moved, Next, Session};
use crate::context::Context;
use crate::fleet::ServerId;
use crate::net::{self, Stream, Token};
use crate::policy::servers::{Pick, ServerIndex};
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;

/// The proxy connects to a server.
pub struct Connect {
    pub(super) routed: Routed,
    pub(super) server: Stream,
    /// PROXY header and hello, for this server or the next.
    payload: Box<[u8]>,
    until: Time,
}

/// Why an attempt to connect failed.
#[derive(Clone, Copy)]
enum Failure {
    Refused(Errno),
    Timeout,
}

/// Finds a server. If other sessions of the route wait for one, this one waits behind them.
pub(super) fn line_up(routed: Routed, payload: Cow<'_, [u8]>, lent: &mut Lent<'_>) -> Next {
    if lent.context.fleet.route(routed.route()).is_some_and(|route| !route.queue().is_empty()) {
        return Queue::enter(routed, payload, Why::Full, lent);
    }
    seek(routed, payload, lent)
}

/// Picks a server and begins to connect to it. The first write is tried at once: with a server on the same machine it
/// succeeds, and no event is needed.
pub(super) fn seek(mut routed: Routed, payload: Cow<'_, [u8]>, lent: &mut Lent<'_>) -> Next {
    loop {
        let server = match routed.pick(&mut lent.context.fleet) {
            Pick::Server(server) => server,
            Pick::Full => return Queue::enter(routed, payload, Why::Full, lent),
            Pick::TriedAll => {
                routed.forget_failures();
                return Queue::enter(routed, payload, Why::Retry, lent);
            }
            Pick::NoServer => return give_up(routed, CloseReason::ServerRefused, lent),
        };
        let failure = match dial(&routed, server, &payload, lent.context) {
            Err(error) if net::is_shortage(error) => {
                lent.context.note_shortage(error);
                return Queue::enter(routed, payload, Why::Shortage, lent);
            }
            Ok(mut stream) => {
                routed.assign(server, lent);
                match stream.write(&payload) {
                    Ok(0) if !is_through(&payload, &stream) => return Connect::wait(routed, stream, payload, lent),
                    Ok(written) => return Relay::begin(routed, stream, &payload, written, lent),
                    Err(error) if net::is_shortage(error) => {
                        routed.let_go(lent);
                        return Queue::enter(routed, payload, Why::Shortage, lent);
                    }
                    Err(error) => Failure::Refused(error),
                }
            }
            Err(error) => {
                routed.assign(server, lent);
                Failure::Refused(error)
            }
        };
        if let Err(reason) = routed.fail(&failure, failure.reason(), lent) {
            return give_up(routed, reason, lent);
        }
    }
}

/// Whether an empty write has shown that the server is connected: a connecting socket takes no write.
fn is_through(payload: &[u8], server: &Stream) -> bool {
    payload.is_empty() && server.is_writable()
}

fn dial(routed: &Routed, server: ServerIndex, payload: &[u8], context: &Context) -> Result<Stream, Errno> {
    // A picked server always has an entry; if it had none, this would count as a failed attempt.
    let server = context.fleet.server(ServerId { route: routed.route(), server }).ok_or(Errno::HOSTUNREACH)?;
    // The zone must stay: without it, a link-local address cannot be connected to.
    let mut address = server.address;
    if let Some(port) = routed.client.handed_on {
        address.set_port(port);
    }
    let stream = net::dial(address, server.from_address(), server.interface.as_deref())?;
    // If something was sent, the answer will show whether the socket is connected with itself.
    if payload.is_empty() { net::refuse_itself(stream, address) } else { Ok(stream) }
}

impl Connect {
    fn wait(mut routed: Routed, mut server: Stream, payload: Cow<'_, [u8]>, lent: &mut Lent<'_>) -> Next {
        let registry = &lent.context.registry;
        let watched = routed
            .client
            .stream
            .watch(registry, Token::Client(lent.key))
            .and_then(|()| server.watch(registry, Token::Server(lent.key)));
        if watched.is_err() {
            return give_up(routed, CloseReason::OutOfResources, lent);
        }
        let until = lent.context.now + routed.found.config.timeouts.connect;
        lent.arm(until);
        let payload = payload.into_owned().into_boxed_slice();
        Next::Wait(Session::Connect(Connect { routed, server, payload, until }.into()))
    }

    /// Handles events: the client may have left, and the server may have answered.
    pub(super) fn advance(mut self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        if self.routed.client.stream.is_broken() {
            self.end(CloseReason::ClientLeft, lent);
            return Next::Ended;
        }
        if !self.server.is_writable() {
            return Next::Wait(Session::Connect(self));
        }
        match self.server.write(&self.payload) {
            Ok(0) if !is_through(&self.payload, &self.server) => Next::Wait(Session::Connect(self)),
            Ok(written) => {
                let Connect { routed, server, payload, .. } = *self;
                Relay::begin(routed, server, &payload, written, lent)
            }
            Err(error) if net::is_shortage(error) => {
                let Connect { mut routed, payload, server, .. } = *self;
                drop(server);
                routed.let_go(lent);
                Queue::enter(routed, Cow::Owned(payload.into_vec()), Why::Shortage, lent)
            }
            Err(error) => self.fail(Failure::Refused(error), lent),
        }
    }

    pub(super) fn expire(self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        self.fail(Failure::Timeout, lent)
    }

    /// The hello, and the bytes that came after it.
    pub(super) fn hello(&self) -> &[u8] {
        self.payload.get(usize::from(self.routed.found.header)..).unwrap_or_default()
    }

    pub(super) fn deadline(&self) -> Time {
        self.until
    }

    pub(super) fn end(self: Box<Self>, reason: CloseReason, lent: &mut Lent<'_>) {
        self.routed.close(Moved::default(), reason, lent);
    }

    fn fail(self: Box<Self>, failure: Failure, lent: &mut Lent<'_>) -> Next {
        let Connect { mut routed, payload, server, .. } = *self;
        drop(server);
        match routed.fail(&failure, failure.reason(), lent) {
            Ok(()) => seek(routed, Cow::Owned(payload.into_vec()), lent),
            Err(reason) => give_up(routed, reason, lent),
        }
    }
}

impl Failure {
    /// The close reason if there is no further attempt.
    fn reason(self) -> CloseReason {
        match self {
            Failure::Refused(_) => CloseReason::ServerRefused,
            Failure::Timeout => CloseReason::ConnectTimeout,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(error) => f.write_str(&net::words(*error)),
            Failure::Timeout => f.write_str("no answer in time"),
        }
    }
}
