//! Probes. A probe is one connection to a server, which shows whether the server is up.
//!
//! A probe begins with the PROXY header of its route, as HAProxy's do, so that a server which requires a header accepts
//! it: LOCAL in version 2; in version 1, which has no LOCAL, the probe's own two addresses. It is closed with RST,
//! which leaves no `TIME_WAIT`.
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use rustix::io::Errno;

use crate::config::{HealthCheck, Probe as Kind, ProxyProtocol};
use crate::context::{Context, Timer};
use crate::fleet::{RouteId, ServerId};
use crate::net::{self, Key, Received, Stream, Token};
use crate::policy::health::Checked;
use crate::policy::time::Time;
use crate::vocabulary::CheckResult;
use crate::wire::hello_builder::HelloBuilder;
use crate::wire::http_status;
use crate::wire::proxy_header;
use crate::wire::server_hello::{self, Verdict};

mod report;

pub use report::{no_verdict, report, risen, tell_route_changes};

/// The most bytes of an answer that are read; by then there must be a verdict.
const MAX_ANSWER: usize = 8 * 1024;
/// The pause after a probe without a verdict.
const PAUSE: Duration = Duration::from_secs(1);

/// A running probe.
pub struct Probe {
    id: ServerId,
    stream: Stream,
    kind: Kind,
    started: Time,
    until: Time,
    /// Whether a probe has passed before.
    is_proven: bool,
    is_connected: bool,
    /// The bytes that are still to be sent.
    question: Vec<u8>,
    answer: Vec<u8>,
}

/// What comes after a probe has worked.
pub enum Next {
    /// It waits for an event or its deadline.
    Wait(Probe),
    /// It has its verdict.
    Done(ServerId, Checked),
    /// It ended for a reason that says nothing about the server.
    NoVerdict(ServerId, Errno),
}

/// Starts the next probe of a server if it is due: its timer has come up.
pub fn start(id: ServerId, at: Time, key: Key, context: &mut Context) -> Option<Next> {
    let Context { fleet, now, timers, .. } = context;
    if !fleet.probe_timer(id)?.fired(at) {
        return None;
    }
    let due = fleet.listed(id)?.next_probe()?;
    if due > *now {
        fleet.probe_timer(id)?.arm(timers, due, Timer::NextProbe(id));
        return None;
    }
    let member = fleet.listed(id)?;
    let (server, check) = (member.server(), member.health().check());
    let mut address = server.address;
    address.set_port(check.port.unwrap_or(address.port()));
    let (kind, started, until) = (check.probe.clone(), *now, *now + check.timeout);
    let is_proven = member.health().is_proven();
    let dialled = net::dial(address, server.from_address(), server.interface.as_deref());
    let dialled = dialled.and_then(|stream| net::refuse_itself(stream, address));
    let dialled = dialled.and_then(|stream| Ok((question(check, &stream, address, started)?, stream)));
    fleet.probe_started(id);
    Some(match dialled {
        Ok((question, stream)) => {
            let answer = Vec::new();
            Probe { id, stream, kind, started, until, is_proven, is_connected: false, question, answer }
                .begin(key, context)
        }
        Err(error) if says_nothing(error, is_proven) => Next::NoVerdict(id, error),
        Err(error) => Next::Done(id, explained(CheckResult::L4Connection, net::words(error))),
    })
}

/// Arms the timers of every server's next probe.
pub fn schedule(context: &mut Context) {
    let Context { fleet, timers, .. } = context;
    fleet.schedule_probes(|id, timer, at| timer.arm(timers, at, Timer::NextProbe(id)));
}

/// The same for the servers of a route.
pub fn schedule_of(id: RouteId, context: &mut Context) {
    let Context { fleet, timers, .. } = context;
    fleet.schedule_probes_of(id, |id, timer, at| timer.arm(timers, at, Timer::NextProbe(id)));
}

impl Probe {
    /// The server that is probed.
    #[must_use]
    pub fn server_id(&self) -> ServerId {
        self.id
    }

    /// Notes what an event reports.
    pub fn note(&mut self, event: &Event) {
        self.stream.note(event);
    }

    /// Does what can be done now.
    pub fn advance(mut self, key: Key, context: &mut Context) -> Next {
        match self.converse() {
            Ok(Some(checked)) => self.done(checked, context.now),
            Ok(None) => match self.stream.watch(&context.registry, Token::Probe(key)) {
                Ok(()) => Next::Wait(self),
                Err(error) => self.give_up(Errno::from_io_error(&error).unwrap_or(Errno::NOMEM)),
            },
            Err(error) if says_nothing(error, self.is_proven) => self.give_up(error),
            Err(error) => {
                let result = self.broken(error);
                self.done(explained(result, net::words(error)), context.now)
            }
        }
    }

    /// Handles its deadline.
    #[must_use]
    pub fn expire(self, now: Time) -> Next {
        let result = match self.kind {
            _ if !self.is_connected => CheckResult::L4Timeout,
            Kind::Tls { .. } => CheckResult::L6Timeout,
            Kind::Http { .. } => CheckResult::L7Timeout,
            Kind::Tcp | Kind::Off => CheckResult::L4Timeout,
        };
        self.done(verdict(result), now)
    }

    fn begin(mut self, key: Key, context: &mut Context) -> Next {
        context.timers.push(self.until, Timer::Probe(key));
        // Nothing is known before the socket is writable, which is how the poll reports a connect.
        self.stream.expect_write();
        self.advance(key, context)
    }

    fn done(self, checked: Checked, now: Time) -> Next {
        let Probe { id, stream, started, .. } = self;
        stream.reset();
        Next::Done(id, Checked { took: now.since(started), ..checked })
    }

    fn give_up(self, error: Errno) -> Next {
        let Probe { id, stream, .. } = self;
        stream.reset();
        Next::NoVerdict(id, error)
    }

    /// The result of a failed connection, by the layer that was waiting. A refused connect and a reset after it can be
    /// told apart only by the errno, as both may have happened before the event was handled.
    fn broken(&self, error: Errno) -> CheckResult {
        let was_connected = self.is_connected || matches!(error, Errno::CONNRESET | Errno::PIPE);
        match self.kind {
            Kind::Tls { .. } if was_connected => CheckResult::L6Response,
            Kind::Http { .. } if was_connected => CheckResult::SocketError,
            _ => CheckResult::L4Connection,
        }
    }

    /// Connects, sends the question and reads the answer; `None` while any of that is unfinished. An error is the
    /// connection's.
    fn converse(&mut self) -> Result<Option<Checked>, Errno> {
        if !self.is_connected {
            self.is_connected = self.stream.is_connected()?;
            if !self.is_connected {
                return Ok(None);
            }
        }
        if !self.question.is_empty() && self.stream.is_writable() {
            let written = self.stream.write(&self.question)?;
            self.question.drain(..written);
        }
        if !self.question.is_empty() {
            return Ok(None);
        }
        match &self.kind {
            Kind::Tcp | Kind::Off => Ok(Some(verdict(CheckResult::L4Ok))),
            Kind::Tls { .. } | Kind::Http { .. } => self.listen(),
        }
    }

    fn listen(&mut self) -> Result<Option<Checked>, Errno> {
        let mut room = [0; 2048];
        while self.stream.is_readable() {
            let has_ended = match self.stream.read(&mut room) {
                Received::Bytes(n) => {
                    self.answer.extend_from_slice(room.get(..n).unwrap_or_default());
                    false
                }
                Received::Blocked => break,
                Received::End => true,
                Received::Failed(error) => return Err(error),
            };
            if let Some(checked) = self.judge(has_ended || self.answer.len() > MAX_ANSWER) {
                return Ok(Some(checked));
            }
        }
        Ok(None)
    }

    /// The verdict of the answer so far. `is_last`: no more bytes will come.
    fn judge(&self, is_last: bool) -> Option<Checked> {
        match &self.kind {
            Kind::Tls { .. } => match server_hello::read(&self.answer) {
                Verdict::ServerHello => Some(verdict(CheckResult::L6Ok)),
                Verdict::Alert(code) => Some(explained(CheckResult::L6Response, format!("TLS alert {code}"))),
                Verdict::NotTls => Some(explained(CheckResult::L6Response, "not TLS".into())),
                Verdict::Incomplete => {
                    is_last.then(|| explained(CheckResult::L6Response, "closed without a ServerHello".into()))
                }
            },
            Kind::Http { expect: [lowest, highest], .. } => match http_status::read(&self.answer) {
                http_status::Verdict::Status(status) if (*lowest..=*highest).contains(&status) => {
                    Some(Checked { status: Some(status), ..verdict(CheckResult::L7Ok) })
                }
                http_status::Verdict::Status(status) => {
                    let checked = explained(CheckResult::L7Status, format!("HTTP status {status}"));
                    Some(Checked { status: Some(status), ..checked })
                }
                http_status::Verdict::NotHttp => Some(explained(CheckResult::L7Response, "not HTTP".into())),
                http_status::Verdict::Incomplete => {
                    is_last.then(|| explained(CheckResult::L7Response, "closed without an HTTP status".into()))
                }
            },
            Kind::Tcp | Kind::Off => None,
        }
    }
}

/// The bytes that a probe sends over `stream`, which connects to `address`.
fn question(check: &HealthCheck, stream: &Stream, address: SocketAddr, now: Time) -> Result<Vec<u8>, Errno> {
    let mut question = Vec::new();
    match check.proxy_header {
        ProxyProtocol::V2 => question.extend_from_slice(&proxy_header::LOCAL),
        ProxyProtocol::V1 => {
            // The kernel has chosen the local address by now, even if the server has not answered yet.
            let own = stream.local_address().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            question.extend_from_slice(proxy_header::v1(&mut [0; proxy_header::MAX_LEN], own, address));
        }
        ProxyProtocol::Off => {}
    }
    match &check.probe {
        Kind::Off | Kind::Tcp => {}
        Kind::Tls { sni } => {
            let mut random = [0x5A; 32];
            if let Some(place) = random.first_chunk_mut() {
                *place = now.as_micros().to_be_bytes();
            }
            let hello = HelloBuilder::new().random(random);
            question.extend_from_slice(&sni.iter().fold(hello, |hello, name| hello.sni(name)).build());
        }
        Kind::Http { path, host, .. } => {
            // Without the zone, which is meaningless to the server (RFC 6874 section 4).
            let own = || SocketAddr::new(address.ip(), address.port()).to_string();
            let host = host.as_deref().map_or_else(own, String::from);
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fiscalismia-lb\r\nConnection: close\r\n\r\n"
            );
            question.extend_from_slice(head.as_bytes());
        }
    }
    Ok(question)
}

fn verdict(result: CheckResult) -> Checked {
    Checked { result, status: None, info: Box::default(), took: Duration::ZERO }
}

fn explained(result: CheckResult, info: String) -> Checked {
    Checked { info: info.into(), ..verdict(result) }
}

/// Whether an error is this host's and not the server's: it is out of fds or memory, or, while no probe has passed yet,
/// its network is not up.
fn says_nothing(error: Errno, is_proven: bool) -> bool {
    net::is_shortage(error) || !is_proven && matches!(error, Errno::NETUNREACH | Errno::ADDRNOTAVAIL)
}
