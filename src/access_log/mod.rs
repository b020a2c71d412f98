//! The lines of connections, and the proxy's own words between them. Nothing here waits: lines go to a buffer that
//! [`Output`] empties as the reader allows.
mod calendar;
mod event;
mod haproxy;
mod json;
mod messages;
#[cfg(test)]
mod tests;

use std::env;
use std::fmt::{self, Write as _};
use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Registry;

use crate::config::{Log, LogConnections, LogFormat};
pub use crate::net::Output;
use crate::policy::time::{Time, UnixTime};
use crate::vocabulary::CloseReason;
use calendar::Calendar;
use event::Severity;
pub use event::{Event, Turn, Why};
use messages::Said;
pub use messages::{Backend, Messages};

/// Bytes that wait until many lines are written at once.
const BATCH: usize = 16 * 1024;
/// The longest that a line waits for company.
const PATIENCE: Duration = Duration::from_millis(50);

/// The longest that the process waits for the log's reader before it ends.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The log.
pub struct AccessLog {
    output: Output,
    config: Log,
    in_colour: bool,
    /// Lines go to the journal, which takes how grave each is from its front (`sd-daemon(3)`).
    in_journal: bool,
    epoch: UnixTime,
    /// Writes when connections were accepted.
    accepted: Calendar,
    /// Writes what the time is.
    clock: Calendar,
    /// When the first of the waiting lines was written.
    oldest: Option<Time>,
    /// Lost lines that the log has told of.
    told_lost: u64,
    /// The reader had stalled and takes lines again, or more was said in a turn than may wait.
    may_tell_lost: bool,
    /// What the program says through the log crate.
    messages: Messages,
}

/// What all lines of a connection begin with.
#[derive(Clone, Copy)]
pub struct Whose<'a> {
    /// Name of its frontend.
    pub frontend: &'a str,
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
    /// The name that its hello asks for.
    pub sni: Option<&'a [u8]>,
    /// The protocols that its hello offers, each behind its length in a byte (RFC 7301 section 3.1); the last may be cut.
    pub alpn: &'a [u8],
}

/// What a line of a connection is about.
pub enum Step<'a> {
    /// A client came in.
    Accept(Counts),
    /// A hello that gets no route.
    Refuse {
        /// Why it gets none.
        why: &'a dyn fmt::Display,
    },
    /// A try to connect failed.
    ConnectFailed {
        /// What went wrong.
        why: &'a dyn fmt::Display,
        /// How many more there may be.
        tries_left: u32,
    },
    /// A server is connected to.
    Connect {
        /// How long that took.
        timing: Timing,
        /// Connections at once.
        counts: Counts,
    },
    /// A connection ended.
    Close {
        /// How long it took.
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
    /// A log on `output`, in colours where that is a terminal whose user does not mind (<https://no-color.org>), and with
    /// priorities where it is the journal.
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

    /// Changes the form of lines, and which of them a connection gets.
    pub fn change(&mut self, config: Log) {
        self.config = config;
        self.accepted = Calendar::new(config.format, self.epoch);
        self.clock = Calendar::new(config.format, self.epoch);
    }

    /// Says how wall-clock time and `Time` relate: when [`Time::ZERO`] was.
    pub fn set_epoch(&mut self, epoch: UnixTime) {
        self.epoch = epoch;
        self.accepted.set_epoch(epoch);
        self.clock.set_epoch(epoch);
    }

    /// A connection has come to this step.
    pub fn write(&mut self, now: Time, whose: &Whose<'_>, step: &Step<'_>) {
        let is_wanted = match self.config.connections {
            LogConnections::All => true,
            LogConnections::Close => matches!(step, Step::Close { .. }),
            LogConnections::Off => false,
        };
        // What was said before a line stands before it.
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

    /// The same with what is said through `messages`.
    #[must_use]
    pub fn with(self, messages: Messages) -> AccessLog {
        AccessLog { messages, ..self }
    }

    /// Writes the messages that wait.
    fn write_messages(&mut self, now: Time) {
        let Said { messages, lost } = self.messages.take();
        for (severity, words) in messages {
            self.say(now, severity, &words, None);
        }
        if lost > 0 {
            self.output.add_lost(lost);
            self.may_tell_lost = true;
        }
    }

    /// Something has become of a server, a route or the configuration.
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

    /// When the waiting lines are to be written at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.output.is_stalled() { None } else { self.oldest.map(|oldest| oldest + PATIENCE) }
    }

    /// Writes the waiting lines if there are many, or the oldest has waited long enough.
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

    /// Loses no more lines: those that come now are the last ones, of all connections at once.
    pub fn keep_all(&mut self) {
        self.output.keep_all();
    }

    /// Writes the last lines, for whose reader it waits a moment, and says how many are lost.
    pub fn finish(&mut self, now: Time) {
        self.write_messages(now);
        self.output.finish(LAST_PATIENCE);
        self.may_tell_lost = true;
        self.tell_lost(now);
        self.output.finish(Duration::ZERO);
    }

    /// Says how many lines are lost, once the reader takes lines and what was kept is written.
    fn tell_lost(&mut self, now: Time) {
        if self.may_tell_lost && self.output.waiting() == 0 {
            self.may_tell_lost = false;
            let lost = self.output.lost() - self.told_lost;
            self.told_lost += lost;
            if lost > 0 {
                let words = format_args!(
                    "{lost} log lines are lost: standard output was not read in time, or too much was said at once."
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

    /// Counts lines that another process has lost.
    pub fn take_up(&mut self, lost: u64) {
        self.output.add_lost(lost);
    }

    /// Lines lost to a reader that stalled, or because too much was said at once.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.output.lost()
    }
}

/// Whether a byte stands for itself between quotes. A space does not: a client could write fields of its own into a line whose
/// reader splits it at spaces.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'"' | b'\\')
}

/// Whether all bytes do. Every byte is looked at, which a processor does many at a time.
fn are_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |so_far, byte| so_far & is_plain(*byte))
}

/// The protocols of a list, with commas between them; a comma that a client sent is escaped.
struct Protocols<'a>(&'a [u8]);

impl Protocols<'_> {
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0;
        iter::from_fn(move || {
            let (len, after) = rest.split_first()?;
            let (name, more) = after.split_at(usize::from(*len).min(after.len()));
            rest = more;
            Some(name)
        })
    }
}

impl fmt::Display for Protocols<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for name in self.names() {
            f.write_str(separator)?;
            separator = ",";
            name.split_inclusive(|byte| *byte == b',').try_for_each(|part| match part.strip_suffix(b",") {
                Some(part) => write!(f, "{}\\x2c", Escaped(part)),
                None => write!(f, "{}", Escaped(part)),
            })?;
        }
        Ok(())
    }
}

/// Bytes of a client: what is not printable ASCII becomes `\xNN`, so that no client writes lines of its own.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(*byte)),
            byte if is_plain(*byte) => f.write_char(char::from(*byte)),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}
