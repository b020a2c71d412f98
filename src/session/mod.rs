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

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use mio::event::Event;

use crate::access_log::{Counts, Whose};
use crate::context::{Context, Handed};
use crate::fleet::{Fleet, Open, RouteId, ServerId};
use crate::metrics::Phase;
use crate::net::{Accepted, Stream, canonical};
use crate::policy::time::Time;
use crate::preface::Told;
use crate::vocabulary::{CloseReason, DropReason, Role};
use connect::Connect;
use hello::Hello;
use hello::SCRATCH_ROOM;
use names::Names;
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

/// A client of which no limit has been asked yet.
struct Arrival {
    stream: Stream,
    source: SocketAddr,
    accepted: Time,
    frontend: Option<RouteId>,
    told: Option<Box<Told>>,
}

/// The client of a session: what every phase has.
pub struct Client {
    stream: Stream,
    source: SocketAddr,
    accepted: Time,
    /// The route at whose own addresses it came in; `None`: at the file's.
    frontend: Option<RouteId>,
    /// It came in at the redirect's addresses, and was handed on.
    is_handed_on: bool,
    /// The session waits for a hello of which no byte has come.
    is_unheard: bool,
    admission: Admission,
    /// Bytes beyond what every hello may take.
    lent: u32,
    /// What a balancer told of it.
    told: Option<Box<Told>>,
    /// What its hello asks for, once that is known.
    names: Option<Rc<Names>>,
}

/// What the limits on source addresses say of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// Its address may have it.
    Granted,
    /// Its address may not have it.
    Refused(DropReason),
    /// It is a balancer's, for which there are none.
    Unlimited,
}

impl Session {
    /// Begins with a client that the listener at `bound` has let in, and reads what it has said already.
    pub fn accept(accepted: Accepted, bound: SocketAddr, frontend: Option<RouteId>, lent: &mut Lent<'_>) -> Next {
        let Accepted { stream, source } = accepted;
        let now = lent.context.now;
        lent.shared.line.note_spoken(now);
        if lent.context.config.is_balancer(source.ip()) {
            let client = Client {
                stream,
                source,
                accepted: now,
                frontend,
                is_handed_on: false,
                is_unheard: false,
                admission: Admission::Unlimited,
                told: None,
                lent: 0,
                names: None,
            };
            return Preface::accept(client, bound, lent);
        }
        Session::admit(Arrival { stream, source, accepted: now, frontend, told: None }, bound, lent)
    }

    /// Asks the limits about a client whose address is known.
    ///
    /// One that its address may not have is turned away only after its hello: a hello that comes to a socket which is
    /// closed already is answered by the kernel, with an RST that reaches the client. Not too many wait for that at once.
    fn admit(arrival: Arrival, bound: SocketAddr, lent: &mut Lent<'_>) -> Next {
        let Arrival { stream, source, accepted, frontend, told } = arrival;
        let takes_all = lent.context.fleet.takes_all(frontend);
        let refused = lent.shared.sources.admit(lent.context.now, source.ip()).err();
        let admission = refused.map_or(Admission::Granted, Admission::Refused);
        let client = Client {
            stream,
            source,
            accepted,
            frontend,
            is_handed_on: false,
            is_unheard: takes_all.is_none(),
            admission,
            told,
            lent: 0,
            names: None,
        };
        if let Some(reason) = refused {
            lent.shared.refused += 1;
            match frontend {
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
        let refused = lent.shared.sources.admit(lent.context.now, source.ip()).err();
        let admission = refused.map_or(Admission::Granted, Admission::Refused);
        let client = Client {
            stream,
            source,
            accepted,
            frontend: None,
            is_handed_on: true,
            is_unheard: false,
            admission,
            told,
            lent: 0,
            names: None,
        };
        if let Some(reason) = refused {
            lent.shared.refused += 1;
            return close::refuse(client, reason, lent);
        }
        hello::take_on(client, route, port, &sent, lent)
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
        // Of a relay that another process began, the port does not matter any more.
        routed.client.is_handed_on.then(|| (routed.found.route, routed.found.port.unwrap_or_default()))
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

impl Client {
    /// What its log lines begin with.
    fn whose<'a>(&'a self, fleet: &'a Fleet) -> Whose<'a> {
        let owner = self.frontend.and_then(|id| Some(&**fleet.route(id)?.name()));
        Whose {
            frontend: owner.unwrap_or(if self.is_handed_on { Role::Http.name() } else { Role::Https.name() }),
            source: self.source,
            accepted: self.accepted,
            route: None,
            server: None,
            unique_id: None,
            sni: self.names.as_ref().and_then(|names| names.sni.as_deref()),
            alpn: self.names.as_ref().map_or(&[], |names| &names.alpn),
        }
    }

    /// Whether the log has lines of this client: always once its first byte has come, and before that as `log.empty` says.
    fn is_logged(&self, context: &Context) -> bool {
        !self.is_unheard || context.config.log.empty
    }

    /// Whether an end for `reason` counts as denied. A client that left before its first byte, as checks and port scanners do, was
    /// denied nothing.
    fn is_denied(&self, reason: CloseReason) -> bool {
        let has_left = self.is_unheard && reason == CloseReason::Dropped(DropReason::ClosedEarly);
        matches!(reason, CloseReason::Dropped(_)) && !has_left
    }

    /// Why its address may not have the connection.
    fn refused(&self) -> Option<DropReason> {
        match self.admission {
            Admission::Refused(reason) => Some(reason),
            Admission::Granted | Admission::Unlimited => None,
        }
    }

    /// Connections at once, for its log lines.
    fn counts(&self, open: Open, context: &Context) -> Counts {
        let counts = context.counts(self.frontend, open);
        if self.is_handed_on { Counts { frontend: context.clients.at_redirect(), ..counts } } else { counts }
    }

    /// The address that it connected to, which is known without asking where the listener is `bound` to a single one.
    fn destination(&self, bound: SocketAddr) -> io::Result<SocketAddr> {
        if let Some(told) = &self.told {
            return Ok(told.destination);
        }
        if bound.ip().is_unspecified() { self.stream.local_address().map(canonical) } else { Ok(bound) }
    }
}
