//! What is made of a snapshot: metrics, the page, and its other two forms.
use super::{csv, json, page};
use crate::http::Body;
use crate::metrics::{Buffers, Exposition, ServerNow, Snapshot, State};

/// How a snapshot is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Metrics,
    Page,
    Csv,
    Json,
}

/// Which parts of a report are shown, by the parameters of HAProxy's statistics page (its management guide, section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// `;norefresh`: the page does not reload itself.
    pub(super) is_still: bool,
    /// `;up`: servers that are down are left out.
    pub(super) hides_down: bool,
    /// `;no-maint`: servers in maintenance are left out.
    pub(super) hides_maint: bool,
}

/// A snapshot that is being written, piece by piece.
pub struct Report(Shown);

enum Shown {
    Metrics(Box<Exposition>),
    Pieces { snapshot: Box<Snapshot>, piece: Piece, view: View, next: usize },
}

/// Appends the piece with an index; `false` if there is none.
type Piece = Box<dyn Fn(&Snapshot, View, usize, &mut Vec<u8>) -> bool>;

/// What a path without its query asks for. Parameters stand behind `;` in any order, and HAProxy ignores the ones that it
/// does not know. Its other two formats are not ours.
pub(super) fn at(path: &str) -> Option<(Form, View)> {
    let (mut form, mut view) = (Form::Page, View::default());
    match path {
        "/metrics" => return Some((Form::Metrics, view)),
        "/stats.json" => return Some((Form::Json, view)),
        _ => {}
    }
    let rest = path.strip_prefix("/stats")?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    if !rest.is_empty() && !rest.starts_with(';') {
        return None;
    }
    for parameter in rest.split(';') {
        match parameter {
            "csv" => form = Form::Csv,
            "norefresh" => view.is_still = true,
            "up" => view.hides_down = true,
            "no-maint" => view.hides_maint = true,
            "json" | "json-schema" | "typed" => return None,
            _ => {}
        }
    }
    Some((form, view))
}

impl View {
    pub(super) fn shows(self, server: &ServerNow) -> bool {
        let state = server.state();
        !(self.hides_down && state == State::Down || self.hides_maint && state == State::Maint)
    }
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Form::Page => "text/html; charset=utf-8",
            Form::Csv => "text/plain; charset=utf-8",
            Form::Json => "application/json",
        }
    }

    /// More lines of the head. The page loads nothing, and must not be put into a frame.
    pub(super) fn fields(self) -> &'static str {
        match self {
            Form::Page => {
                "Content-Security-Policy: default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
                 Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
            }
            Form::Metrics | Form::Csv | Form::Json => "X-Content-Type-Options: nosniff\r\n",
        }
    }
}

impl Report {
    pub(super) fn new(form: Form, view: View, snapshot: Snapshot) -> Report {
        let piece: Piece = match form {
            Form::Metrics => return Report(Shown::Metrics(Box::new(Exposition::new(snapshot)))),
            Form::Page => {
                let folds = page::Folds::of(&snapshot);
                Box::new(move |snapshot, view, index, out| page::piece(snapshot, view, folds, index, out))
            }
            Form::Csv => Box::new(csv::piece),
            Form::Json => Box::new(json::piece),
        };
        Report(Shown::Pieces { snapshot: Box::new(snapshot), piece, view, next: 0 })
    }

    /// `/stats.json`, made of a snapshot.
    #[must_use]
    pub fn json(snapshot: Snapshot) -> Report {
        Report::new(Form::Json, View::default(), snapshot)
    }

    /// The memory of its snapshot.
    #[must_use]
    pub fn into_buffers(self) -> Buffers {
        match self.0 {
            Shown::Metrics(exposition) => exposition.into_snapshot().into_buffers(),
            Shown::Pieces { snapshot, .. } => snapshot.into_buffers(),
        }
    }
}

impl Body for Report {
    fn make(&mut self, out: &mut Vec<u8>, least: usize) -> bool {
        match &mut self.0 {
            Shown::Metrics(exposition) => exposition.write(out, least),
            Shown::Pieces { snapshot, piece, view, next } => {
                let enough = out.len() + least;
                while out.len() < enough {
                    if !piece(snapshot, *view, *next, out) {
                        return false;
                    }
                    *next += 1;
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a collector written for HAProxy gets another page than it asks for, or none.
    #[test]
    fn parameters_are_haproxys() {
        let (page, all) = (Form::Page, View::default());
        for (path, wanted) in [
            ("/stats", Some((page, all))),
            ("/stats/", Some((page, all))),
            ("/stats;norefresh", Some((page, View { is_still: true, ..all }))),
            ("/stats;up;csv", Some((Form::Csv, View { hides_down: true, ..all }))),
            ("/stats/;csv;no-maint;st=DONE", Some((Form::Csv, View { hides_maint: true, ..all }))),
            ("/stats.json", Some((Form::Json, all))),
            ("/metrics", Some((Form::Metrics, all))),
            ("/stats;json", None),
            ("/statsx", None),
            ("/metrics;csv", None),
        ] {
            assert_eq!(at(path), wanted, "{path}");
        }
    }
}
