//! What is made of a snapshot: metrics, the page, and its other two forms.
use super::{csv, json, page};
use crate::metrics::{Exposition, Snapshot};

/// How a snapshot is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Metrics,
    Page,
    Csv,
    Json,
}

/// A snapshot that is being shown, a piece after the other.
pub(super) enum Report {
    Metrics(Box<Exposition>),
    Pieces { snapshot: Box<Snapshot>, piece: Piece, next: usize },
}

/// Appends the piece of an index; `false`: there is none.
type Piece = fn(&Snapshot, usize, &mut Vec<u8>) -> bool;

impl Form {
    /// The form that a path asks for.
    pub(super) fn at(path: &str) -> Option<Form> {
        match path {
            "/metrics" => Some(Form::Metrics),
            "/stats" => Some(Form::Page),
            "/stats;csv" => Some(Form::Csv),
            "/stats.json" => Some(Form::Json),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Form::Page => "text/html; charset=utf-8",
            Form::Csv => "text/plain; charset=utf-8",
            Form::Json => "application/json",
        }
    }

    /// More lines of the head. The page needs nothing from anywhere, and nobody may put it into a frame.
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
    pub(super) fn new(form: Form, snapshot: Snapshot) -> Report {
        let piece: Piece = match form {
            Form::Metrics => return Report::Metrics(Box::new(Exposition::new(snapshot))),
            Form::Page => page::piece,
            Form::Csv => csv::piece,
            Form::Json => json::piece,
        };
        Report::Pieces { snapshot: Box::new(snapshot), piece, next: 0 }
    }

    /// What it was made of.
    pub(super) fn into_snapshot(self) -> Snapshot {
        match self {
            Report::Metrics(exposition) => exposition.into_snapshot(),
            Report::Pieces { snapshot, .. } => *snapshot,
        }
    }

    /// Appends at least `most` bytes; `false`: nothing is left.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        match self {
            Report::Metrics(exposition) => exposition.write(out, most),
            Report::Pieces { snapshot, piece, next } => {
                let enough = out.len() + most;
                while out.len() < enough {
                    if !piece(snapshot, *next, out) {
                        return false;
                    }
                    *next += 1;
                }
                true
            }
        }
    }
}
