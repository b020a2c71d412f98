//! Errors of a configuration file.
use std::fmt;

use super::read::Path;
use super::syntax::{excerpt, line_of};

/// One error of a configuration file. Prints as one line: the file, the path inside it, what is wrong and what would be
/// right. Where the file is not JSON, the alternate form, `{:#}`, adds two lines that show the place.
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

    /// As [`Error::new`], for a byte of the file's text.
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
