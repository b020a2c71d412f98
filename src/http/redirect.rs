//! The redirect: answers a plain HTTP request with the address on https.
use std::convert::Infallible;

use super::{Answer, Asked, End, Refusal, Status};
use crate::access_log::{Counts, Step, Timing, Whose};
use crate::context::Context;
use crate::fleet::{Open, RouteId};
use crate::metrics::Frontend;
use crate::vocabulary::Role;
use crate::wire::http_head;

/// The most clients accepted in a second; further clients wait in the backlog.
pub const MAX_A_SECOND: usize = 128;

/// The answer to a request. A request that cannot be redirected is counted, and none of its bytes are repeated.
pub fn answer(asked: &Asked, counters: &mut Frontend) -> Answer<Infallible> {
    let location = asked.request().and_then(|head| {
        let why = || Refusal { status: Status::BadRequest, why: "the request does not say which host".to_owned() };
        http_head::redirect_location(&head).ok_or_else(why)
    });
    match location {
        // Made of a request whose bytes were checked: nothing in it ends a line.
        Ok(location) => Answer::bare(Status::MovedPermanently, format!("Location: {location}\r\n")),
        Err(refusal) => {
            counters.errors += 1;
            refusal.into()
        }
    }
}

/// The route whose servers take the request, and their port for it; `None`: the request is redirected.
#[must_use]
pub fn taken(asked: &Asked, context: &Context) -> Option<(RouteId, u16)> {
    let head = asked.request().ok()?;
    context.fleet.takes_http(head.host?, head.path)
}

/// Logs and counts the end of a client.
pub fn log_end(end: End, context: &mut Context) {
    if end.is_check {
        return;
    }
    let counts = Counts { frontend: context.clients.at_redirect(), ..context.counts(None, Open::default()) };
    let timing = Timing { total: context.now - end.accepted, ..Timing::default() };
    let whose = Whose {
        frontend: Role::Http.name(),
        source: end.source,
        accepted: end.accepted,
        route: None,
        server: None,
        unique_id: None,
        sni: None,
        alpn: &[],
    };
    if let Some(why) = end.why {
        context.process.http.errors += 1;
        context.log.write(context.now, &whose, &Step::Refuse { why: &why });
    }
    let End { bytes_up, bytes_down, reason, .. } = end;
    context.log.write(context.now, &whose, &Step::Close { timing, bytes_up, bytes_down, reason, counts });
    context.process.http.moved(bytes_up, bytes_down);
}
