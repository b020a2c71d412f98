//! What is made of a snapshot: metrics, CSV and JSON.
use super::{csv, json};
use crate::metrics::{Exposition, Snapshot};

/// How a snapshot is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Metrics,
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
            "/stats;csv" => Some(Form::Csv),
            "/stats.json" => Some(Form::Json),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Form::Csv => "text/plain; charset=utf-8",
            Form::Json => "application/json",
        }
    }
}

impl Report {
    pub(super) fn new(form: Form, snapshot: Snapshot) -> Report {
        let piece: Piece = match form {
            Form::Metrics => return Report::Metrics(Box::new(Exposition::new(snapshot))),
            Form::Csv => csv::piece,
            Form::Json => json::piece,
        };
        Report::Pieces { snapshot: Box::new(snapshot), piece, next: 0 }
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
