//! The lines that a program writes, kept in order.
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Stdout,
    Stderr,
    Notify,
}

/// All lines of one program so far.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<(From, String)>>,
    came: Condvar,
}

impl Lines {
    /// Reads `source` to its end on a thread of its own.
    pub(crate) fn follow(&self, from: From, source: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                lines.push(from, String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        })
    }

    pub(crate) fn push(&self, from: From, line: String) {
        self.lock().push((from, line));
        self.0.came.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(From, String)>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines from one place so far.
    pub(crate) fn of(&self, from: From) -> Vec<String> {
        let lines = self.lock();
        lines.iter().filter(|(f, _)| *f == from).map(|(_, line)| line.clone()).collect()
    }

    /// The lines from one place, beginning with the one at `start` of all.
    pub(crate) fn since(&self, start: usize, from: From) -> Vec<String> {
        let lines = self.lock();
        lines.iter().skip(start).filter(|(f, _)| *f == from).map(|(_, line)| line.clone()).collect()
    }

    /// How many lines there are: where a search may begin.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The first answer of `choose` to a line from `start` on, waiting for lines to come.
    pub(crate) fn wait<T>(&self, start: usize, mut choose: impl FnMut(From, &str) -> Option<T>) -> T {
        self.wait_for(start, PATIENCE, &mut choose).unwrap_or_else(|| panic!("no such line in:\n{self:?}"))
    }

    /// The same, or `None` after `patience`.
    pub(crate) fn wait_for<T>(
        &self,
        start: usize,
        patience: Duration,
        mut choose: impl FnMut(From, &str) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + patience;
        let mut next = start;
        let mut lines = self.lock();
        loop {
            while let Some((from, line)) = lines.get(next) {
                next += 1;
                if let Some(found) = choose(*from, line) {
                    return Some(found);
                }
            }
            let left = end.checked_duration_since(Instant::now())?;
            lines = self.0.came.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The last lines, for the message of a failed test.
impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.lock();
        lines.iter().skip(lines.len().saturating_sub(40)).try_for_each(|(from, line)| writeln!(f, "{from:?}: {line}"))
    }
}
