//! Which answer a request gets.
use std::net::SocketAddr;

use super::Desk;
use super::credentials::Access;
use super::page;
use super::report::{self, Form, Report, View};
use crate::context::{Context, Timer};
use crate::fleet::Fleet;
use crate::http::{Answer, Asked, Status};
use crate::metrics::Snapshot;
use crate::policy::tries::{MAX_A_SECOND, Notice, SUMMARY_PERIOD, Tries};
use crate::wire::http_head::Head;

/// The result for a request.
pub enum Reply {
    /// An answer.
    Answer(Answer<Report>),
    /// A report, to be generated from a snapshot.
    Report(Wanted),
}

/// The requested report.
pub struct Wanted {
    form: Form,
    view: View,
}

/// Chooses the result for a request.
pub fn reply(asked: &Asked, desk: &mut Desk<'_>, context: &mut Context) -> Reply {
    let head = match asked.request() {
        Ok(head) => head,
        Err(refusal) => return Reply::Answer(refusal.into()),
    };
    if !["GET", "HEAD"].contains(&head.method) {
        return text(Status::MethodNotAllowed, "Allow: GET, HEAD\r\n", "only GET and HEAD are supported\n");
    }
    let path = head.path.split('?').next().unwrap_or_default();
    match (path, report::at(path)) {
        ("/health", _) if desk.is_draining => text(Status::Unavailable, "", "draining\n"),
        ("/health", _) => text(Status::Ok, "", "ok\n"),
        ("/ready", _) => ready(&context.fleet, desk.is_draining),
        (_, Some((form, view))) => match access(form, &head, asked.source(), desk, context) {
            Access::Granted => Reply::Report(Wanted { form, view }),
            Access::Denied => text(Status::Unauthorized, CHALLENGE, "/stats needs a user name and a password\n"),
            Access::Limited => {
                let why = format!("more than {MAX_A_SECOND} wrong passwords a second from one address\n");
                Reply::Answer(Answer::text(Status::TooManyRequests, "Retry-After: 1\r\n", why))
            }
            Access::Closed => text(Status::Forbidden, "", CLOSED),
        },
        (_, None) => text(Status::NotFound, "", ENDPOINTS),
    }
}

fn text(status: Status, fields: &str, text: &str) -> Reply {
    Reply::Answer(Answer::text(status, fields, text.to_owned()))
}

const CHALLENGE: &str = "WWW-Authenticate: Basic realm=\"fiscalismia-lb\", charset=\"UTF-8\"\r\n";
const CLOSED: &str = "/stats is closed, as there is no password for it.\n\
    Name files in the configuration, admin.stats_credentials.username_file and password_file,\n\
    or set STATS_USERNAME and STATS_PASSWORD in the environment.\n";
const ENDPOINTS: &str = "there are /health, /ready, /metrics, /stats, /stats;csv and /stats.json\n";

fn access(form: Form, head: &Head<'_>, source: SocketAddr, desk: &mut Desk<'_>, context: &mut Context) -> Access {
    if form == Form::Metrics {
        return Access::Granted;
    }
    // A browser asks without credentials first.
    if head.authorization.is_none() {
        return desk.credentials.judge(None);
    }
    let access = if desk.tries.may_try(source.ip(), context.now) {
        desk.credentials.judge(head.authorization)
    } else {
        Access::Limited
    };
    if access == Access::Denied {
        desk.tries.failed(source.ip(), context.now);
    }
    if [Access::Denied, Access::Limited].contains(&access) {
        log_refusal(source, desk.tries, context);
    }
    access
}

/// Guessed passwords must not fill the log: the first gets a line, the others are summed up.
fn log_refusal(source: SocketAddr, tries: &mut Tries, context: &mut Context) {
    match tries.note_refusal(context.now) {
        Notice::Now => {
            log::warn!("/stats is refused to {source}: wrong user name or password.");
        }
        Notice::At(due) => context.timers.push(due, Timer::Refusals),
        Notice::Due => {}
    }
}

/// Logs the number of refusals since the last such line.
pub fn log_refusals(tries: &mut Tries, context: &mut Context) {
    if let count @ 1.. = tries.summary(context.now) {
        log::warn!(
            "/stats was refused {count} more times in {SUMMARY_PERIOD:?}: wrong user name or password, or more than \
             {MAX_A_SECOND} tries a second from one address."
        );
    }
}

/// Whether every route has a server in service.
fn ready(fleet: &Fleet, is_draining: bool) -> Reply {
    if is_draining {
        return text(Status::Unavailable, "", "draining\n");
    }
    let without: Vec<&str> = fleet
        .routes()
        .filter(|(_, route)| !route.group().standing().is_up())
        .map(|(_, route)| &*route.config().name)
        .collect();
    if without.is_empty() {
        return text(Status::Ok, "", "ready\n");
    }
    text(Status::Unavailable, "", &format!("no server up: {}\n", without.join(", ")))
}

impl Wanted {
    /// The answer, generated from a snapshot.
    #[must_use]
    pub fn answer(self, snapshot: Snapshot) -> Answer<Report> {
        let Wanted { form, view } = self;
        // By a field of the answer: a `meta` element that does it is what accessibility checkers warn of, whether or
        // not the page lets its reader pause, as this one does.
        let refresh = match form {
            Form::Page if !view.is_still => format!("Refresh: {}\r\n", page::REFRESH),
            _ => String::new(),
        };
        let (kind, fields) = (form.content_type(), form.fields());
        let fields = format!("Content-Type: {kind}\r\nCache-Control: no-store\r\n{refresh}{fields}");
        Answer::made(fields, Report::new(form, view, snapshot))
    }
}
