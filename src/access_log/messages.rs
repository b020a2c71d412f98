//! The backend of the log crate: messages of the program, beside the lines of connections.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use log::{Log, Metadata, Record};

use super::event::Severity;

/// The most messages that wait for the end of a turn.
const MAX_WAITING: usize = 4096;
/// The target of this program's messages. Those of other crates are for developers, and are not logged.
const OWN: &str = "fiscalismia_lb";

/// The queue of messages on their way to the log. A clone is another handle on the same queue.
#[derive(Clone, Debug, Default)]
pub struct Messages(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Whether a message waits. A connection's line looks here first, and so takes no lock.
    any: AtomicBool,
    said: Mutex<Said>,
}

/// The messages since the last call of `take`.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The severity and text of each.
    pub(super) messages: VecDeque<(Severity, String)>,
    /// The number of messages that were lost because too many waited.
    pub(super) lost: u64,
}

/// Passes messages to a logger at first, and after [`Backend::turn_to`] to the loop's log, which never blocks on its
/// reader.
pub struct Backend {
    before: Box<dyn Log>,
    after: OnceLock<Messages>,
}

impl Messages {
    /// Takes the waiting messages, if there are any.
    pub(super) fn take(&self) -> Option<Said> {
        if !self.0.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.any.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut *said))
    }
}

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OWN)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.messages.len() < MAX_WAITING {
            said.messages.push_back((record.level().into(), record.args().to_string()));
        } else {
            said.lost += 1;
        }
        self.0.any.store(true, Ordering::Relaxed);
    }

    fn flush(&self) {}
}

impl Backend {
    /// Passes messages to `before`.
    #[must_use]
    pub fn new(before: Box<dyn Log>) -> Backend {
        Backend { before, after: OnceLock::new() }
    }

    /// Passes messages to `messages` from now on.
    pub fn turn_to(&self, messages: &Messages) {
        let _ = self.after.set(messages.clone());
    }

    fn logger(&self) -> &dyn Log {
        match self.after.get() {
            Some(messages) => messages,
            None => &*self.before,
        }
    }
}

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.logger().log(record);
    }

    fn flush(&self) {
        self.logger().flush();
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn say(logger: &dyn Log, target: &str, words: &str) {
        logger.log(&Record::builder().level(Level::Warn).target(target).args(format_args!("{words}")).build());
    }

    /// Without this, a message while the loop runs goes to stderr, where it may block, or is lost.
    #[test]
    fn messages_go_where_the_loop_is() {
        let (before, after) = (Messages::default(), Messages::default());
        let backend = Backend::new(Box::new(before.clone()));
        say(&backend, "fiscalismia_lb::a", "one");
        backend.turn_to(&after);
        say(&backend, "fiscalismia_lb::a", "two");
        say(&backend, "mio::poll", "three");
        assert_eq!(before.take().unwrap().messages, [(Severity::Warning, "one".to_owned())]);
        assert_eq!(after.take().unwrap().messages, [(Severity::Warning, "two".to_owned())]);
        assert!(after.take().is_none());
    }

    /// Without this, a turn that writes many messages takes memory without bound.
    #[test]
    fn messages_are_bounded() {
        let messages = Messages::default();
        (0..10_000).for_each(|_| say(&messages, "fiscalismia_lb", "words"));
        (0..10_000).for_each(|_| say(&messages, "mio::poll", "words"));
        let Said { messages: kept, lost } = messages.take().unwrap();
        assert_eq!((kept.len(), lost), (MAX_WAITING, 10_000 - MAX_WAITING as u64));
        assert!(messages.take().is_none());
    }
}
