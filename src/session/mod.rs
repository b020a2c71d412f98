//! One client's connection, from accept to close. Each phase is a struct with what is valid then, in a file of its own:
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
//! A phase takes itself by value and answers what comes [`Next`]: no session is ever between two phases.
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

/// One in so many of the clients that there may be at once can be a refused one whose hello is awaited.
const REFUSED_SHARE: u64 = 8;

/// One client's connection. A phase that lasts longer than a turn is boxed: it goes from hand to hand at every event.
pub enum Session {
    /// A balancer's, whose PROXY header is not whole yet.
    Preface(Box<Preface>),
    /// Its hello is not whole yet.
    Hello(Box<Hello>),
    /// It waits for a server to have room, or for the next try.
    Queue(Box<Queue>),
    /// A server is being connected to.
    Connect(Box<Connect>),
    /// Bytes move.
    Relay(Box<Relay>),
}

/// What becomes of a session after it was worked on.
pub enum Next {
    /// It waits for an event or its deadline.
    Wait(Session),
    /// It had its turn, and goes on in the next one.
    Again(Session),
    /// It has much to do, and goes on when its turn comes in the line of those.
    Later(Session),
    /// It has ended, and is logged and counted.
    Ended,
}

/// Which of a session's sockets an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// Bytes that a session has moved so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// From client to server, the PROXY header apart.
    pub up: u64,
    /// From server to client.
    pub down: u64,
    /// Of both, those that were spliced.
    pub spliced: u64,
}

impl Session {
    /// Begins with a client that the listener at `bound` has let in, and reads what it has said already.
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

    /// Asks the limits about a client whose address is known.
    ///
    /// One that its address may not have is turned away only after its hello: a hello that comes to a socket which is
    /// closed already is answered by the kernel, with an RST that reaches the client. Not too many wait for that at once.
    fn admit(mut client: Client, bound: SocketAddr, lent: &mut Lent<'_>) -> Next {
        let takes_all = lent.context.fleet.takes_all(client.frontend);
        client.is_unheard = takes_all.is_none();
        if let Some(reason) = client.ask_limits(lent) {
            match client.frontend {
                None => lent.context.process.https.refused += 1,
                Some(id) => lent.context.fleet.refused(id),
            }
            if takes_all.is_some() || lent.shared.refused > lent.shared.capacity / REFUSED_SHARE {
                return close::refuse(client, reason, lent);
            }
        }
        match takes_all {
            None => Hello::accept(client, bound, lent),
            Some(route) => hello::take_all(client, bound, route, lent),
        }
    }

    /// Goes on with a client of the redirect, whose request goes to a server of a route.
    pub fn take_on(handed: Handed, lent: &mut Lent<'_>) -> Next {
        let Handed { stream, source, told, accepted, sent, route, port } = handed;
        let mut client = Client { handed_on: Some(port), told, ..Client::new(stream, source, accepted) };
        match client.ask_limits(lent) {
            Some(reason) => close::refuse(client, reason, lent),
            None => hello::take_on(client, route, &sent, lent),
        }
    }

    /// Takes what an event says, and does what can be done now. A session that moves bulk stands in line instead: those
    /// that say little are not to wait for megabytes of others.
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

    /// Ends what is over; a deadline that has moved since it was armed is armed again.
    pub fn expire(self, lent: &mut Lent<'_>) -> Next {
        let deadline = self.deadline();
        if deadline > lent.context.now {
            lent.arm(deadline);
            return Next::Wait(self);
        }
        match self {
            // What it was put off for may be that somebody spoke.
            Session::Relay(relay) if relay.is_put_off() => relay.advance(lent),
            Session::Preface(preface) => preface.expire(lent),
            Session::Hello(hello) => hello.expire(lent),
            Session::Queue(queue) => queue.expire(lent),
            Session::Connect(connect) => connect.expire(lent),
            Session::Relay(relay) => relay.expire(lent),
        }
    }

    /// A server of its route has room: a session that waits for that goes on.
    pub fn room(self, lent: &mut Lent<'_>) -> Next {
        match self {
            Session::Queue(queue) => queue.room(lent),
            session => Next::Wait(session),
        }
    }

    /// Ends it, whatever it does.
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

    /// The address that its client comes from, which counts as having this connection open.
    #[must_use]
    pub fn admitted_source(&self) -> Option<IpAddr> {
        let client = self.client();
        (client.admission == Admission::Granted).then(|| client.source.ip())
    }

    /// The name that its client asks for, once its hello is read.
    #[must_use]
    pub fn sni(&self) -> Option<&[u8]> {
        self.client().names.as_ref()?.sni.as_deref()
    }

    /// The route at whose own addresses its client came in.
    #[must_use]
    pub fn frontend(&self) -> Option<RouteId> {
        self.client().frontend
    }

    /// The route and the port of its servers by which a client of the redirect goes on.
    fn handed_on(&self) -> Option<(RouteId, u16)> {
        let routed = match self {
            Session::Preface(_) | Session::Hello(_) => return None,
            Session::Queue(queue) => &queue.routed,
            Session::Connect(connect) => &connect.routed,
            Session::Relay(relay) => &relay.routed,
        };
        routed.client.handed_on.map(|port| (routed.found.route, port))
    }

    /// What it is about.
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

    /// When it is over unless something happens.
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
