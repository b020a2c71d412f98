//! The end of a connection: every one comes through [`close`], which writes its log line and settles its counters.
use std::time::Duration;

use super::{Client, Moved, Next};
use crate::access_log::{Counts, Step, Timing, Whose};
use crate::config::Reject;
use crate::context::Context;
use crate::fleet::ServerId;
use crate::net::Received;
use crate::policy::reason::{CloseReason, DropReason};
use crate::wire::alert::Alert;

/// Bytes of a client that are read to no other end than to have it read an alert.
const MOST_UNREAD: usize = 256 * 1024;

/// What is known of a connection when it ends.
#[derive(Clone, Copy, Default)]
pub(super) struct Record {
    /// Its route.
    pub(super) route: Option<u32>,
    /// The server that it counts on.
    pub(super) server: Option<u32>,
    /// Its id in the PROXY header.
    pub(super) unique_id: Option<[u8; 16]>,
    /// How long it waited for a server to have room; `None`: it never got that far.
    pub(super) queued: Option<Duration>,
    /// How many were ahead of it when it had to wait for that.
    pub(super) ahead: u64,
    /// How long it took to connect to the server; `None`: it never did.
    pub(super) connect: Option<Duration>,
    /// What it has moved.
    pub(super) moved: Moved,
}

impl Record {
    fn server_id(&self) -> Option<ServerId> {
        Some(ServerId { route: self.route?, server: self.server? })
    }
}

/// Logs and counts the end of a connection. Its sockets are the caller's to close.
pub(super) fn close(client: &Client, record: &Record, reason: CloseReason, context: &mut Context) {
    log(client, record, reason, context);
    match client.refused {
        Some(_) => context.refused -= 1,
        None => context.sources.closed(client.source.ip()),
    }
    let Moved { up, down, spliced } = record.moved;
    context.process.closed(reason, up, down, spliced);
    if let Some(id) = record.server_id() {
        context.release(id);
    }
    let Some(route) = record.route.and_then(|place| context.fleet.route_mut(place)) else { return };
    route.open -= 1;
    if record.connect.is_some() {
        let total = context.now - client.accepted;
        route.usage.total_time.add(total);
        if let Some(server) = record.server.and_then(|server| route.servers.get_mut(server as usize)) {
            server.usage.total_time.add(total);
        }
    }
    route.traffic_mut(record.server).closed(reason, up, down);
}

fn log(client: &Client, record: &Record, reason: CloseReason, context: &mut Context) {
    let counts = Counts { ahead: record.ahead, ..context.counts(record.route, record.server) };
    let timing = Timing { queued: record.queued, connect: record.connect, total: context.now - client.accepted };
    let Context { log, fleet, now, .. } = context;
    let route = record.route.and_then(|place| fleet.route(place));
    let id = record.server_id();
    let whose = Whose {
        route: route.map(|route| &*route.config.name),
        server: id.and_then(|id| Some(&*fleet.server(id)?.name)),
        unique_id: record.unique_id,
        ..client.whose()
    };
    let (bytes_up, bytes_down) = (record.moved.up, record.moved.down);
    log.write(*now, &whose, &Step::Close { timing, bytes_up, bytes_down, reason, counts });
}

/// Ends the connection of a client that is not let in.
pub(super) fn refuse(client: Client, reason: DropReason, context: &mut Context) -> Next {
    close(&client, &Record::default(), CloseReason::Dropped(reason), context);
    turn_away(client, reason, context);
    Next::Ended
}

/// Closes a client that was refused, in the way that `reject` says.
fn turn_away(mut client: Client, reason: DropReason, context: &Context) {
    if reason == DropReason::ClosedEarly {
        return;
    }
    match context.config.reject {
        Reject::Close => {}
        Reject::Drop => client.stream.vanish(client.source),
        Reject::Alert => {
            let alert = match reason {
                DropReason::UnknownSni | DropReason::NoSni => Alert::UnrecognizedName,
                DropReason::NotTls | DropReason::MalformedHello => Alert::DecodeError,
                _ => Alert::InternalError,
            };
            say(&mut client, alert);
        }
    }
}

/// Closes a client whose route has no server for it.
pub(super) fn apologise(mut client: Client, context: &Context) {
    if context.config.reject == Reject::Alert {
        say(&mut client, Alert::InternalError);
    }
}

/// Sends an alert. What the client sent is read first: closing with bytes unread would send RST, which overtakes the
/// alert.
fn say(client: &mut Client, alert: Alert) {
    let mut room = [0; 4096];
    let mut unread = MOST_UNREAD;
    while unread > 0
        && let Received::Bytes(n) = client.stream.read(&mut room)
    {
        unread = unread.saturating_sub(n);
    }
    let _ = client.stream.write(&alert.record());
}
