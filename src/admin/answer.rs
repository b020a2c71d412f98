//! Which answer a request gets.
use super::Desk;
use super::credentials::Access;
use super::report::{self, Form, Report, View};
use crate::access_log::Level;
use crate::context::Context;
use crate::fleet::Fleet;
use crate::http::{Answer, Asked, Status};
use crate::metrics::Snapshot;
use crate::wire::http_head::Head;

/// What a request gets.
pub enum Reply {
    /// This.
    Answer(Answer<Report>),
    /// What is made of a snapshot.
    Report(Wanted),
}

/// A report that was asked for.
pub struct Wanted {
    form: Form,
    view: View,
}

/// Chooses what a request gets.
pub fn reply(asked: &Asked, desk: &Desk<'_>, context: &mut Context) -> Reply {
    let head = match asked.request() {
        Ok(head) => head,
        Err(refusal) => return Reply::Answer(refusal.into()),
    };
    if !["GET", "HEAD"].contains(&head.method) {
        return text(Status::MethodNotAllowed, "Allow: GET, HEAD\r\n", "GET and HEAD are all there is\n");
    }
    let path = head.path.split('?').next().unwrap_or_default();
    match (path, report::at(path)) {
        ("/health", _) if desk.is_draining => text(Status::Unavailable, "", "draining\n"),
        ("/health", _) => text(Status::Ok, "", "ok\n"),
        ("/ready", _) => ready(&context.fleet, desk.is_draining),
        (_, Some((form, view))) => match access(form, &head, desk) {
            Access::Granted => Reply::Report(Wanted { form, view }),
            Access::Denied => {
                // A browser asks without credentials first.
                if head.authorization.is_some() {
                    let source = asked.source();
                    let words = format_args!("/stats is refused to {source}: wrong user name or password.");
                    context.log.say(context.now, Level::Warning, words);
                }
                text(Status::Unauthorized, CHALLENGE, "user name and password are wanted\n")
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
const CLOSED: &str = "/stats shows itself to nobody, as there is no password for it.\n\
    Name files in the configuration, admin.stats_credentials.username_file and password_file,\n\
    or set STATS_USERNAME and STATS_PASSWORD in the environment.\n";
const ENDPOINTS: &str = "there are /health, /ready, /metrics, /stats, /stats;csv and /stats.json\n";

fn access(form: Form, head: &Head<'_>, desk: &Desk<'_>) -> Access {
    if form == Form::Metrics { Access::Granted } else { desk.credentials.judge(head.authorization) }
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
    /// The answer, made of a snapshot.
    #[must_use]
    pub fn answer(self, snapshot: Snapshot) -> Answer<Report> {
        let Wanted { form, view } = self;
        let fields = format!("Content-Type: {}\r\nCache-Control: no-store\r\n{}", form.content_type(), form.fields());
        Answer::made(fields, Report::new(form, view, snapshot))
    }
}
