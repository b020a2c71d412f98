//! A session as the next process gets it.
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::hello::{self, Hello};
use super::names::{Names, ParkedNames};
use super::preface::Preface;
use super::relay::{Held, ParkedRelay, Relay};
use super::{Admission, Client, Lent, Moved, Next, Session, close};
use crate::fleet::{RouteId, ServerMap};
use crate::net::{Pipes, Stream};
use crate::policy::time::Time;
use crate::preface::Told;
use crate::vocabulary::{CloseReason, DropReason};

/// A session that the next process goes on with.
pub struct Parked<'a> {
    /// Its state.
    pub record: Record,
    /// Bytes that were read and are not written yet: `up`, then `down`.
    pub held: [&'a [u8]; 2],
    /// The client's socket.
    pub client: BorrowedFd<'a>,
    /// The server's socket, if it has one.
    pub server: Option<BorrowedFd<'a>>,
}

/// The state of a session.
#[derive(Serialize, Deserialize)]
pub struct Record {
    source: SocketAddr,
    accepted: Time,
    /// What a balancer in front said of it.
    told: Option<Box<Told>>,
    /// The route, by its index in the previous process, that owns the address the client came to.
    #[serde(default)]
    frontend: Option<usize>,
    /// If the redirect handed it on: the route, by its index in the previous process, and the port of its servers.
    #[serde(default)]
    handed_on: Option<(usize, u16)>,
    /// The names in its hello.
    #[serde(default)]
    names: Option<ParkedNames>,
    phase: Phase,
}

/// Its phase. A session that waits for a server or connects to one goes back to its hello: the next process picks a
/// server anew.
#[derive(Serialize, Deserialize)]
enum Phase {
    /// A balancer's header is not whole yet.
    Preface {
        until: Time,
    },
    Hello {
        until: Time,
        /// Why its address is over its limits, by the reason's name.
        refused: Option<String>,
        /// Whether it had a route, which has counted it as a session.
        #[serde(default)]
        is_counted: bool,
    },
    Relay(ParkedRelay),
}

/// The sockets of a session of the previous process.
pub struct Sockets {
    /// The client's.
    pub client: OwnedFd,
    /// The server's.
    pub server: Option<OwnedFd>,
}

impl Sockets {
    /// Ends a session that cannot go on. RST tells both sides that this is no orderly end.
    pub fn reset(self) {
        Stream::handed_on(self.client).reset();
        if let Some(server) = self.server {
            Stream::handed_on(server).reset();
        }
    }
}

impl Session {
    /// Its client's address.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.client().source
    }

    /// When its client was accepted.
    #[must_use]
    pub fn accepted(&self) -> Time {
        self.client().accepted
    }

    /// The state that the next process needs. Nothing is lost if no next process comes.
    ///
    /// # Errors
    /// The kernel's, if a pipe cannot be read.
    pub fn park(&mut self, pipes: &mut Pipes) -> Result<Parked<'_>, String> {
        let Client { source, accepted, frontend, ref told, .. } = *self.client();
        let (refused, told) = (self.client().refused(), told.clone());
        let until = self.deadline();
        let frontend = frontend.map(RouteId::index);
        let handed_on = self.handed_on().map(|(route, port)| (route.index(), port));
        let names = self.client().names.as_deref().map(Names::park);
        let record = |phase| {
            let (told, names) = (told.clone(), names.clone());
            Record { source, accepted, told, frontend, handed_on, names, phase }
        };
        let refused = refused.map(|reason| reason.name().to_owned());
        let is_counted = matches!(self, Session::Queue(_) | Session::Connect(_));
        let hello = || record(Phase::Hello { until, refused, is_counted });
        Ok(match self {
            Session::Preface(session) => Parked::of(record(Phase::Preface { until }), &session.client, &[]),
            Session::Hello(session) => Parked::of(hello(), &session.client, session.raw()),
            Session::Queue(session) => Parked::of(hello(), &session.routed.client, session.hello()),
            Session::Connect(session) => Parked::of(hello(), &session.routed.client, session.hello()),
            Session::Relay(session) => {
                let (relay, held, [client, server]) = session.park(pipes).map_err(|error| error.to_string())?;
                Parked { record: record(Phase::Relay(relay)), held, client, server: Some(server) }
            }
        })
    }

    /// Takes over a session of the previous process. `map` has its routes and servers.
    pub fn take_up(record: Record, held: Held<'_>, sockets: Sockets, map: &ServerMap, lent: &mut Lent<'_>) -> Next {
        let Record { source, accepted, told, frontend, handed_on, names, phase } = record;
        let frontend = frontend.and_then(|index| map.route(index));
        if let Some(id) = frontend {
            lent.context.fleet.resume_at(id);
        }
        if handed_on.is_some() {
            lent.context.clients.count_handed_on();
        }
        let admission = admission(&phase);
        match admission {
            Admission::Refused(_) => lent.shared.count_over_limits(),
            Admission::Granted => lent.shared.sources.opened(source.ip()),
            Admission::Unlimited => {}
        }
        let stream = Stream::handed_on(sockets.client);
        let names = names.map(|names| lent.shared.names.take_up(&names));
        let handed_to = handed_on.map(|(index, port)| (map.route(index), port));
        let client = Client {
            frontend,
            handed_on: handed_to.map(|(_, port)| port),
            admission,
            told,
            names,
            is_counted: matches!(phase, Phase::Hello { is_counted: true, .. }),
            ..Client::new(stream, source, accepted)
        };
        match phase {
            Phase::Preface { until } => Preface::take_up(client, until, lent),
            Phase::Hello { until, .. } => take_up_hello(client, until, held, handed_to, lent),
            Phase::Relay(relay) => match sockets.server {
                Some(server) => take_up_relay(client, Stream::handed_on(server), &relay, held, map, lent),
                None => lose(client, lent),
            },
        }
    }
}

/// The decision of the previous process's source limits.
fn admission(phase: &Phase) -> Admission {
    match phase {
        Phase::Preface { .. } => Admission::Unlimited,
        Phase::Hello { refused: Some(name), .. } => Admission::Refused(reason(name)),
        Phase::Hello { refused: None, .. } | Phase::Relay(_) => Admission::Granted,
    }
}

/// Takes over a client without a server: it gets its route anew. `handed_to` is the route and port of a client that the
/// redirect handed on.
fn take_up_hello(
    client: Client,
    until: Time,
    [raw, _]: Held<'_>,
    handed_to: Option<(Option<RouteId>, u16)>,
    lent: &mut Lent<'_>,
) -> Next {
    if let Some(route) = lent.context.fleet.takes_all(client.frontend) {
        return hello::take_up_all(client, route, raw, lent);
    }
    match handed_to {
        Some((Some(route), _)) => hello::take_on(client, route, raw, lent),
        Some((None, _)) => lose(client, lent),
        None => Hello::take_up(client, until, raw.to_vec(), lent),
    }
}

fn take_up_relay(
    client: Client,
    server: Stream,
    relay: &ParkedRelay,
    held: Held<'_>,
    map: &ServerMap,
    lent: &mut Lent<'_>,
) -> Next {
    let Some(home) = relay.mapped(map) else {
        server.reset();
        return lose(client, lent);
    };
    match Relay::take_up(client, server, relay, home, held, lent) {
        Next::Wait(session) | Next::Again(session) | Next::Later(session) if home.ends => {
            session.kill(lent);
            Next::Ended
        }
        next => next,
    }
}

/// A reason that this version does not know, such as a newer one's, still keeps the client out.
fn reason(name: &str) -> DropReason {
    DropReason::ALL.into_iter().find(|reason| reason.name() == name).unwrap_or(DropReason::RateLimited)
}

/// Ends a session whose state cannot be read.
fn lose(client: Client, lent: &mut Lent<'_>) -> Next {
    close::close(&client, None, Moved::default(), CloseReason::Killed, lent);
    client.stream.reset();
    Next::Ended
}

impl<'a> Parked<'a> {
    fn of(record: Record, client: &'a Client, hello: &'a [u8]) -> Parked<'a> {
        Parked { record, held: [hello, &[]], client: client.stream.as_fd(), server: None }
    }
}
