//! What is wrong with a file.
use std::fmt;

use super::read::Path;
use super::syntax::{excerpt, line_of};

/// One thing that is wrong with a configuration file. Prints as one line: the file, the path inside it, what is wrong
/// and what would be right. The alternate form, `{:#}`, shows the place in two lines more where the file is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    line: String,
    excerpt: Option<String>,
}

impl Error {
    pub(super) fn new(file: &str, path: &Path<'_>, what: impl fmt::Display) -> Error {
        let line = match path {
            Path::Root => format!("{file}: {what}"),
            path => format!("{file}: {path}: {what}"),
        };
        Error { line, excerpt: None }
    }

    /// As `new`, of a byte of the file's text.
    pub(super) fn at(file: &str, text: &str, at: usize, what: &str) -> Error {
        let line = format!("{file}: line {}: {what}", line_of(text, at));
        Error { line, excerpt: Some(excerpt(text, at)) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)?;
        match &self.excerpt {
            Some(excerpt) if f.alternate() => write!(f, "\n{excerpt}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
