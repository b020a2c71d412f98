//! The lines of connections, in HAProxy's grammar, and the proxy's own words between them. Nothing here waits: lines go
//! to a buffer that [`Output`] empties as the reader allows.
use std::fmt::{self, Write as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use mio::Registry;

use crate::config::LogConnections;
use crate::net::Output;
use crate::policy::reason::{CloseReason, DropReason};
use crate::policy::time::Time;

/// Name of the TLS frontend in log and metrics.
pub const FRONTEND: &str = "https_ingress";
/// What stands for the server where there is none.
const NO_SERVER: &str = "<NOSRV>";
/// Bytes that wait until many lines are written at once.
const BATCH: usize = 16 * 1024;
/// The longest that a line waits for company.
const PATIENCE: Duration = Duration::from_millis(50);

/// The log.
pub struct AccessLog {
    output: Output,
    connections: LogConnections,
    calendar: Calendar,
    /// When the first of the waiting lines was written.
    oldest: Option<Time>,
    /// Lost lines that the log has told of.
    told_lost: u64,
    /// The reader had stalled, and takes lines again.
    resumed: bool,
}

/// What all lines of a connection begin with.
#[derive(Clone, Copy)]
pub struct Whose<'a> {
    /// The client.
    pub source: SocketAddr,
    /// When it was accepted.
    pub accepted: Time,
    /// Its route, once it has one.
    pub route: Option<&'a str>,
    /// Its server, once it has one.
    pub server: Option<&'a str>,
    /// Its id, where its route writes one into the PROXY header.
    pub unique_id: Option<[u8; 16]>,
}

/// How long each step took; `None`: never got there.
#[derive(Clone, Copy, Default)]
pub struct Timing {
    /// In the queue for a server.
    pub queued: Option<Duration>,
    /// From the first try to connect to success.
    pub connect: Option<Duration>,
    /// Since accept.
    pub total: Duration,
}

/// Connections at once, this one included.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Of the process.
    pub process: u64,
    /// Of the frontend.
    pub frontend: u64,
    /// Of the route.
    pub route: u64,
    /// Of the server.
    pub server: u64,
    /// Connections of the route that were queued ahead of this one.
    pub ahead: u64,
}

impl AccessLog {
    /// A log on standard output.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn stdout(connections: LogConnections) -> io::Result<AccessLog> {
        Ok(AccessLog {
            output: Output::stdout()?,
            connections,
            calendar: Calendar::default(),
            oldest: None,
            told_lost: 0,
            resumed: false,
        })
    }

    /// Changes which lines a connection gets.
    pub fn select(&mut self, connections: LogConnections) {
        self.connections = connections;
    }

    /// Says how wall-clock time and `Time` relate: microseconds from the Unix epoch to [`Time::ZERO`].
    pub fn set_epoch(&mut self, epoch_micros: u64) {
        self.calendar.epoch_micros = epoch_micros;
    }

    /// A client came in.
    pub fn accept(&mut self, now: Time, whose: &Whose<'_>, counts: Counts) {
        if self.connections != LogConnections::All {
            return;
        }
        let Some(mut line) = self.begin(now, whose) else { return };
        line.text(" ACCEPT ac=").number(counts.process).text(" fc=").number(counts.frontend).end();
    }

    /// A hello that gets no route: what it asked for, and why not.
    pub fn refuse(&mut self, now: Time, whose: &Whose<'_>, sni: Option<&[u8]>, why: &dyn fmt::Display) {
        if self.connections != LogConnections::All {
            return;
        }
        let Some(mut line) = self.begin(now, whose) else { return };
        line.text(" TCP-REQ-CONT => sni=")
            .escaped(sni.unwrap_or(b"-"))
            .text(" reason=\"")
            .display(why)
            .text("\"")
            .end();
    }

    /// A try to connect failed.
    pub fn connect_failed(&mut self, now: Time, whose: &Whose<'_>, why: &dyn fmt::Display, tries_left: u32) {
        if self.connections != LogConnections::All {
            return;
        }
        let Some(mut line) = self.begin(now, whose) else { return };
        line.place(whose).text(" ERROR connect=\"").display(why).text("\" retries_left=").number(tries_left.into());
        line.unique_id(whose).end();
    }

    /// A server is connected to.
    pub fn connect(&mut self, now: Time, whose: &Whose<'_>, timing: Timing, counts: Counts) {
        if self.connections != LogConnections::All {
            return;
        }
        let Some(mut line) = self.begin(now, whose) else { return };
        line.place(whose).text(" CONNECT").figures(timing, 0, "--", counts).unique_id(whose).end();
    }

    /// A connection ended.
    pub fn close(
        &mut self,
        now: Time,
        whose: &Whose<'_>,
        timing: Timing,
        bytes_down: u64,
        reason: CloseReason,
        counts: Counts,
    ) {
        if self.connections == LogConnections::Off {
            return;
        }
        let Some(mut line) = self.begin(now, whose) else { return };
        let drop = if let CloseReason::Dropped(reason) = reason { DropReason::in_log(reason) } else { "-" };
        line.place(whose).text(" CLOSE drop=").text(drop);
        line.figures(timing, bytes_down, reason.letters(), counts).unique_id(whose).end();
    }

    /// Something that whoever runs the proxy should know.
    pub fn notice(&mut self, now: Time, words: fmt::Arguments<'_>) {
        self.oldest.get_or_insert(now);
        let date = self.calendar.date(now);
        let Some(buffer) = self.output.line() else { return };
        let mut line = Line { buffer };
        line.text("[").bytes(date).text("] ").display(&words).end();
    }

    /// When the waiting lines are to be written at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.output.is_stalled() { None } else { self.oldest.map(|oldest| oldest + PATIENCE) }
    }

    /// Writes the waiting lines if there are many, or the oldest has waited long enough.
    pub fn tend(&mut self, now: Time, registry: &Registry) {
        self.tell_lost(now);
        if self.output.waiting() >= BATCH || self.deadline().is_some_and(|deadline| deadline <= now) {
            self.flush(registry);
        }
    }

    /// Says how many lines a stall has cost, once it is over and what was kept is written.
    fn tell_lost(&mut self, now: Time) {
        if self.resumed && self.output.waiting() == 0 {
            self.resumed = false;
            let lost = self.output.lost() - self.told_lost;
            self.told_lost += lost;
            if lost > 0 {
                self.notice(now, format_args!("{lost} log lines are lost: nobody read them in time."));
            }
        }
    }

    /// Writes the waiting lines, as far as the reader takes them.
    pub fn flush(&mut self, registry: &Registry) {
        self.output.flush(registry);
        if self.output.waiting() == 0 {
            self.oldest = None;
        }
    }

    /// Notes that the reader takes lines again.
    pub fn note_writable(&mut self) {
        self.output.note_writable();
        self.resumed = true;
    }

    /// Lines lost to a reader that stalled.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.output.lost()
    }

    fn begin(&mut self, now: Time, whose: &Whose<'_>) -> Option<Line<'_>> {
        self.oldest.get_or_insert(now);
        let date = self.calendar.date(whose.accepted);
        let mut line = Line { buffer: self.output.line()? };
        line.address(whose.source).text(" [").bytes(date).text("] ").text(FRONTEND);
        Some(line)
    }
}

/// Appends to the log buffer what HAProxy's grammar wants. No method allocates once the buffer has grown.
struct Line<'a> {
    buffer: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
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

    /// As HAProxy writes it: an IPv6 address has no brackets, the port is behind the last colon.
    fn address(&mut self, address: SocketAddr) -> &mut Self {
        match address.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets().map(u64::from);
                self.number(a).text(".").number(b).text(".").number(c).text(".").number(d);
            }
            IpAddr::V6(ip) => _ = self.display(&ip),
        }
        self.text(":").number(address.port().into())
    }

    fn place(&mut self, whose: &Whose<'_>) -> &mut Self {
        self.text(" ").text(whose.route.unwrap_or(FRONTEND)).text("/").text(whose.server.unwrap_or(NO_SERVER))
    }

    fn figures(&mut self, timing: Timing, bytes_down: u64, letters: &str, counts: Counts) -> &mut Self {
        self.text(" Tw=").milliseconds(timing.queued);
        self.text(" Tc=").milliseconds(timing.connect);
        self.text(" Tt=").milliseconds(Some(timing.total));
        self.text(" B=").number(bytes_down).text(" ts=").text(letters);
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

    /// Bytes of a client in quotes: what is not printable ASCII becomes `\xNN`, so that no client writes lines of its own.
    fn escaped(&mut self, bytes: &[u8]) -> &mut Self {
        self.text("\"");
        for byte in bytes {
            match byte {
                b'"' | b'\\' => _ = self.bytes(&[b'\\', *byte]),
                0x20..=0x7E => _ = self.bytes(&[*byte]),
                _ => _ = write!(self, "\\x{byte:02x}"),
            }
        }
        self.text("\"")
    }

    fn end(&mut self) {
        self.text("\n");
    }
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Dates in UTC, each second written once.
#[derive(Default)]
struct Calendar {
    epoch_micros: u64,
    second: u64,
    /// `dd/Mon/yyyy:HH:MM:SS.mmm`
    text: Vec<u8>,
}

impl Calendar {
    fn date(&mut self, time: Time) -> &[u8] {
        let micros = self.epoch_micros + time.as_micros();
        let second = micros / 1_000_000;
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(second)).to_string();
            let mut parts = text.split(['-', 'T', 'Z']);
            let (year, month, day) = (parts.next(), parts.next(), parts.next());
            let month = month.and_then(|month| MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?));
            for part in [day, Some("/"), month.copied(), Some("/"), year, Some(":"), parts.next(), Some(".000")] {
                self.text.extend_from_slice(part.unwrap_or_default().as_bytes());
            }
        }
        let millis = micros / 1000 % 1000;
        let digits = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8);
        if let Some(place) = self.text.last_chunk_mut() {
            *place = digits;
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, lines carry a wrong date around leap days and year ends.
    #[test]
    fn dates_are_those_of_the_calendar() {
        let mut calendar = Calendar::default();
        for (second, text) in [
            (0, "01/Jan/1970:00:00:00.000"),
            (951_782_399, "28/Feb/2000:23:59:59.000"),
            (951_782_400, "29/Feb/2000:00:00:00.000"),
            (1_709_251_199, "29/Feb/2024:23:59:59.000"),
            (1_767_225_599, "31/Dec/2025:23:59:59.000"),
            (4_107_542_400, "01/Mar/2100:00:00:00.000"),
        ] {
            calendar.epoch_micros = second * 1_000_000;
            assert_eq!(calendar.date(Time::ZERO), text.as_bytes());
        }
        calendar.epoch_micros += 7_000;
        assert!(calendar.date(Time::from_micros(35_999)).ends_with(b".042"));
    }

    /// Without this, a client can write log lines, or move the terminal's cursor.
    #[test]
    fn what_a_client_sent_is_escaped() {
        let mut buffer = Vec::new();
        Line { buffer: &mut buffer }.escaped(b"a\"b\\c\n\x1b[2J\xff").end();
        assert_eq!(buffer, b"\"a\\\"b\\\\c\\x0a\\x1b[2J\\xff\"\n");
    }
}
