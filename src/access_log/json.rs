//! One object a line, with full names. What a connection does not have, such as a server before it is routed, is left out.
//!
//! What a client can choose is ASCII in here, with `\xNN` for other bytes: JSON's own escapes leave some control
//! characters alone (RFC 8259 section 7).
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use log::Level;

use super::{Counts, Escaped, Step, Timing, Whose};
use crate::vocabulary::CloseReason;

/// Appends a connection's line, but for its end.
pub(super) fn write(buffer: &mut Vec<u8>, now: &str, accepted: &str, whose: &Whose<'_>, step: &Step<'_>) {
    let mut line = Object::begin(buffer);
    line.text("time", now);
    line.text("event", name(step));
    line.text("frontend", whose.frontend);
    line.shown("client_address", &whose.source.ip());
    line.number("client_port", whose.source.port().into());
    line.text("accepted", accepted);
    line.optional_text("route", whose.route);
    line.optional_text("server", whose.server);
    if let Some(id) = whose.unique_id {
        line.shown("unique_id", &format_args!("{:032x}", u128::from_be_bytes(id)));
    }
    line.step(step);
    line.end();
}

/// Appends the proxy's own words, but for the line's end.
pub(super) fn write_notice(buffer: &mut Vec<u8>, now: &str, level: Level, words: &dyn Display) {
    let mut line = Object::begin(buffer);
    line.text("time", now);
    line.text("level", word(level));
    line.shown("message", words);
    line.end();
}

/// The word for a level.
fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
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

/// Appends an object to the log buffer. By hand: serde's serializer takes four times as long, for it looks for what to escape
/// in every key, and hands each quote and each comma to a writer of its own.
struct Object<'a> {
    buffer: &'a mut Vec<u8>,
    /// What stands before the next key.
    separator: u8,
}

impl Object<'_> {
    fn begin(buffer: &mut Vec<u8>) -> Object<'_> {
        Object { buffer, separator: b'{' }
    }

    fn end(&mut self) {
        self.buffer.push(b'}');
    }

    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Accept(counts) => self.counts(*counts),
            Step::Refuse { sni, why } => {
                if let Some(sni) = sni {
                    self.shown("sni", &Escaped(sni));
                }
                self.shown("reason", why);
            }
            Step::ConnectFailed { why, tries_left } => {
                self.shown("reason", why);
                self.number("retries_left", (*tries_left).into());
            }
            Step::Connect { timing, counts } => {
                self.timing(*timing);
                self.counts(*counts);
            }
            Step::Close { timing, bytes_up, bytes_down, reason, counts } => {
                self.text("close_reason", reason.name());
                self.text("termination_state", reason.letters());
                if let CloseReason::Dropped(reason) = reason {
                    self.text("drop_reason", reason.name());
                }
                self.timing(*timing);
                self.number("bytes_up", *bytes_up);
                self.number("bytes_down", *bytes_down);
                self.counts(*counts);
            }
        }
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

    fn optional_text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.buffer.push(b'"');
        let _ = self.write_str(text);
        self.buffer.push(b'"');
    }

    fn shown(&mut self, key: &str, value: &dyn Display) {
        self.key(key);
        self.buffer.push(b'"');
        let _ = write!(self, "{value}");
        self.buffer.push(b'"');
    }

    /// Begins a member. The keys in here need no escapes.
    fn key(&mut self, key: &str) {
        self.buffer.push(self.separator);
        self.separator = b',';
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(key.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }
}

/// What is written goes between quotes.
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
