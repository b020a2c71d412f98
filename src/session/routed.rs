//! A client with a route: the part of a session that stays through queue, connect, relay and close.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Client, Lent, Moved, close};
use crate::access_log::{Counts, Step, Timing, Whose};
use crate::config::Route;
use crate::fleet::{Fleet, MappedServer, RouteId, ServerId, ServerMap};
use crate::policy::servers::{Pick, ServerIndex};
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;

/// The route of a hello.
pub(super) struct Found {
    pub(super) config: Arc<Route>,
    pub(super) route: RouteId,
    pub(super) unique_id: Option<[u8; 16]>,
    /// Length of the PROXY header in bytes.
    pub(super) header: u16,
}

/// A client with its route, and its history.
pub(super) struct Routed {
    pub(super) client: Client,
    pub(super) found: Found,
    /// When the route was found.
    pub(super) since: Time,
    /// What it waited for a server with room, if it had to.
    pub(super) waited: Option<Box<Waited>>,
    /// The server that the connection counts on.
    server: Option<ServerIndex>,
    connecting: Connecting,
    /// The failed attempts, until one succeeds.
    failures: Option<Box<Failures>>,
}

/// A connection's time in its route's queue.
#[derive(Clone, Copy, Default)]
pub(super) struct Waited {
    pub(super) time: Duration,
    /// Connections of the route that were queued ahead of this one.
    pub(super) ahead: u64,
}

/// The state that the next process needs, without the client.
#[derive(Serialize, Deserialize)]
pub(super) struct ParkedRouted {
    route: usize,
    server: ServerIndex,
    unique_id: Option<[u8; 16]>,
    header: u16,
    since: Time,
    queued: Duration,
    ahead: u64,
    connect: Duration,
}

/// The progress towards a server.
#[derive(Clone, Copy)]
enum Connecting {
    NotYet,
    /// Since the first attempt began.
    Since(Time),
    /// The time that the connect took.
    Done(Duration),
}

/// Failed attempts to connect.
struct Failures {
    /// The server of the last one.
    last: Option<ServerIndex>,
    /// Attempts that are left.
    left: u32,
    /// Servers that failed since the last pause.
    failed: Vec<ServerIndex>,
}

impl ParkedRouted {
    /// Where it goes on. `map` has the routes and servers of the previous process.
    pub(super) fn mapped<'a>(&self, map: &'a ServerMap) -> Option<MappedServer<'a>> {
        map.find(self.route, self.server)
    }
}

impl Routed {
    /// Gives a client its route, which counts it.
    pub(super) fn open(client: Client, found: Found, lent: &mut Lent<'_>) -> Routed {
        let context = &mut *lent.context;
        if client.is_counted {
            context.fleet.reopen(found.route);
        } else {
            context.fleet.open(found.route, context.now);
        }
        let (since, connecting) = (context.now, Connecting::NotYet);
        Routed { client, found, since, waited: None, server: None, connecting, failures: None }
    }

    /// The state that the next process needs; `None`: it is not connected.
    pub(super) fn park(&self) -> Option<ParkedRouted> {
        let Waited { time: queued, ahead } = self.waited();
        Some(ParkedRouted {
            route: self.found.route.index(),
            server: self.server?,
            unique_id: self.found.unique_id,
            header: self.found.header,
            since: self.since,
            queued,
            ahead,
            connect: self.connect()?,
        })
    }

    /// Takes over a connection of the previous process, on a server of this one, which counts it.
    pub(super) fn take_up(
        client: Client,
        parked: &ParkedRouted,
        mapped: MappedServer<'_>,
        fleet: &mut Fleet,
    ) -> Routed {
        let MappedServer { id, config, .. } = mapped;
        fleet.resume(id);
        let config = Arc::clone(config);
        let has_waited = parked.ahead > 0 || !parked.queued.is_zero();
        Routed {
            client,
            found: Found { config, route: id.route, unique_id: parked.unique_id, header: parked.header },
            since: parked.since,
            waited: has_waited.then(|| Box::new(Waited { time: parked.queued, ahead: parked.ahead })),
            server: Some(id.server),
            connecting: Connecting::Done(parked.connect),
            failures: None,
        }
    }

    /// Picks a server that has not failed since the last pause.
    pub(super) fn pick(&self, fleet: &mut Fleet) -> Pick {
        let failed = self.failures.as_ref().map_or(&[][..], |failures| &failures.failed);
        fleet.pick(self.found.route, self.client.source.ip(), failed)
    }

    /// Allows every server again, after a pause.
    pub(super) fn forget_failures(&mut self) {
        if let Some(failures) = &mut self.failures {
            failures.failed.clear();
        }
    }

    /// Begins an attempt to connect to a server.
    pub(super) fn assign(&mut self, server: ServerIndex, lent: &mut Lent<'_>) {
        let context = &mut *lent.context;
        if let Connecting::NotYet = self.connecting {
            self.connecting = Connecting::Since(context.now);
        }
        self.server = Some(server);
        let last = self.failures.as_ref().and_then(|failures| failures.last);
        context.fleet.assign(ServerId { route: self.found.route, server }, last, context.now);
    }

    /// Notes a failed attempt. If another may follow, the connection is uncounted on the server; otherwise it ends for
    /// `reason` on that server.
    pub(super) fn fail(
        &mut self,
        why: &dyn fmt::Display,
        reason: CloseReason,
        lent: &mut Lent<'_>,
    ) -> Result<(), CloseReason> {
        let context = &mut *lent.context;
        let tries_left = self.failures.as_ref().map_or(context.config.retries, |failures| failures.left);
        context.log.write(context.now, &self.whose(&context.fleet), &Step::ConnectFailed { why, tries_left });
        if tries_left == 0 {
            return Err(reason);
        }
        let server = self.server;
        let failures = self.release(lent);
        failures.left = tries_left - 1;
        failures.failed.extend(server);
        Ok(())
    }

    /// Uncounts it on its server.
    pub(super) fn let_go(&mut self, lent: &mut Lent<'_>) {
        self.release(lent);
    }

    fn release(&mut self, lent: &mut Lent<'_>) -> &mut Failures {
        if let Some(id) = self.server_id() {
            lent.context.fleet.release(id);
        }
        let retries = lent.context.config.retries;
        let failures =
            self.failures.get_or_insert_with(|| Failures { last: None, left: retries, failed: Vec::new() }.into());
        failures.last = self.server.take().or(failures.last);
        failures
    }

    /// Logs and counts that the server has taken the first bytes.
    pub(super) fn connected(&mut self, lent: &mut Lent<'_>) {
        let context = &mut *lent.context;
        let connect = match self.connecting {
            Connecting::NotYet => Duration::ZERO,
            Connecting::Since(began) => context.now.since(began),
            Connecting::Done(connect) => connect,
        };
        self.connecting = Connecting::Done(connect);
        self.failures = None;
        if let Some(id) = self.server_id() {
            context.fleet.connected(id, self.waited().time, connect);
        }
        context.process.histograms.connect(connect);
        let (timing, counts) = (self.timing(context.now), self.counts(lent));
        let context = &mut *lent.context;
        context.log.write(context.now, &self.whose(&context.fleet), &Step::Connect { timing, counts });
    }

    /// Logs and counts its end.
    pub(super) fn close(&self, moved: Moved, reason: CloseReason, lent: &mut Lent<'_>) {
        close::close(&self.client, Some(self), moved, reason, lent);
    }

    /// The route that it counts on.
    pub(super) fn route(&self) -> RouteId {
        self.found.route
    }

    /// The server that it counts on.
    pub(super) fn server_id(&self) -> Option<ServerId> {
        Some(ServerId { route: self.found.route, server: self.server? })
    }

    /// Whether a server took its first bytes.
    pub(super) fn is_connected(&self) -> bool {
        self.connect().is_some()
    }

    /// Its time in the queue; none, if there was room at once.
    fn waited(&self) -> Waited {
        self.waited.as_deref().copied().unwrap_or_default()
    }

    /// The time that the connect took.
    fn connect(&self) -> Option<Duration> {
        match self.connecting {
            Connecting::Done(connect) => Some(connect),
            Connecting::NotYet | Connecting::Since(_) => None,
        }
    }

    /// The beginning of its log lines.
    pub(super) fn whose<'a>(&'a self, fleet: &'a Fleet) -> Whose<'a> {
        Whose {
            route: Some(&self.found.config.name),
            server: self.server_id().and_then(|id| Some(&*fleet.server(id)?.name)),
            unique_id: self.found.unique_id,
            ..self.client.whose(fleet)
        }
    }

    /// How long each step took.
    pub(super) fn timing(&self, now: Time) -> Timing {
        let queued = self.server.map(|_| self.waited().time);
        Timing { queued, connect: self.connect(), total: now - self.client.accepted }
    }

    /// Current connections, for its log lines.
    pub(super) fn counts(&self, lent: &Lent<'_>) -> Counts {
        let context = &*lent.context;
        Counts {
            ahead: self.waited().ahead,
            ..self.client.counts(context.fleet.open_now(self.found.route, self.server), context)
        }
    }
}
