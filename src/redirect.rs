//! Clients of plain HTTP, who are sent to https. They are served in the same event loop as everything else:
//!
//! ```text
//!            whole head, or too late            written
//!   Asking -------------------------> Answering -------> Leaving ---> closed
//! ```
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;

use crate::access_log::{Counts, Step, Timing, Whose};
use crate::context::{Context, Timer};
use crate::net::{Accepted, Key, Received, Role, Stream, Token};
use crate::policy::fds::REDIRECT_CLIENTS;
use crate::policy::reason::CloseReason;
use crate::policy::time::Time;
use crate::wire::http_head::{self, Verdict};

/// Clients let in in a second; more wait in the backlog.
pub const MOST_A_SECOND: usize = 128;
/// Clients at once. One more makes the one go that is there for longest, which is a second at least: nobody who dawdles
/// keeps others out.
pub const MOST_CLIENTS: usize = REDIRECT_CLIENTS;
/// How long a client may take to ask, and then to take the answer and leave.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a client may send after its head, a body say; more is answered with RST.
const MOST_EXTRA: u64 = 256 * 1024;

/// A client of the redirect.
pub enum Redirect {
    /// Its request is not whole yet.
    Asking(Asking),
    /// It does not have its whole answer yet.
    Answering(Answering),
    /// It has its answer, and is to close first.
    Leaving(Leaving),
}

/// A client whose request is not whole yet.
pub struct Asking {
    client: Client,
    /// What came so far.
    head: Vec<u8>,
}

/// A client that is answered.
pub struct Answering {
    client: Client,
    answer: Vec<u8>,
}

/// A client that has its answer. What it still sends is read: to close with bytes unread would send RST, which may overtake
/// the answer (RFC 9112 section 9.6).
pub struct Leaving {
    client: Client,
    extra: u64,
}

/// What every phase has.
struct Client {
    stream: Stream,
    source: SocketAddr,
    accepted: Time,
    until: Time,
    bytes_up: u64,
    bytes_down: u64,
}

/// What becomes of a client after it was worked on.
pub enum Next {
    /// It waits for an event or its deadline.
    Wait(Redirect),
    /// It has ended, and is logged and counted.
    Ended,
}

impl Redirect {
    /// Begins with a client that was let in, and answers it if its request is there.
    pub fn accept(accepted: Accepted, key: Key, context: &mut Context) -> Next {
        let Accepted { stream, source } = accepted;
        let (now, until) = (context.now, context.now + PATIENCE);
        context.timers.push(until, Timer::Redirect(key));
        let client = Client { stream, source, accepted: now, until, bytes_up: 0, bytes_down: 0 };
        Asking { client, head: Vec::new() }.advance(key, context)
    }

    /// Notes what an event says.
    pub fn note(&mut self, event: &Event) {
        match self {
            Redirect::Asking(Asking { client, .. })
            | Redirect::Answering(Answering { client, .. })
            | Redirect::Leaving(Leaving { client, .. }) => client.stream.note(event),
        }
    }

    /// Does what can be done now.
    pub fn advance(self, key: Key, context: &mut Context) -> Next {
        match self {
            Redirect::Asking(asking) => asking.advance(key, context),
            Redirect::Answering(answering) => answering.advance(key, context),
            Redirect::Leaving(leaving) => leaving.advance(key, context),
        }
    }

    /// A deadline has come up, if not that of a phase before.
    pub fn expire(self, key: Key, context: &mut Context) -> Next {
        if self.client().until > context.now {
            return Next::Wait(self);
        }
        match self {
            // Browsers connect ahead of need, and would take an answer for that of the next request.
            Redirect::Asking(Asking { client, head }) if head.is_empty() => {
                client.end(CloseReason::ClientSilent, context)
            }
            Redirect::Asking(Asking { client, .. }) => {
                let answer = refusal("408 Request Timeout", "the request took longer than 5 seconds", context);
                Answering::begin(client, answer, key, context)
            }
            Redirect::Answering(Answering { client, .. }) => client.end(CloseReason::ClientSilent, context),
            Redirect::Leaving(Leaving { client, .. }) => client.end(CloseReason::Answered, context),
        }
    }

    /// Ends it, whatever it does.
    pub fn end(self, reason: CloseReason, context: &mut Context) -> Next {
        match self {
            Redirect::Leaving(Leaving { client, .. }) => client.end(CloseReason::Answered, context),
            Redirect::Asking(Asking { client, .. }) | Redirect::Answering(Answering { client, .. }) => {
                client.end(reason, context)
            }
        }
    }

    /// When it came.
    #[must_use]
    pub fn accepted(&self) -> Time {
        self.client().accepted
    }

    fn client(&self) -> &Client {
        match self {
            Redirect::Asking(Asking { client, .. })
            | Redirect::Answering(Answering { client, .. })
            | Redirect::Leaving(Leaving { client, .. }) => client,
        }
    }
}

impl Asking {
    /// Reads until the head is whole, or the socket is empty.
    fn advance(mut self, key: Key, context: &mut Context) -> Next {
        let mut room = [0; 2048];
        loop {
            match self.client.read(&mut room) {
                Received::Bytes(n) => self.head.extend_from_slice(room.get(..n).unwrap_or_default()),
                Received::Blocked if self.client.watch(key, context) => return Next::Wait(Redirect::Asking(self)),
                Received::Blocked => return self.client.end(CloseReason::OutOfResources, context),
                Received::End | Received::Failed(_) => return self.client.end(CloseReason::ClientBroke, context),
            }
            let answer = match http_head::read(&self.head) {
                Verdict::Incomplete => continue,
                Verdict::TooLong => {
                    let why = format!("the request's head is longer than {} KiB", http_head::MAX_LEN / 1024);
                    refusal("431 Request Header Fields Too Large", &why, context)
                }
                Verdict::TooManyFields => {
                    let why = format!("the request's head has more than {} fields", http_head::MAX_FIELDS);
                    refusal("431 Request Header Fields Too Large", &why, context)
                }
                Verdict::Malformed(why) => refusal("400 Bad Request", why, context),
                Verdict::Head(head) => match http_head::redirect_location(&head) {
                    Some(location) => redirection(&location),
                    None => refusal("400 Bad Request", "the request does not say which host", context),
                },
            };
            return Answering::begin(self.client, answer, key, context);
        }
    }
}

impl Answering {
    fn begin(mut client: Client, answer: Vec<u8>, key: Key, context: &mut Context) -> Next {
        client.until = context.now + PATIENCE;
        context.timers.push(client.until, Timer::Redirect(key));
        Answering { client, answer }.advance(key, context)
    }

    fn advance(mut self, key: Key, context: &mut Context) -> Next {
        while !self.answer.is_empty() {
            match self.client.stream.write(&self.answer) {
                Ok(0) if self.client.watch(key, context) => return Next::Wait(Redirect::Answering(self)),
                Ok(0) => return self.client.end(CloseReason::OutOfResources, context),
                Ok(written) => {
                    self.client.bytes_down += written as u64;
                    self.answer.drain(..written);
                }
                Err(_) => return self.client.end(CloseReason::ClientBroke, context),
            }
        }
        self.client.stream.finish();
        Leaving { client: self.client, extra: 0 }.advance(key, context)
    }
}

impl Leaving {
    fn advance(mut self, key: Key, context: &mut Context) -> Next {
        let mut room = [0; 2048];
        while self.extra < MOST_EXTRA {
            match self.client.read(&mut room) {
                Received::Bytes(n) => self.extra += n as u64,
                Received::Blocked if self.client.watch(key, context) => return Next::Wait(Redirect::Leaving(self)),
                Received::Blocked | Received::End | Received::Failed(_) => break,
            }
        }
        self.client.end(CloseReason::Answered, context)
    }
}

impl Client {
    fn read(&mut self, room: &mut [u8]) -> Received {
        let received = self.stream.read(room);
        if let Received::Bytes(n) = received {
            self.bytes_up += n as u64;
        }
        received
    }

    /// Has the poll report what can be done; `false` where the kernel cannot.
    fn watch(&mut self, key: Key, context: &mut Context) -> bool {
        self.stream.watch(&context.registry, Token::Redirect(key)).is_ok()
    }

    /// Logs and counts the end of it, and closes.
    fn end(self, reason: CloseReason, context: &mut Context) -> Next {
        let counts = Counts { frontend: context.redirects, ..context.counts(None, None) };
        let timing = Timing { total: context.now - self.accepted, ..Timing::default() };
        let whose = Whose {
            frontend: Role::Http.name(),
            source: self.source,
            accepted: self.accepted,
            route: None,
            server: None,
            unique_id: None,
        };
        let Client { bytes_up, bytes_down, .. } = self;
        context.log.write(context.now, &whose, &Step::Close { timing, bytes_up, bytes_down, reason, counts });
        context.process.http.moved(bytes_up, bytes_down);
        context.redirects -= 1;
        Next::Ended
    }
}

/// `location` was made of a request whose bytes were checked: nothing in it ends a line.
fn redirection(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// Counts what cannot be redirected, and answers. The answer repeats nothing of the request.
fn refusal(status: &str, why: &str, context: &mut Context) -> Vec<u8> {
    context.process.http.errors += 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{why}\n",
        why.len() + 1
    )
    .into_bytes()
}
