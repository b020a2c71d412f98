//! The lines of a proxy that decide about connections, kept as lines in their order.
use std::collections::HashMap;

use super::lex::Line;

/// A proxy's lines of rules, by keyword.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    pub(super) acls: HashMap<String, Vec<Line>>,
    pub(super) connection_rules: Vec<Line>,
    pub(super) content_rules: Vec<Line>,
    pub(super) use_backend: Vec<Line>,
    pub(super) default_backend: Option<Line>,
    pub(super) http_rules: Vec<Line>,
}

impl Decisions {
    /// Whether a rule may ask for Host or path. Mode tcp can ask too, once HAProxy has waited for a request.
    pub(super) fn ask_for_requests(&self) -> bool {
        let lines = self.acls.values().flatten().chain(&self.use_backend);
        let mut words = lines.flat_map(|line| &line.words);
        words.any(|word| word.contains("hdr") || word.starts_with("path"))
    }
}
