//! The end of a connection. Every end comes through [`close`], which writes its log line and its counters.
use super::routed::Routed;
use super::{Admission, Client, Lent, Moved, Next};
use crate::access_log::{Step, Timing};
use crate::config::Reject;
use crate::context::Context;
use crate::fleet::{Closing, Open, RouteId};
use crate::net::Received;
use crate::vocabulary::{CloseReason, DropReason};
use crate::wire::alert::Alert;

/// The most bytes that are read from a client before close, so that it can read an alert.
const MAX_UNREAD: usize = 256 * 1024;

/// Logs and counts the end of a connection. The caller closes its sockets.
pub(super) fn close(client: &Client, routed: Option<&Routed>, moved: Moved, reason: CloseReason, lent: &mut Lent<'_>) {
    if client.is_logged(lent.context) {
        log(client, routed, moved, reason, lent);
    }
    count(client, routed, moved, reason, lent);
}

fn count(client: &Client, routed: Option<&Routed>, moved: Moved, reason: CloseReason, lent: &mut Lent<'_>) {
    let Lent { shared, context, .. } = lent;
    shared.memory.take_back(client.lent);
    match client.admission {
        Admission::Refused(_) => shared.uncount_over_limits(),
        Admission::Granted => shared.sources.closed(client.source.ip()),
        Admission::Unlimited => {}
    }
    let Moved { up, down, spliced } = moved;
    context.process.closed(reason, spliced);
    let is_denied = client.is_denied(reason);
    match client.frontend {
        None if client.handed_on.is_some() => {
            context.clients.uncount_handed_on();
            context.process.http.ended(up, down, is_denied);
        }
        None => context.process.https.ended(up, down, is_denied),
        Some(id) => {
            context.process.owned.ended(up, down, is_denied);
            context.fleet.go_out(id, reason, is_denied, [up, down]);
        }
    }
    if let Some(routed) = routed {
        let lasted = routed.is_connected().then(|| context.now - client.accepted);
        let server = routed.server_id().map(|id| id.server);
        context.fleet.close(routed.route(), &Closing { server, reason, bytes_up: up, bytes_down: down, lasted });
    }
}

/// Counts the end of a balancer's own check. The log has no line for it.
pub(super) fn check(frontend: Option<RouteId>, lent: &mut Lent<'_>) {
    lent.context.process.closed(CloseReason::Answered, 0);
    if let Some(id) = frontend {
        lent.context.fleet.go_out(id, CloseReason::Answered, false, [0, 0]);
    }
}

fn log(client: &Client, routed: Option<&Routed>, moved: Moved, reason: CloseReason, lent: &mut Lent<'_>) {
    let now = lent.context.now;
    let (timing, counts) = if let Some(routed) = routed {
        (routed.timing(now), routed.counts(lent))
    } else {
        let timing = Timing { total: now - client.accepted, ..Timing::default() };
        (timing, client.counts(Open::default(), lent.context))
    };
    let Context { log, fleet, .. } = &mut *lent.context;
    let whose = routed.map_or_else(|| client.whose(fleet), |routed| routed.whose(fleet));
    log.write(now, &whose, &Step::Close { timing, bytes_up: moved.up, bytes_down: moved.down, reason, counts });
}

/// Ends the connection of a refused client.
pub(super) fn refuse(client: Client, reason: DropReason, lent: &mut Lent<'_>) -> Next {
    close(&client, None, Moved::default(), CloseReason::Dropped(reason), lent);
    turn_away(client, reason, lent)
}

/// How a client is refused; one that may not speak TLS gets no alert.
fn alert_only_to_tls(client: &Client, lent: &Lent<'_>) -> Reject {
    match lent.context.config.reject {
        Reject::Alert if client.handed_on.is_some() || lent.context.fleet.takes_all(client.frontend).is_some() => {
            Reject::Close
        }
        reject => reject,
    }
}

/// Closes a refused client, in the way that `reject` says.
fn turn_away(mut client: Client, reason: DropReason, lent: &Lent<'_>) -> Next {
    match alert_only_to_tls(&client, lent) {
        _ if reason == DropReason::ClosedEarly => {}
        Reject::Close => {}
        Reject::Drop => client.stream.vanish(),
        Reject::Alert => {
            let alert = match reason {
                // A client that `allow_from` excludes must not learn that the name is served.
                DropReason::UnknownSni | DropReason::NoSni | DropReason::NotAllowed => Alert::UnrecognizedName,
                DropReason::NotTls | DropReason::MalformedHello => Alert::DecodeError,
                _ => Alert::InternalError,
            };
            say(&mut client, alert);
        }
    }
    Next::Ended
}

/// Ends the connection of a client whose route has no server for it.
pub(super) fn give_up(mut routed: Routed, reason: CloseReason, lent: &mut Lent<'_>) -> Next {
    routed.close(Moved::default(), reason, lent);
    if alert_only_to_tls(&routed.client, lent) == Reject::Alert {
        say(&mut routed.client, Alert::InternalError);
    }
    Next::Ended
}

/// Sends an alert. The client's bytes are read first: close(2) with unread bytes sends RST, which overtakes the alert.
fn say(client: &mut Client, alert: Alert) {
    let mut room = [0; 4096];
    let mut unread = MAX_UNREAD;
    while unread > 0
        && let Received::Bytes(n) = client.stream.read(&mut room)
    {
        unread = unread.saturating_sub(n);
    }
    let _ = client.stream.write(&alert.record());
}
