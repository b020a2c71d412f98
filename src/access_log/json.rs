//! One JSON object a line, with full names. A member without a value, such as the server before there is one, is left
//! out.
//!
//! A client's bytes are written as ASCII, with `\xNN` for every other byte: JSON's own escapes leave some control
//! characters alone (RFC 8259 section 7).
use std::fmt::{self, Display, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use super::event::{Event, InService, Severity, Transition, Why};
use super::text::{Escaped, Protocols, are_plain, push_ip, push_number};
use super::{Counts, Step, Timing, Whose};
use crate::vocabulary::CloseReason;

/// Appends a connection's line, without its line end.
pub(super) fn write(buffer: &mut Vec<u8>, now: &[u8], accepted: &[u8], whose: &Whose<'_>, step: &Step<'_>) {
    let mut line = Object::begin(buffer, now, Severity::Info);
    line.word("event", name(step));
    line.word("frontend", whose.frontend);
    line.ip("client_address", whose.source.ip());
    line.number("client_port", whose.source.port().into());
    line.word("accepted", accepted);
    line.optional_word("route", whose.route);
    line.optional_word("server", whose.server);
    if let Some(id) = whose.unique_id {
        line.shown("unique_id", &format_args!("{:032x}", u128::from_be_bytes(id)));
    }
    if let Some(sni) = whose.sni {
        line.escaped("sni", sni);
    }
    if !whose.alpn.is_empty() {
        line.protocols(&Protocols(whose.alpn));
    }
    line.step(step);
    line.end();
}

/// Appends a line of the proxy itself, without its line end.
pub(super) fn write_notice(
    buffer: &mut Vec<u8>,
    now: &[u8],
    severity: Severity,
    words: &dyn Display,
    event: Option<&Event<'_>>,
) {
    let mut line = Object::begin(buffer, now, severity);
    if let Some(event) = event {
        line.event(event);
    }
    line.shown("message", words);
    line.end();
}

fn name(step: &Step<'_>) -> &'static str {
    match step {
        Step::Accept(_) => "accept",
        Step::Refuse { .. } => "hello_refused",
        Step::ConnectFailed { .. } => "connect_failed",
        Step::Connect { .. } => "connect",
        Step::Close { .. } => "close",
    }
}

/// Appends an object to the log buffer. Written by hand, as serde's serializer takes four times as long: it scans every
/// key for characters to escape, and writes each quote and comma on its own.
struct Object<'a> {
    buffer: &'a mut Vec<u8>,
}

impl Object<'_> {
    fn begin<'a>(buffer: &'a mut Vec<u8>, now: &[u8], severity: Severity) -> Object<'a> {
        let mut line = Object { buffer };
        line.put("{\"time\":\"").put(now).put("\"").word("level", severity.word());
        line
    }

    fn end(&mut self) {
        self.put("}");
    }

    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Accept(counts) => self.counts(*counts),
            Step::Refuse { why } => self.shown("reason", why),
            Step::ConnectFailed { why, tries_left } => {
                self.shown("reason", why);
                self.number("retries_left", (*tries_left).into());
            }
            Step::Connect { timing, counts } => {
                self.timing(*timing);
                self.counts(*counts);
            }
            Step::Close { timing, bytes_up, bytes_down, reason, counts } => {
                self.word("close_reason", reason.name());
                self.word("termination_state", reason.letters());
                if let CloseReason::Dropped(reason) = reason {
                    self.word("drop_reason", reason.name());
                }
                self.timing(*timing);
                self.number("bytes_up", *bytes_up);
                self.number("bytes_down", *bytes_down);
                self.counts(*counts);
            }
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        self.word("event", event.name());
        match event {
            Event::Server { route, server, is_backup, transition, why, in_service, .. } => {
                self.word("route", route);
                self.word("server", server);
                if *is_backup {
                    self.key("backup").put("true");
                }
                match why {
                    Why::Checked(checked) => {
                        self.word("check_status", checked.result.code());
                        self.shown("reason", &checked.found());
                        self.number("check_ms", checked.took.as_millis() as u64);
                    }
                    Why::Said(words) => self.shown("reason", words),
                }
                self.lasted(*transition);
                let InService { active, backup } = in_service;
                self.number("active_servers", *active as u64);
                self.number("backup_servers", *backup as u64);
            }
            Event::Route { route, transition } => {
                self.word("route", route);
                self.lasted(*transition);
            }
            Event::NotTls { route, server, first } => {
                self.word("route", route);
                self.word("server", server);
                self.number("first_byte", (*first).into());
            }
            Event::Reloaded { file, routes, servers, changes, orphans } => {
                self.shown("file", &file.display());
                self.number("routes", *routes as u64);
                self.number("servers", *servers as u64);
                self.shown("changes", changes);
                self.number("connections_of_gone_servers", *orphans);
            }
        }
    }

    fn lasted(&mut self, transition: Transition) {
        self.number("lasted_ms", transition.lasted.as_millis() as u64);
    }

    fn timing(&mut self, timing: Timing) {
        self.milliseconds("queue_ms", timing.queued);
        self.milliseconds("connect_ms", timing.connect);
        self.milliseconds("total_ms", Some(timing.total));
    }

    fn counts(&mut self, counts: Counts) {
        self.number("process_connections", counts.process);
        self.number("frontend_connections", counts.frontend);
        self.number("route_connections", counts.route);
        self.number("server_connections", counts.server);
        self.number("queued_ahead", counts.ahead);
    }

    fn milliseconds(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.number(key, duration.as_millis() as u64);
        }
    }

    fn optional_word(&mut self, key: &str, word: Option<&str>) {
        if let Some(word) = word {
            self.word(key, word);
        }
    }

    /// A member whose value needs no escapes: a word of the program, a date, or a name of the configuration.
    fn word(&mut self, key: &str, word: impl AsRef<[u8]>) {
        self.key(key).put("\"").put(word).put("\"");
    }

    fn number(&mut self, key: &str, number: u64) {
        push_number(self.key(key).buffer, number);
    }

    fn ip(&mut self, key: &str, ip: IpAddr) {
        push_ip(self.key(key).put("\"").buffer, ip);
        self.put("\"");
    }

    fn protocols(&mut self, protocols: &Protocols<'_>) {
        if !protocols.names().all(|name| are_plain(name) && !name.contains(&b',')) {
            return self.shown("alpn", protocols);
        }
        self.key("alpn").put("\"");
        for (index, name) in protocols.names().enumerate() {
            if index > 0 {
                self.put(",");
            }
            self.put(name);
        }
        self.put("\"");
    }

    /// A member whose value a client has sent.
    fn escaped(&mut self, key: &str, bytes: &[u8]) {
        if !are_plain(bytes) {
            return self.shown(key, &Escaped(bytes));
        }
        self.word(key, bytes);
    }

    fn shown(&mut self, key: &str, value: &dyn Display) {
        self.key(key).put("\"");
        let _ = write!(self, "{value}");
        self.put("\"");
    }

    /// Begins a member behind another. No key here needs escapes.
    fn key(&mut self, key: &str) -> &mut Self {
        self.put(",\"").put(key).put("\":")
    }

    fn put(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.buffer.extend_from_slice(text.as_ref());
        self
    }
}

/// The text goes between quotes.
impl fmt::Write for Object<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => self.buffer.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
                    self.buffer.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xF)]);
                }
                _ => self.buffer.push(byte),
            }
        }
        Ok(())
    }
}
