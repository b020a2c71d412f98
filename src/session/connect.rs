//! From a route to a connected server that has the PROXY header and the hello.
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::close::{self, Record};
use super::queue::{Queue, Why};
use super::relay::Relay;
use super::{Client, Next, Session};
use crate::access_log::{Step, Whose};
use crate::config::Route;
use crate::context::Context;
use crate::fleet::{Server, ServerId};
use crate::net::{self, Key, Stream, Token, slot_number};
use crate::policy::reason::CloseReason;
use crate::policy::servers::Pick;
use crate::policy::time::Time;

/// Where a connection goes, and what became of that so far.
pub(super) struct Routed {
    pub(super) config: Rc<Route>,
    pub(super) place: u32,
    pub(super) unique_id: Option<[u8; 16]>,
    /// Bytes of the payload that are the PROXY header.
    pub(super) header: usize,
    /// When the route was found.
    pub(super) since: Time,
    /// Time spent waiting for a server to have room.
    pub(super) queued: Duration,
    /// Connections of the route that waited for a server to have room when this one had to.
    pub(super) ahead: u64,
    /// When the first try began.
    first_try: Option<Time>,
    /// The server of the last try.
    last: Option<u32>,
    tries_left: u32,
    /// Servers that failed since the last pause.
    tried: Vec<u32>,
}

/// A server is being connected to.
pub struct Connect {
    pub(super) client: Client,
    pub(super) server: Stream,
    routed: Routed,
    id: ServerId,
    /// PROXY header and hello, for this server or the next.
    payload: Box<[u8]>,
    until: Time,
}

/// Why a try to connect failed.
#[derive(Clone, Copy)]
enum Failure {
    Refused(Errno),
    Timeout,
}

/// Finds a server, behind those who wait for one of the route to have room.
pub(super) fn line_up(client: Client, routed: Routed, payload: Cow<'_, [u8]>, key: Key, context: &mut Context) -> Next {
    if context.fleet.route(routed.place).is_some_and(|route| !route.queue.is_empty()) {
        return Queue::enter(client, routed, payload, Why::Full, key, context);
    }
    seek(client, routed, payload, key, context)
}

/// Finds a server and begins to connect to it. The first write is tried at once: where it succeeds, as it does for a
/// server on the same machine, there is no event to wait for.
pub(super) fn seek(
    client: Client,
    mut routed: Routed,
    payload: Cow<'_, [u8]>,
    key: Key,
    context: &mut Context,
) -> Next {
    loop {
        let pick =
            context.fleet.route_mut(routed.place).map(|route| route.group.pick(client.source.ip(), &routed.tried));
        let server = match pick {
            Some(Pick::Server(server)) => server,
            Some(Pick::Full) => return Queue::enter(client, routed, payload, Why::Full, key, context),
            Some(Pick::TriedAll) => {
                routed.tried.clear();
                return Queue::enter(client, routed, payload, Why::Retry, key, context);
            }
            Some(Pick::NoServer) | None => return give_up(client, &routed, None, CloseReason::ServerRefused, context),
        };
        let id = ServerId { route: routed.place, server };
        let failure = match dial(id, context) {
            Err(error) if net::is_shortage(error) => {
                return Queue::enter(client, routed, payload, Why::Shortage, key, context);
            }
            Ok(mut stream) => {
                routed.assign(id, context);
                match stream.write(&payload) {
                    Ok(0) => return Connect::wait(client, stream, routed, id, payload, key, context),
                    Ok(written) => return Relay::begin(client, stream, &routed, id, &payload, written, key, context),
                    Err(error) => Failure::Refused(error),
                }
            }
            Err(error) => {
                routed.assign(id, context);
                Failure::Refused(error)
            }
        };
        if let Err(reason) = routed.fail(&client, id, failure, context) {
            return give_up(client, &routed, Some(server), reason, context);
        }
    }
}

fn dial(id: ServerId, context: &Context) -> Result<Stream, Errno> {
    // A server that was picked is there; were it not, that would be no more than a failed try.
    let server = context.fleet.server(id).ok_or(Errno::HOSTUNREACH)?;
    net::dial(server.address, server.source, server.interface.as_deref())
}

/// Ends a connection that got no server.
pub(super) fn give_up(
    client: Client,
    routed: &Routed,
    server: Option<u32>,
    reason: CloseReason,
    context: &mut Context,
) -> Next {
    close::close(&client, &routed.record(server), reason, context);
    close::apologise(client, context);
    Next::Ended
}

impl Routed {
    pub(super) fn new(
        config: Rc<Route>,
        place: u32,
        unique_id: Option<[u8; 16]>,
        header: usize,
        context: &mut Context,
    ) -> Routed {
        if let Some(route) = context.fleet.route_mut(place) {
            route.open += 1;
            route.usage.opened(context.now, route.open);
        }
        Routed {
            config,
            place,
            unique_id,
            header,
            since: context.now,
            queued: Duration::ZERO,
            ahead: 0,
            first_try: None,
            last: None,
            tries_left: context.config.retries,
            tried: Vec::new(),
        }
    }

    /// What is known if it ends now, with `server` counting it.
    pub(super) fn record(&self, server: Option<u32>) -> Record {
        let queued = server.map(|_| self.queued);
        let Routed { unique_id, ahead, .. } = *self;
        Record { route: Some(self.place), server, unique_id, queued, ahead, ..Record::default() }
    }

    /// How long connecting has taken.
    pub(super) fn connect_time(&self, now: Time) -> Duration {
        now.since(self.first_try.unwrap_or(now))
    }

    /// Counts a try on its server.
    fn assign(&mut self, id: ServerId, context: &mut Context) {
        self.first_try.get_or_insert(context.now);
        let Some(route) = context.fleet.route_mut(id.route) else { return };
        route.group.opened(id.server);
        let open = route.group.member(id.server).map_or(0, |member| u64::from(member.open()));
        if let Some(Server { traffic, usage, .. }) = route.servers.get_mut(id.server as usize) {
            traffic.connects += 1;
            traffic.balanced += u64::from(self.last != Some(id.server));
            usage.opened(context.now, open);
        }
        if let Some(last) = self.last {
            let traffic = route.traffic_mut(Some(last));
            traffic.retries += u64::from(last == id.server);
            traffic.redispatches += u64::from(last != id.server);
        }
        self.last = Some(id.server);
    }

    /// Counts a failed try. Where another may follow, the server is let go; else it keeps counting the connection, which
    /// ends for the given reason.
    fn fail(
        &mut self,
        client: &Client,
        id: ServerId,
        failure: Failure,
        context: &mut Context,
    ) -> Result<(), CloseReason> {
        let Context { log, fleet, now, .. } = context;
        let server = fleet.server(id).map(|server| &*server.name);
        let whose = Whose { route: Some(&self.config.name), server, unique_id: self.unique_id, ..client.whose() };
        log.write(*now, &whose, &Step::ConnectFailed { why: &failure, tries_left: self.tries_left });
        if self.tries_left == 0 {
            return Err(match failure {
                Failure::Refused(_) => CloseReason::ServerRefused,
                Failure::Timeout => CloseReason::ConnectTimeout,
            });
        }
        self.tries_left -= 1;
        self.tried.push(id.server);
        context.release(id);
        Ok(())
    }
}

impl Connect {
    fn wait(
        mut client: Client,
        mut server: Stream,
        routed: Routed,
        id: ServerId,
        payload: Cow<'_, [u8]>,
        key: Key,
        context: &mut Context,
    ) -> Next {
        let watched = client
            .stream
            .watch(&context.registry, Token::Client(key))
            .and_then(|()| server.watch(&context.registry, Token::Server(key)));
        if watched.is_err() {
            return give_up(client, &routed, Some(id.server), CloseReason::OutOfResources, context);
        }
        let until = context.now + routed.config.timeouts.connect;
        context.deadlines.arm(slot_number(key), key, until);
        let payload = payload.into_owned().into_boxed_slice();
        Next::Wait(Session::Connect(Connect { client, server, routed, id, payload, until }.into()))
    }

    /// Looks whether the client is still there and the server has answered.
    pub(super) fn advance(mut self, key: Key, context: &mut Context) -> Next {
        if self.client.stream.is_broken() {
            self.end(CloseReason::ClientLeft, context);
            return Next::Ended;
        }
        if !self.server.is_writable() {
            return Next::Wait(Session::Connect(self.into()));
        }
        match self.server.write(&self.payload) {
            Ok(0) => Next::Wait(Session::Connect(self.into())),
            Ok(written) => {
                let Connect { client, server, routed, id, payload, .. } = self;
                Relay::begin(client, server, &routed, id, &payload, written, key, context)
            }
            Err(error) => self.fail(Failure::Refused(error), key, context),
        }
    }

    pub(super) fn expire(self, key: Key, context: &mut Context) -> Next {
        self.fail(Failure::Timeout, key, context)
    }

    pub(super) fn deadline(&self) -> Time {
        self.until
    }

    pub(super) fn end(self, reason: CloseReason, context: &mut Context) {
        close::close(&self.client, &self.routed.record(Some(self.id.server)), reason, context);
    }

    fn fail(self, failure: Failure, key: Key, context: &mut Context) -> Next {
        let Connect { client, mut routed, id, payload, server, .. } = self;
        drop(server);
        match routed.fail(&client, id, failure, context) {
            Ok(()) => seek(client, routed, Cow::Owned(payload.into_vec()), key, context),
            Err(reason) => give_up(client, &routed, Some(id.server), reason, context),
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
