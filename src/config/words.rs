//! How numbers are put to people.

/// `1 route`, `5 routes`
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
