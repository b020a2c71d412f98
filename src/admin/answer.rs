//! Which answer a request gets.
use std::net::SocketAddr;

use super::Desk;
use super::credentials::Access;
use super::report::{self, Form, Report, View};
use crate::access_log::Level;
use crate::context::Context;
use crate::fleet::Fleet;
use crate::metrics::Snapshot;
use crate::wire::http_head::Head;

const TEXT: &str = "text/plain; charset=utf-8";

/// What a request gets.
pub(super) enum Reply {
    /// This.
    Answer(Answer),
    /// What is made of a snapshot.
    Report(Wanted),
}

/// An answer: its head, with the body where that is short, and what makes the rest while it is written.
pub(super) struct Answer {
    pub(super) head: Vec<u8>,
    pub(super) rest: Option<Rest>,
}

/// The rest of an answer.
pub(super) struct Rest {
    report: Report,
    is_chunked: bool,
}

/// A report, and how it was asked for.
pub(super) struct Wanted {
    form: Form,
    view: View,
    /// It was HEAD.
    is_bodiless: bool,
    /// HTTP/1.1, which has chunks: so a client knows a body that was cut off from a whole one.
    is_chunked: bool,
}

/// The statuses that are answered, RFC 9110 section 15.
#[derive(Clone, Copy)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    HeadTooLong,
    Unavailable,
}

/// Chooses what a whole request gets.
pub(super) fn to(head: &Head<'_>, source: SocketAddr, desk: &Desk<'_>, context: &mut Context) -> Reply {
    let is_bodiless = head.method == "HEAD";
    if !is_bodiless && head.method != "GET" {
        let answer = Answer::text(Status::MethodNotAllowed, "Allow: GET, HEAD\r\n", "GET and HEAD are all there is\n");
        return Reply::Answer(answer);
    }
    let path = head.path.split('?').next().unwrap_or_default();
    let answer = match (path, report::at(path)) {
        ("/health", _) if desk.is_draining => Answer::text(Status::Unavailable, "", "draining\n"),
        ("/health", _) => Answer::text(Status::Ok, "", "ok\n"),
        ("/ready", _) => ready(&context.fleet, desk.is_draining),
        (_, Some((form, view))) => match access(form, head, desk) {
            Access::Granted => {
                let is_chunked = head.minor_version > 0;
                return Reply::Report(Wanted { form, view, is_bodiless, is_chunked });
            }
            Access::Denied => {
                // Browsers ask without credentials first.
                if head.authorization.is_some() {
                    let words = format_args!("/stats is refused to {source}: wrong user name or password.");
                    context.log.say(context.now, Level::Warning, words);
                }
                Answer::text(Status::Unauthorized, CHALLENGE, "user name and password are wanted\n")
            }
            Access::Closed => Answer::text(Status::Forbidden, "", CLOSED),
        },
        (_, None) => Answer::text(Status::NotFound, "", ENDPOINTS),
    };
    Reply::Answer(if is_bodiless { answer.without_body() } else { answer })
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
fn ready(fleet: &Fleet, is_draining: bool) -> Answer {
    let down: Vec<&str> = fleet
        .routes()
        .filter(|(_, route)| !route.group.standing().is_up())
        .map(|(_, route)| &*route.config.name)
        .collect();
    if is_draining {
        return Answer::text(Status::Unavailable, "", "draining\n");
    }
    if down.is_empty() {
        return Answer::text(Status::Ok, "", "ready\n");
    }
    Answer::text(Status::Unavailable, "", &format!("no server up: {}\n", down.join(", ")))
}

impl Answer {
    /// An answer in words. `fields` are lines of the head, each with its end.
    fn text(status: Status, fields: &str, body: &str) -> Answer {
        let length = body.len();
        let head = head(status, TEXT, &format!("{fields}Content-Length: {length}\r\n"));
        Answer { head: format!("{head}{body}").into_bytes(), rest: None }
    }

    /// An answer to what is no request.
    pub(super) fn failure(status: Status, why: &str) -> Answer {
        Answer::text(status, "", &format!("{why}\n"))
    }

    /// The head alone, as HEAD wants it.
    fn without_body(mut self) -> Answer {
        let end = self.head.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        self.head.truncate(end.map_or(0, |end| end + 4));
        self
    }
}

impl Wanted {
    /// The answer, made of a snapshot.
    pub(super) fn answer(self, snapshot: Snapshot) -> Answer {
        let Wanted { form, view, is_bodiless, is_chunked } = self;
        let framing = if is_chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        let head = head(Status::Ok, form.content_type(), &format!("{}{framing}", form.fields())).into_bytes();
        let rest = (!is_bodiless).then(|| Rest { report: Report::new(form, view, snapshot), is_chunked });
        Answer { head, rest }
    }
}

impl Rest {
    /// What it is made of.
    pub(super) fn into_snapshot(self) -> Snapshot {
        self.report.into_snapshot()
    }

    /// Appends some `most` bytes of the answer; `false`: that was all of it.
    pub(super) fn make(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        if !self.is_chunked {
            return self.report.write(out, most);
        }
        // RFC 9112 section 7.1: a chunk's size may have leading zeros, so its place can be kept free. A chunk of size 0 would
        // be the last one.
        let start = out.len();
        out.extend_from_slice(b"00000000\r\n");
        let is_more = self.report.write(out, most);
        match out.len() - start - 10 {
            0 => out.truncate(start),
            size => {
                if let Some(place) = out.get_mut(start..start + 8) {
                    place.copy_from_slice(format!("{size:08x}").as_bytes());
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        if !is_more {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        is_more
    }
}

/// Closing after one answer keeps a client's life short, and what it sends behind its request out of it.
fn head(status: Status, content_type: &str, fields: &str) -> String {
    format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\nConnection: close\r\n{fields}\r\n",
        status.line()
    )
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::Timeout => "408 Request Timeout",
            Status::HeadTooLong => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten bytes a piece, as many in all as the snapshot has connections.
    fn piece(snapshot: &Snapshot, _: View, index: usize, out: &mut Vec<u8>) -> bool {
        let left = (snapshot.connections as usize).saturating_sub(10 * index);
        out.extend_from_slice(&b"0123456789"[..left.min(10)]);
        left > 0
    }

    fn rest(bytes: u64) -> Rest {
        let snapshot = Box::new(Snapshot { connections: bytes, ..Snapshot::empty() });
        Rest { report: Report::Pieces { snapshot, view: View::default(), piece, next: 0 }, is_chunked: true }
    }

    /// Without this, an answer whose slices end just where it ends is taken for one that is followed by another.
    #[test]
    fn the_last_chunk_is_the_only_empty_one() {
        for bytes in [0, 5, 10, 95, 100, 105, 1000] {
            let (mut rest, mut out) = (rest(bytes), Vec::new());
            while rest.make(&mut out, 100) {}
            let text = String::from_utf8(out).unwrap();
            let (mut left, mut body) = (&*text, 0);
            loop {
                let (size, after) = left.split_once("\r\n").unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                left = &after[size + 2..];
                body += size;
                if size == 0 {
                    break;
                }
            }
            assert_eq!((left, body as u64), ("", bytes), "{text:?}");
        }
    }
}
