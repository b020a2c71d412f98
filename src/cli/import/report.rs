//! Messages about the input, by line.
use std::collections::BTreeSet;
use std::path::Path;

use super::lex::Line;

/// Why something is lost that nothing here is like.
pub(super) const NO_EQUIVALENT: &str = "it has no equivalent";

/// What could not be converted, and what an operator should know: each with its line, in the order of the input.
#[derive(Debug, Default)]
pub(super) struct Report {
    said: BTreeSet<(usize, Kind, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Lost,
    Note,
}

impl Report {
    /// A setting is lost. `why` says so, and names the nearest alternative.
    pub(super) fn lost(&mut self, line: usize, what: &str, why: &str) {
        self.said.insert((line, Kind::Lost, format!("{what}: {why}")));
    }

    /// A setting is kept, with a difference that the operator should know.
    pub(super) fn note(&mut self, line: usize, what: &str, why: &str) {
        self.said.insert((line, Kind::Note, format!("{what}: {why}")));
    }

    /// All that a line says is lost.
    pub(super) fn lost_line(&mut self, line: &Line, why: &str) {
        self.lost(line.number, &line.words.join(" "), why);
    }

    /// All that a line says is kept, with a difference.
    pub(super) fn note_line(&mut self, line: &Line, why: &str) {
        self.note(line.number, &line.words.join(" "), why);
    }

    pub(super) fn has_losses(&self) -> bool {
        self.said.iter().any(|(_, kind, _)| *kind == Kind::Lost)
    }

    /// The lines for stderr.
    pub(super) fn lines(&self, file: &Path) -> Vec<String> {
        let line = |(line, kind, text): &(usize, Kind, String)| {
            let kind = match kind {
                Kind::Lost => "lost",
                Kind::Note => "note",
            };
            // An escape such as \n in the input would otherwise begin a line of its own.
            let text: String = text
                .chars()
                .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
                .collect();
            format!("{}:{line}: {kind}: {text}", file.display())
        };
        self.said.iter().map(line).collect()
    }
}
