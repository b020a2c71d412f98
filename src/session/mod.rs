//! One client's connection, from accept to close. Each phase is a struct in a file of its own, with the fields that are
//! valid then:
//!
//! ```text
//!   Preface, of a balancer in front
//!     | header
//!     v      whole hello, route            connected, header written          both directions ended
//!   Hello ---------------------> Connect -------------------------> Relay ---------------------------> close
//!     |                          |     ^                              |                                  ^
//!     | refused, too late        |     | a server has room, or        | broken off, silent too long      |
//!     |                          v     | it is time to try again      |                                  |
//!     |                          Queue                                |                                  |
//!     +--------------------------+----- gave up ----------------------+----------------------------------+
//! ```
//!
//! A phase takes itself by value and answers what comes [`Next`]. No session is ever between two phases.
mod client;
mod close;
mod connect;
mod hello;
mod memory;
mod names;
mod parked;
mod preface;
mod queue;
mod relay;
mod routed;
mod shared;

use std::net::{IpAddr, SocketAddr};

use mio::event::Event;

use crate::context::Handed;
use crate::fleet::{RouteId, ServerId};
use crate::metrics::Phase;
use crate::net::Accepted;
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;
use client::Admission;
pub use client::Client;
use connect::Connect;
use hello::Hello;
use hello::SCRATCH_ROOM;
pub use parked::{Parked, Sockets};
use preface::Preface;
use queue::Queue;
use relay::Relay;
pub use shared::{Lent, Shared};

/// One in so many clients at once may be a refused one whose hello is awaited.
const OVER_LIMITS_SHARE: u64 = 8;

/// One client's connection. A phase that outlasts a turn is boxed, because it is moved at every event.
pub enum Session {
    /// A balancer in front has connected, and its PROXY header is not whole yet.
    Preface(Box<Preface>),
    /// The hello is not whole yet.
    Hello(Box<Hello>),
    /// It waits until a server has room, or for the next attempt.
    Queue(Box<Queue>),
    /// The proxy connects to a server.
    Connect(Box<Connect>),
    /// Bytes are relayed.
    Relay(Box<Relay>),
}

/// What comes after a session has worked.
pub enum Next {
    /// It waits for an event or its deadline.
    Wait(Session),
    /// It yields, and goes on in the next turn.
    Again(Session),
    /// It moves bulk, and goes on when it is first in the line.
    Later(Session),
    /// It has ended, and is logged and counted.
    Ended,
}

/// One of a session's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// The bytes that a session has moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// From client to server, without the PROXY header.
    pub up: u64,
    /// From server to client.
    pub down: u64,
    /// The spliced ones among both.
    pub spliced: u64,
}

impl Session {
    /// Begins a session with a client that the listener at `bound` accepted, and reads what the client has sent.
    pub fn accept(accepted: Accepted, bound: SocketAddr, frontend: Option<RouteId>, lent: &mut Lent<'_>) -> Next {
        let Accepted { stream, source } = accepted;
        let now = lent.context.now;
        lent.shared.line.note_spoken(now);
        let client = Client { frontend, ..Client::new(stream, source, now) };
        if lent.context.config.is_balancer(source.ip()) {
            return Preface::accept(client, bound, lent);
        }
        Session::admit(client, bound, lent)
    }

    /// Asks the source limits about a client whose address is known.
    ///
    /// A client over its limits is refused only after its hello: if the socket were closed before, the kernel would
    /// answer the hello with RST, which reaches the client. Only a few may wait for that at once.
    fn admit(mut client: Client, bound: SocketAddr, lent: &mut Lent<'_>) -> Next {
        let takes_all = lent.context.fleet.takes_all(client.frontend);
        client.is_unheard = takes_all.is_none();
        if let Some(reason) = client.ask_limits(lent) {
            match client.frontend {
                // It has counted as a session since its balancer connected, and a count does not go down.
                _ if client.told.is_some() => {}
                None => lent.context.process.https.over_limits += 1,
                Some(id) => lent.context.fleet.note_over_limits(id),
            }
            if takes_all.is_some() || lent.shared.over_limits > lent.shared.capacity / OVER_LIMITS_SHARE {
                return close::refuse(client, reason, lent);
            }
        }
        match takes_all {
            None => Hello::accept(client, bound, lent),
            Some(route) => hello::take_all(client, bound, route, lent),
        }
    }

    /// Takes a client of the redirect, whose request goes to a server of a route.
    pub fn take_on(handed: Handed, lent: &mut Lent<'_>) -> Next {
        let Handed { stream, source, told, accepted, sent, route, port } = handed;
        let mut client = Client { handed_on: Some(port), told, ..Client::new(stream, source, accepted) };
        match client.ask_limits(lent) {
            Some(reason) => {
                lent.context.process.http.over_limits += 1;
                close::refuse(client, reason, lent)
            }
            None => hello::take_on(client, route, &sent, lent),
        }
    }

    /// Handles an event, and does what can be done now. A session that moves bulk is put in the line instead, so that
    /// others do not wait for its megabytes.
    pub fn hear(mut self, side: Side, event: &Event, lent: &mut Lent<'_>) -> Next {
        self.note(side, event);
        match self {
            Session::Relay(relay) if relay.is_bulk() => relay.put_off(),
            session => {
                lent.shared.line.note_spoken(lent.context.now);
                session.advance(lent)
            }
        }
    }

    fn note(&mut self, side: Side, event: &Event) {
        match (self, side) {
            (Session::Connect(connect), Side::Server) => connect.server.note(event),
            (Session::Relay(relay), Side::Server) => relay.server.note(event),
            (session, Side::Client) => session.client_mut().stream.note(event),
            (_, Side::Server) => {}
        }
    }

    /// Does what can be done now.
    pub fn advance(self, lent: &mut Lent<'_>) -> Next {
        match self {
            Session::Preface(preface) => preface.advance(lent),
            Session::Hello(hello) => hello.advance(lent),
            Session::Queue(queue) => queue.advance(lent),
            Session::Connect(connect) => connect.advance(lent),
            Session::Relay(relay) => relay.advance(lent),
        }
    }

    /// Ends a session that is over. A deadline that has moved since is armed again.
    pub fn expire(self, lent: &mut Lent<'_>) -> Next {
        let deadline = self.deadline();
        if deadline > lent.context.now {
            lent.arm(deadline);
            return Next::Wait(self);
        }
        match self {
            Session::Preface(preface) => preface.expire(lent),
            Session::Hello(hello) => hello.expire(lent),
            Session::Queue(queue) => queue.expire(lent),
            Session::Connect(connect) => connect.expire(lent),
            Session::Relay(relay) => relay.expire(lent),
        }
    }

    /// Goes on with a waiting session: a server of its route has room.
    pub fn room(self, lent: &mut Lent<'_>) -> Next {
        match self {
            Session::Queue(queue) => queue.room(lent),
            session => Next::Wait(session),
        }
    }

    /// Ends it, in any phase.
    pub fn kill(self, lent: &mut Lent<'_>) {
        match self {
            Session::Preface(preface) => preface.end(CloseReason::Killed, lent),
            Session::Hello(hello) => hello.end(CloseReason::Killed, lent),
            Session::Queue(queue) => queue.end(CloseReason::Killed, lent),
            Session::Connect(connect) => connect.end(CloseReason::Killed, lent),
            Session::Relay(relay) => relay.end(CloseReason::Killed, lent),
        }
    }

    /// The server that it is connected to.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        match self {
            Session::Relay(relay) => relay.routed.server_id(),
            _ => None,
        }
    }

    /// The client's address, if the source limits count this connection for it.
    #[must_use]
    pub fn admitted_source(&self) -> Option<IpAddr> {
        let client = self.client();
        (client.admission == Admission::Granted).then(|| client.source.ip())
    }

    /// The SNI, once the hello is read.
    #[must_use]
    pub fn sni(&self) -> Option<&[u8]> {
        self.client().names.as_ref()?.sni.as_deref()
    }

    /// The route that owns the address its client came to.
    #[must_use]
    pub fn frontend(&self) -> Option<RouteId> {
        self.client().frontend
    }

    /// Whether the redirect handed it on.
    #[must_use]
    pub fn is_handed_on(&self) -> bool {
        self.client().handed_on.is_some()
    }

    /// The route and the port of its servers, for a client that the redirect handed on.
    fn handed_on(&self) -> Option<(RouteId, u16)> {
        let routed = match self {
            Session::Preface(_) | Session::Hello(_) => return None,
            Session::Queue(queue) => &queue.routed,
            Session::Connect(connect) => &connect.routed,
            Session::Relay(relay) => &relay.routed,
        };
        routed.client.handed_on.map(|port| (routed.found.route, port))
    }

    /// Its phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Session::Preface(_) | Session::Hello(_) => Phase::Hello,
            Session::Queue(_) => Phase::Queue,
            Session::Connect(_) => Phase::Connect,
            Session::Relay(_) => Phase::Relay,
        }
    }

    /// Whether one side has ended its direction.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        matches!(self, Session::Relay(relay) if relay.is_half_closed())
    }

    /// The bytes that it has moved so far.
    #[must_use]
    pub fn moved(&self) -> Moved {
        match self {
            Session::Relay(relay) => relay.moved(),
            _ => Moved::default(),
        }
    }

    /// Its deadline.
    fn deadline(&self) -> Time {
        match self {
            Session::Preface(preface) => preface.deadline(),
            Session::Hello(hello) => hello.deadline(),
            Session::Queue(queue) => queue.deadline(),
            Session::Connect(connect) => connect.deadline(),
            Session::Relay(relay) => relay.deadline(),
        }
    }

    fn client(&self) -> &Client {
        match self {
            Session::Preface(preface) => &preface.client,
            Session::Hello(hello) => &hello.client,
            Session::Queue(queue) => &queue.routed.client,
            Session::Connect(connect) => &connect.routed.client,
            Session::Relay(relay) => &relay.routed.client,
        }
    }

    fn client_mut(&mut self) -> &mut Client {
        match self {
            Session::Preface(preface) => &mut preface.client,
            Session::Hello(hello) => &mut hello.client,
            Session::Queue(queue) => &mut queue.routed.client,
            Session::Connect(connect) => &mut connect.routed.client,
            Session::Relay(relay) => &mut relay.routed.client,
        }
    }
}
