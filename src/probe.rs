//! Probes: one connection to a server that tells whether it is up.
//!
//! A probe begins with a PROXY v2 LOCAL header where its route speaks that, as HAProxy's do, so that a server which
//! insists on a header takes it. It is closed with RST, which leaves no `TIME_WAIT` behind.
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use rustix::io::Errno;

use crate::config::{HealthCheck, Probe as Kind};
use crate::context::{Context, Timer};
use crate::fleet::ServerId;
use crate::net::{self, Key, Received, Stream, Token};
use crate::policy::health::{CheckResult, Checked};
use crate::policy::time::Time;
use crate::wire::hello_builder::HelloBuilder;
use crate::wire::http_status;
use crate::wire::proxy_header;
use crate::wire::server_hello::{self, Verdict};

mod report;

pub use report::report;

/// Bytes of an answer that are read before a verdict must stand.
const MOST_ANSWER: usize = 8 * 1024;
/// The pause before a socket is asked for again, where there was none to be had.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

/// A running probe.
pub struct Probe {
    id: ServerId,
    stream: Stream,
    kind: Kind,
    started: Time,
    until: Time,
    is_connected: bool,
    /// What is still to be sent.
    question: Vec<u8>,
    answer: Vec<u8>,
}

/// What becomes of a probe after it was worked on.
pub enum Next {
    /// It waits for an event or its deadline.
    Wait(Probe),
    /// It has its verdict.
    Done(ServerId, Checked),
}

/// The timer of a server's next probe has come up: starts it if it is due.
pub fn start(id: ServerId, at: Time, key: Key, context: &mut Context) -> Option<Next> {
    let Context { fleet, now, timers, .. } = context;
    if !fleet.probe_timer(id)?.fired(at) {
        return None;
    }
    let due = fleet.listed(id)?.health().next_probe()?;
    if due > *now {
        fleet.probe_timer(id)?.arm(timers, due, Timer::NextProbe(id));
        return None;
    }
    let member = fleet.listed(id)?;
    let (server, check) = (member.server(), member.health().check());
    let mut address = server.address;
    address.set_port(check.port.unwrap_or(address.port()));
    let question = question(check, address, *now);
    let (kind, until) = (check.probe.clone(), *now + check.timeout);
    let stream = match net::dial(address, server.source, server.interface.as_deref()) {
        // That says nothing about the server.
        Err(error) if net::is_shortage(error) => {
            fleet.probe_timer(id)?.arm(timers, *now + SHORTAGE_PAUSE, Timer::NextProbe(id));
            return None;
        }
        dialled => dialled,
    };
    fleet.probe_started(id);
    let started = *now;
    match stream {
        Ok(stream) => {
            let probe = Probe { id, stream, kind, started, until, is_connected: false, question, answer: Vec::new() };
            Some(probe.begin(key, context))
        }
        Err(error) => Some(Next::Done(id, refused(error))),
    }
}

/// Arms the timers of every server's next probe.
pub fn schedule(context: &mut Context) {
    let Context { fleet, timers, .. } = context;
    fleet.schedule_probes(|id, timer, at| timer.arm(timers, at, Timer::NextProbe(id)));
}

impl Probe {
    /// The server that it asks.
    #[must_use]
    pub fn server_id(&self) -> ServerId {
        self.id
    }

    /// Notes what an event says.
    pub fn note(&mut self, event: &Event) {
        self.stream.note(event);
    }

    /// Goes as far as it can now.
    pub fn advance(mut self, key: Key, context: &mut Context) -> Next {
        match self.step() {
            Some(checked) => self.done(checked, context.now),
            None if self.stream.watch(&context.registry, Token::Probe(key)).is_err() => {
                self.done(refused(Errno::NOMEM), context.now)
            }
            None => Next::Wait(self),
        }
    }

    /// Its time is over.
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
        // Nothing can be said before the socket is: the poll reports a connect as something that can be written.
        self.stream.expect_write();
        self.advance(key, context)
    }

    fn done(self, checked: Checked, now: Time) -> Next {
        let Probe { id, stream, started, .. } = self;
        stream.reset();
        Next::Done(id, Checked { took: now.since(started), ..checked })
    }

    fn step(&mut self) -> Option<Checked> {
        match self.converse() {
            Ok(checked) => checked,
            Err(error) => Some(refused(error)),
        }
    }

    /// Connects, says its piece, and listens; `None` while any of that is not finished. An error is the connection's.
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
            if let Some(checked) = self.judge(has_ended || self.answer.len() > MOST_ANSWER) {
                return Ok(Some(checked));
            }
        }
        Ok(None)
    }

    /// What the answer so far says; `is_last`: there will be no more of it.
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

/// What a probe sends.
fn question(check: &HealthCheck, address: SocketAddr, now: Time) -> Vec<u8> {
    let mut question = Vec::new();
    if check.proxy_header {
        question.extend_from_slice(&proxy_header::LOCAL);
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
            // Without the zone, which is this host's own affair (RFC 6874 section 4).
            let own = || SocketAddr::new(address.ip(), address.port()).to_string();
            let host = host.as_deref().map_or_else(own, String::from);
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fiscalismia-lb\r\nConnection: close\r\n\r\n"
            );
            question.extend_from_slice(head.as_bytes());
        }
    }
    question
}

fn verdict(result: CheckResult) -> Checked {
    Checked { result, status: None, info: Box::default(), took: Duration::ZERO }
}

fn explained(result: CheckResult, info: String) -> Checked {
    Checked { info: info.into(), ..verdict(result) }
}

/// The connection failed, whenever that was: to servers that break off, the words of HAProxy are those of layer 4.
fn refused(error: Errno) -> Checked {
    explained(CheckResult::L4Connection, net::words(error))
}
