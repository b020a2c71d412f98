//! HAProxy's grammar of log lines, on which scripts rely.
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use super::event::{Event, Severity, Transition};
use super::text::{Escaped, are_plain, push_ip, push_number};
use super::{Counts, Step, Timing, Whose};
use crate::vocabulary::{CloseReason, DropReason};

/// The server's name while there is none.
const NO_SERVER: &str = "<NOSRV>";

/// Appends a connection's line, without its line end.
pub(super) fn write(buffer: &mut Vec<u8>, accepted: &[u8], whose: &Whose<'_>, step: &Step<'_>, in_colour: bool) {
    let mut line = Line { buffer, in_colour };
    line.address(whose.source).text(" [").text(accepted).text("] ").text(whose.frontend);
    match step {
        Step::Accept(counts) => {
            line.text(" ACCEPT ac=").number(counts.process).text(" fc=").number(counts.frontend);
        }
        Step::Refuse { why } => {
            line.text(" ").coloured("TCP-REQ-CONT", || Colour::Yellow).text(" =>").sni(whose);
            line.display(&format_args!(" reason=\"{why}\""));
        }
        Step::ConnectFailed { why, tries_left } => {
            line.place(whose).text(" ").coloured("ERROR", || Colour::Red);
            line.display(&format_args!(" connect=\"{why}\" retries_left={tries_left}"));
            line.unique_id(whose);
        }
        Step::Connect { timing, counts } => {
            line.place(whose).text(" CONNECT").figures(*timing, 0, CloseReason::Done, *counts);
            line.unique_id(whose).sni(whose);
        }
        Step::Close { timing, bytes_down, reason, counts, .. } => {
            line.place(whose).text(" CLOSE drop=").drop(*reason);
            line.figures(*timing, *bytes_down, *reason, *counts).unique_id(whose).sni(whose);
            if !matches!(reason, CloseReason::Done | CloseReason::Answered) {
                line.text(" reason=").text(reason.name());
            }
        }
    }
}

/// Appends a line of the proxy itself, without its line end.
pub(super) fn write_notice(buffer: &mut Vec<u8>, now: &[u8], words: &dyn fmt::Display, colour: Option<Colour>) {
    let mut line = Line { buffer, in_colour: true };
    line.text("[").text(now).text("] ");
    if let Some(colour) = colour {
        line.text(colour.code());
    }
    let _ = write!(OneLine(&mut line), "{words}");
    if colour.is_some() {
        line.text(RESET);
    }
}

/// The colour of a line of the proxy itself.
pub(super) fn colour_of(severity: Severity, event: Option<&Event<'_>>) -> Option<Colour> {
    match (event.and_then(Event::transition), severity) {
        (Some(Transition { is_up: true, .. }), _) => Some(Colour::Green),
        (Some(_), _) | (_, Severity::Critical | Severity::Error) => Some(Colour::Red),
        (_, Severity::Warning) => Some(Colour::Yellow),
        (_, Severity::Info | Severity::Debug) => None,
    }
}

/// Appends to the log buffer. No method allocates once the buffer has grown.
struct Line<'a> {
    buffer: &'a mut Vec<u8>,
    in_colour: bool,
}

/// ECMA-48 section 8.3.117, select graphic rendition.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Red,
    Green,
    Yellow,
}

const RESET: &str = "\x1b[0m";

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Colour::Red => "\x1b[31m",
            Colour::Green => "\x1b[32m",
            Colour::Yellow => "\x1b[33m",
        }
    }
}

/// Replaces control characters: text of a server or of a file must not end a line or move a cursor.
struct OneLine<'a, 'b>(&'a mut Line<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.char_indices().next_back() {
                Some((end, last)) if last.is_control() => {
                    self.0
                        .text(part.get(..end).unwrap_or_default())
                        .display(&format_args!("\\x{:02x}", u32::from(last)));
                }
                _ => _ = self.0.text(part),
            }
        }
        Ok(())
    }
}

impl Line<'_> {
    fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.buffer.extend_from_slice(text.as_ref());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        push_number(self.buffer, number);
        self
    }

    fn display(&mut self, value: &dyn fmt::Display) -> &mut Self {
        let _ = write!(self, "{value}");
        self
    }

    fn milliseconds(&mut self, duration: Option<Duration>) -> &mut Self {
        match duration {
            Some(duration) => self.number(duration.as_millis() as u64),
            None => self.text("-1"),
        }
    }

    /// As HAProxy writes it: an IPv6 address has no brackets, and the port follows the last colon.
    fn address(&mut self, address: SocketAddr) -> &mut Self {
        push_ip(self.buffer, address.ip());
        self.text(":").number(address.port().into())
    }

    fn place(&mut self, whose: &Whose<'_>) -> &mut Self {
        self.text(" ").text(whose.route.unwrap_or(whose.frontend)).text("/").text(whose.server.unwrap_or(NO_SERVER))
    }

    fn drop(&mut self, reason: CloseReason) -> &mut Self {
        match reason {
            CloseReason::Dropped(reason) => self.coloured(DropReason::in_log(reason), || Colour::Yellow),
            _ => self.text("-"),
        }
    }

    fn figures(&mut self, timing: Timing, bytes_down: u64, reason: CloseReason, counts: Counts) -> &mut Self {
        self.text(" Tw=").milliseconds(timing.queued);
        self.text(" Tc=").milliseconds(timing.connect);
        self.text(" Tt=").milliseconds(Some(timing.total));
        self.text(" B=").number(bytes_down).text(" ts=").coloured(reason.letters(), || colour(reason));
        self.text(" ac=").number(counts.process).text(" fc=").number(counts.frontend);
        self.text(" bc=").number(counts.route).text(" sc=").number(counts.server);
        self.text(" sq=0 bq=").number(counts.ahead)
    }

    fn unique_id(&mut self, whose: &Whose<'_>) -> &mut Self {
        if let Some(id) = whose.unique_id {
            let _ = write!(self, " id={:032x}", u128::from_be_bytes(id));
        }
        self
    }

    fn sni(&mut self, whose: &Whose<'_>) -> &mut Self {
        let sni = whose.sni.unwrap_or(b"-");
        self.text(" sni=\"");
        if are_plain(sni) {
            self.text(sni);
        } else {
            self.display(&Escaped(sni));
        }
        self.text("\"")
    }

    /// Text in a colour, which is looked up only where colours are shown.
    fn coloured(&mut self, text: &str, colour: impl FnOnce() -> Colour) -> &mut Self {
        if !self.in_colour {
            return self.text(text);
        }
        self.text(colour().code()).text(text).text(RESET)
    }
}

/// Green for an orderly end, yellow if the client caused it, red if a server or the proxy did.
fn colour(reason: CloseReason) -> Colour {
    match reason.letters().as_bytes() {
        [b'-' | b'L', _] => Colour::Green,
        [b'C' | b'c' | b'P', b'C' | b'D' | b'R'] if reason != CloseReason::ServersFull => Colour::Yellow,
        _ => Colour::Red,
    }
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}
