//! Prometheus' text format, written a slice at a time.
//!
//! All series of a family stand together, so each family goes through all routes once. With 1,000 routes that is 80,000
//! lines. They are written from the plain counters: the `prometheus` crate would keep an allocated series with labels
//! and atomics for each, want every event counted there too, and clone all series into protobuf structures before it
//! writes the first byte.
use std::io::Write as _;
use std::time::Duration;

use super::families;
use super::{FrontendNow, RouteNow, ServerNow, Snapshot};

/// The type of a family.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Has the name of a counter and can go down.
    Untyped,
}

/// The series of one name, one for each `T`.
pub(super) struct Family<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    write: fn(&T, &mut Line<'_>),
}

pub(super) const fn counter<T>(name: &'static str, help: &'static str, write: fn(&T, &mut Line<'_>)) -> Family<T> {
    Family { name, kind: Kind::Counter, help, write }
}

pub(super) const fn gauge<T>(name: &'static str, help: &'static str, write: fn(&T, &mut Line<'_>)) -> Family<T> {
    Family { name, kind: Kind::Gauge, help, write }
}

pub(super) const fn untyped<T>(name: &'static str, help: &'static str, write: fn(&T, &mut Line<'_>)) -> Family<T> {
    Family { name, kind: Kind::Untyped, help, write }
}

/// Writes the lines of one series, or of several that differ by one more label.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    name: &'static str,
    /// The labels proxy and server; an empty one is not written.
    labels: (&'a str, &'a str),
}

impl Line<'_> {
    /// A whole number.
    pub(super) fn number(&mut self, value: u64) {
        self.begin(None);
        self.digits(value);
    }

    /// A number with a fraction.
    pub(super) fn float(&mut self, value: f64) {
        self.begin(None);
        let _ = writeln!(self.out, " {value}");
    }

    /// A number, or NaN if there is none: a missing value is not 0.
    pub(super) fn maybe(&mut self, value: Option<f64>) {
        self.float(value.unwrap_or(f64::NAN));
    }

    /// A whole number, or NaN.
    pub(super) fn count(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.number(value),
            None => self.maybe(None),
        }
    }

    /// A duration in seconds, or NaN.
    pub(super) fn duration(&mut self, value: Option<Duration>) {
        self.maybe(value.map(|value| value.as_secs_f64()));
    }

    /// One of several series that differ by `label`.
    pub(super) fn labelled(&mut self, label: &str, text: &str, value: u64) {
        self.begin(Some((label, text)));
        self.digits(value);
    }

    fn begin(&mut self, more: Option<(&str, &str)>) {
        self.texts([self.name]);
        let (proxy, server) = self.labels;
        let labels = [("proxy", proxy), ("server", server), more.unwrap_or_default()];
        let mut before = "{";
        // Nothing here needs escapes: names of routes and servers were checked, all other labels are constants.
        for (label, text) in labels.into_iter().filter(|(_, text)| !text.is_empty()) {
            self.texts([before, label, "=\"", text, "\""]);
            before = ",";
        }
        if before == "," {
            self.texts(["}"]);
        }
    }

    fn texts<const N: usize>(&mut self, texts: [&str; N]) {
        for text in texts {
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    fn digits(&mut self, value: u64) {
        self.texts([" ", itoa::Buffer::new().format(value), "\n"]);
    }
}

/// The thing that a series is about.
trait Subject {
    /// The labels proxy and server; empty where it has none.
    fn labels(&self) -> (&str, &str);
}

impl Subject for Snapshot {
    fn labels(&self) -> (&str, &str) {
        ("", "")
    }
}

impl Subject for FrontendNow {
    fn labels(&self) -> (&str, &str) {
        (&self.name, "")
    }
}

impl Subject for RouteNow {
    fn labels(&self) -> (&str, &str) {
        (&self.name, "")
    }
}

impl Subject for ServerNow {
    fn labels(&self) -> (&str, &str) {
        (&self.route, &self.name)
    }
}

/// A snapshot's exposition, and how much of it is written.
pub struct Exposition {
    snapshot: Snapshot,
    part: Part,
    cursor: Cursor,
}

#[derive(Clone, Copy)]
enum Part {
    Process,
    Frontends,
    Routes,
    Servers,
    Histograms,
    Over,
}

/// The position of the next series.
#[derive(Default)]
struct Cursor {
    family: usize,
    subject: usize,
}

impl Exposition {
    /// The exposition of `snapshot`, from its beginning.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Exposition {
        Exposition { snapshot, part: Part::Process, cursor: Cursor::default() }
    }

    /// The snapshot that it writes.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }

    /// Appends at least `most` bytes and a little more; `false` once nothing is left.
    pub fn write(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        let enough = out.len() + most;
        loop {
            let Exposition { snapshot, part, cursor } = self;
            let (is_done, next) = match part {
                Part::Process => {
                    let process = std::slice::from_ref(&*snapshot);
                    (cursor.write(families::PROCESS, process, out, enough), Part::Frontends)
                }
                Part::Frontends => (cursor.write(families::FRONTEND, &snapshot.frontends, out, enough), Part::Routes),
                Part::Routes => (cursor.write(families::BACKEND, &snapshot.routes, out, enough), Part::Servers),
                Part::Servers => (cursor.write(families::SERVER, &snapshot.servers, out, enough), Part::Histograms),
                Part::Histograms => {
                    let mut text = String::new();
                    snapshot.process.histograms.write(&mut text);
                    out.extend_from_slice(text.as_bytes());
                    (true, Part::Over)
                }
                Part::Over => return false,
            };
            if !is_done {
                return true;
            }
            self.part = next;
            self.cursor = Cursor::default();
        }
    }
}

impl Cursor {
    /// Goes on with `families` of all `subjects` until `out` has `enough` bytes. Answers whether all is written.
    fn write<T: Subject>(&mut self, families: &[Family<T>], subjects: &[T], out: &mut Vec<u8>, enough: usize) -> bool {
        while let Some(family) = families.get(self.family) {
            while let Some(subject) = subjects.get(self.subject) {
                if out.len() >= enough {
                    return false;
                }
                if self.subject == 0 {
                    family.write_head(out);
                }
                (family.write)(subject, &mut Line { out, name: family.name, labels: subject.labels() });
                self.subject += 1;
            }
            *self = Cursor { family: self.family + 1, subject: 0 };
        }
        true
    }
}

impl<T> Family<T> {
    fn write_head(&self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
        };
        let name = self.name;
        let _ = write!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", self.help);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frontend;
    use super::*;

    fn snapshot() -> Snapshot {
        let frontend = |name: &str| FrontendNow {
            name: name.into(),
            is_http: false,
            is_open: true,
            sessions: 1,
            limit: 2,
            counters: Frontend::default(),
            denied: 3,
            denied_connections: 4,
            errors: 5,
        };
        Snapshot { frontends: vec![frontend("a"), frontend("b")], ..Snapshot::empty() }
    }

    fn in_slices(most: usize) -> String {
        let (mut exposition, mut text) = (Exposition::new(snapshot()), Vec::new());
        loop {
            let before = text.len();
            let is_more = exposition.write(&mut text, most);
            assert!(text.len() > before || !is_more, "a slice with nothing in it");
            assert!(text.len() < before.saturating_add(most).saturating_add(4096), "a slice that is all of it");
            if !is_more {
                return String::from_utf8(text).unwrap();
            }
        }
    }

    /// Without this, a line is lost or doubled between two slices of the metrics.
    #[test]
    fn slices_come_to_the_same_text() {
        let whole = in_slices(usize::MAX / 2);
        for line in [
            "# TYPE haproxy_frontend_status gauge\nhaproxy_frontend_status{proxy=\"a\",state=\"DOWN\"} 0\n",
            "haproxy_frontend_requests_denied_total{proxy=\"b\"} 3\n",
            "fiscalismia_lb_last_probe_timestamp_seconds NaN\n",
            "fiscalismia_lb_turn_duration_seconds_count 0\n",
        ] {
            assert!(whole.contains(line), "no {line} in {whole}");
        }
        for most in [1, 100, 777, 4096] {
            assert_eq!(in_slices(most), whole, "{most}");
        }
    }
}
