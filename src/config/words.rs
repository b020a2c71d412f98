//! How numbers and errors of the kernel are worded.
use std::io;

/// `1 route`, `5 routes`
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The error's text without the errno: `Connection refused`.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" (os error ").map_or(&*text, |(words, _)| words).to_owned()
}
