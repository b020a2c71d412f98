//! The log: lines of connections, and lines of the proxy itself between them. Nothing here blocks: lines go to a
//! buffer, which [`Output`] writes as its reader allows.
mod calendar;
mod event;
mod haproxy;
mod json;
mod messages;
#[cfg(test)]
mod tests;
mod text;

use std::env;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Registry;

use crate::config::{Log, LogConnections, LogFormat};
pub use crate::net::Output;
use crate::policy::time::{Time, UnixTime};
use crate::vocabulary::CloseReason;
use calendar::Calendar;
use event::Severity;
pub use event::{Event, InService, Transition, Why};
use messages::Said;
pub use messages::{Backend, Messages};

/// Waiting bytes from which lines are written at once.
const BATCH: usize = 16 * 1024;
/// The longest time that a line waits to be written with others.
const MAX_DELAY: Duration = Duration::from_millis(50);

/// The longest time that the ending process waits for the log's reader.
const MAX_LAST_WAIT: Duration = Duration::from_secs(1);

/// The log.
pub struct AccessLog {
    output: Output,
    config: Log,
    in_colour: bool,
    /// Lines go to the journal and get a priority prefix (`sd-daemon(3)`).
    in_journal: bool,
    epoch: UnixTime,
    /// Formats times of accept.
    accepted: Calendar,
    /// Formats the current time.
    clock: Calendar,
    /// When the oldest waiting line was added.
    oldest: Option<Time>,
    /// Lost lines that the log has reported.
    told_lost: u64,
    /// Whether lost lines can be reported: the reader takes lines again after a stall, or a turn had too many messages.
    may_tell_lost: bool,
    /// Messages of the program through the log crate.
    messages: Messages,
}

/// What every line of a connection begins with.
#[derive(Clone, Copy)]
pub struct Whose<'a> {
    /// Its frontend's name.
    pub frontend: &'a str,
    /// The client's address.
    pub source: SocketAddr,
    /// When it was accepted.
    pub accepted: Time,
    /// Its route, once it has one.
    pub route: Option<&'a str>,
    /// Its server, once it has one.
    pub server: Option<&'a str>,
    /// Its id, if its route writes one into the PROXY header.
    pub unique_id: Option<[u8; 16]>,
    /// The SNI of its hello.
    pub sni: Option<&'a [u8]>,
    /// The protocols of its hello, each with its length in front (RFC 7301 section 3.1). The last may be cut off.
    pub alpn: &'a [u8],
}

/// The step of a connection that a line reports.
pub enum Step<'a> {
    /// A client was accepted.
    Accept(Counts),
    /// A hello that no route takes.
    Refuse {
        /// Why no route takes it.
        why: &'a dyn fmt::Display,
    },
    /// An attempt to connect failed.
    ConnectFailed {
        /// The error.
        why: &'a dyn fmt::Display,
        /// Attempts that are left.
        tries_left: u32,
    },
    /// The connection to a server is established.
    Connect {
        /// How long each step took.
        timing: Timing,
        /// Connections at once.
        counts: Counts,
    },
    /// A connection ended.
    Close {
        /// How long each step took.
        timing: Timing,
        /// Bytes from the client.
        bytes_up: u64,
        /// Bytes to the client.
        bytes_down: u64,
        /// Why it ended.
        reason: CloseReason,
        /// Connections at once.
        counts: Counts,
    },
}

/// How long each step took; `None` for a step that was not reached.
#[derive(Clone, Copy, Default)]
pub struct Timing {
    /// Time in the queue for a server.
    pub queued: Option<Duration>,
    /// Time from the first attempt to connect until one succeeded.
    pub connect: Option<Duration>,
    /// Time since accept.
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
    /// A log on `output`: with colours on a terminal whose user has not declined them (<https://no-color.org>), with
    /// priorities in the journal.
    #[must_use]
    pub fn new(output: Output, config: Log) -> AccessLog {
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        AccessLog {
            in_colour: output.is_terminal() && !no_colour && !dumb,
            in_journal: env::var_os("JOURNAL_STREAM").is_some_and(|stream| output.is_stream(&stream)),
            output,
            config,
            epoch: UnixTime::default(),
            accepted: Calendar::new(config.format, UnixTime::default()),
            clock: Calendar::new(config.format, UnixTime::default()),
            oldest: None,
            told_lost: 0,
            may_tell_lost: false,
            messages: Messages::default(),
        }
    }

    /// Changes the format of lines, and which lines a connection gets.
    pub fn change(&mut self, config: Log) {
        self.config = config;
        self.accepted = Calendar::new(config.format, self.epoch);
        self.clock = Calendar::new(config.format, self.epoch);
    }

    /// Sets the wall-clock time of [`Time::ZERO`].
    pub fn set_epoch(&mut self, epoch: UnixTime) {
        self.epoch = epoch;
        self.accepted.set_epoch(epoch);
        self.clock.set_epoch(epoch);
    }

    /// Writes the line of a connection that has reached `step`.
    pub fn write(&mut self, now: Time, whose: &Whose<'_>, step: &Step<'_>) {
        let is_wanted = match self.config.connections {
            LogConnections::All => true,
            LogConnections::Close => matches!(step, Step::Close { .. }),
            LogConnections::Off => false,
        };
        // Messages from before a line must stand before it.
        self.write_messages(now);
        if !is_wanted {
            return;
        }
        let accepted = self.accepted.date(whose.accepted);
        let Some(buffer) = self.output.line() else { return };
        if self.in_journal {
            buffer.extend_from_slice(Severity::Info.prefix());
        }
        match self.config.format {
            LogFormat::Haproxy => haproxy::write(buffer, accepted, whose, step, self.in_colour),
            LogFormat::Json => json::write(buffer, self.clock.date(now), accepted, whose, step),
        }
        buffer.push(b'\n');
        self.oldest.get_or_insert(now);
    }

    /// The same log, which also writes `messages`.
    #[must_use]
    pub fn with(self, messages: Messages) -> AccessLog {
        AccessLog { messages, ..self }
    }

    /// Writes the waiting messages.
    fn write_messages(&mut self, now: Time) {
        let Some(Said { messages, lost }) = self.messages.take() else { return };
        for (severity, words) in messages {
            self.say(now, severity, &words, None);
        }
        if lost > 0 {
            self.output.add_lost(lost);
            self.may_tell_lost = true;
        }
    }

    /// Writes the line of an event.
    pub fn tell(&mut self, now: Time, event: &Event<'_>) {
        self.write_messages(now);
        self.say(now, event.severity(), event, Some(event));
    }

    fn say(&mut self, now: Time, severity: Severity, words: &dyn fmt::Display, event: Option<&Event<'_>>) {
        let date = self.clock.date(now);
        let Some(buffer) = self.output.rare_line() else { return };
        if self.in_journal {
            buffer.extend_from_slice(severity.prefix());
        }
        match self.config.format {
            LogFormat::Haproxy => {
                let colour = haproxy::colour_of(severity, event).filter(|_| self.in_colour);
                haproxy::write_notice(buffer, date, words, colour);
            }
            LogFormat::Json => json::write_notice(buffer, date, severity, words, event),
        }
        buffer.push(b'\n');
        self.oldest.get_or_insert(now);
    }

    /// When the waiting lines must be written.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.output.is_stalled() { None } else { self.oldest.map(|oldest| oldest + MAX_DELAY) }
    }

    /// Writes the waiting lines if they are many, or the oldest has waited long enough.
    pub fn tend(&mut self, now: Time, registry: &Registry) {
        self.tell_lost(now);
        self.write_messages(now);
        if self.output.waiting() >= BATCH || self.deadline().is_some_and(|deadline| deadline <= now) {
            self.flush(now, registry);
            if self.output.waiting() > 0 {
                self.oldest = Some(now);
            }
        }
    }

    /// Keeps every further line, however many wait: the process ends, and these are the last lines of all connections.
    pub fn keep_all(&mut self) {
        self.output.keep_all();
    }

    /// Writes the last lines, for which it waits a moment, and says how many were lost.
    pub fn finish(&mut self, now: Time) {
        self.write_messages(now);
        self.output.finish(MAX_LAST_WAIT);
        self.may_tell_lost = true;
        self.tell_lost(now);
        self.output.finish(Duration::ZERO);
    }

    /// Reports the number of lost lines, once the reader takes lines and the kept ones are written.
    fn tell_lost(&mut self, now: Time) {
        if self.may_tell_lost && self.output.waiting() == 0 {
            self.may_tell_lost = false;
            let lost = self.output.lost() - self.told_lost;
            self.told_lost += lost;
            if lost > 0 {
                let words = format_args!(
                    "{lost} log lines were lost: standard output was not read in time, or one turn had too many messages."
                );
                self.say(now, Severity::Warning, &words, None);
            }
        }
    }

    /// Writes the waiting lines, as far as the reader takes them.
    pub fn flush(&mut self, now: Time, registry: &Registry) {
        self.write_messages(now);
        self.output.flush(registry);
        if self.output.waiting() == 0 {
            self.oldest = None;
        }
    }

    /// Notes that the reader takes lines again.
    pub fn note_writable(&mut self) {
        self.output.note_writable();
        self.may_tell_lost = true;
    }

    /// Adds the lines that the previous process lost.
    pub fn take_up(&mut self, lost: u64) {
        self.output.add_lost(lost);
    }

    /// Lines that were lost because the reader stalled, or because a turn had too many messages.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.output.lost()
    }
}
