//! What is wrong with a file.
use std::fmt;

/// One thing that is wrong with a configuration file. Prints as one line: the file, the path inside it, what is wrong
/// and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(super) fn new(file: &str, path: &super::read::Path<'_>, what: impl fmt::Display) -> Error {
        Error(match path {
            super::read::Path::Root => format!("{file}: {what}"),
            path => format!("{file}: {path}: {what}"),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
