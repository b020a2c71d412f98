//! The state in a parcel: named sections, each read by itself.
//!
//! The next process may be an older or a newer version. It reads the sections and fields that it knows, ignores the
//! others, and does without missing ones. A section that cannot be read does not affect the others.
//!
//! ```text
//! 8 bytes   length of the sections, little endian
//! n bytes   the sections: one JSON object
//! rest      bytes that sections refer to, as a [`Span`]
//! ```
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// State that is being put together, or was received. Sections stay text until they are read: a parsed tree of
/// thousands of connections would take several times the memory, and fragment it.
#[derive(Default)]
pub struct State {
    sections: BTreeMap<String, Box<RawValue>>,
    bytes: Vec<u8>,
}

/// A range of the bytes after the sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    at: usize,
    len: usize,
}

impl State {
    /// Adds a section.
    ///
    /// # Errors
    /// The section has a map whose keys are not strings, which JSON cannot express.
    pub fn put(&mut self, name: &str, section: &impl Serialize) -> Result<(), String> {
        let text = to_raw_value(section).map_err(|error| format!("{name}: {error}"))?;
        self.sections.insert(name.to_owned(), text);
        Ok(())
    }

    /// Takes a section out. A missing one has its default.
    ///
    /// # Errors
    /// The section is not what this version has under that name.
    pub fn take<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, String> {
        match self.sections.remove(name) {
            None => Ok(T::default()),
            Some(text) => serde_json::from_str(text.get()).map_err(|error| format!("{name}: {error}")),
        }
    }

    /// Takes the text of a section out, for a reader that goes through it piece by piece.
    pub fn take_text(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.sections.remove(name)
    }

    /// Appends bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Span {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span { at, len: bytes.len() }
    }

    /// The bytes of a span; `None` if it is out of range.
    #[must_use]
    pub fn bytes(&self, span: Span) -> Option<&[u8]> {
        self.bytes.get(span.at..span.at.checked_add(span.len)?)
    }

    /// Everything as bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        // Serialization of string keys and valid text cannot fail.
        let sections = serde_json::to_vec(&self.sections).unwrap_or_default();
        let mut all = (sections.len() as u64).to_le_bytes().to_vec();
        all.extend_from_slice(&sections);
        all.extend_from_slice(&self.bytes);
        all
    }

    /// The reverse of [`into_bytes`](State::into_bytes).
    ///
    /// # Errors
    /// The bytes are not a state.
    pub fn from_bytes(all: &[u8]) -> Result<State, String> {
        let (len, rest) = all.split_first_chunk::<8>().ok_or("it is truncated")?;
        let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
        let (sections, bytes) = rest.split_at_checked(len).ok_or("it is truncated")?;
        let sections = serde_json::from_slice(sections).map_err(|error| error.to_string())?;
        Ok(State { sections, bytes: bytes.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Older {
        count: u64,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Newer {
        count: u64,
        name: String,
    }

    fn passed(fill: impl FnOnce(&mut State)) -> State {
        let mut state = State::default();
        fill(&mut state);
        State::from_bytes(&state.into_bytes()).unwrap()
    }

    /// Without this, an upgrade or a downgrade loses every connection.
    #[test]
    fn older_and_newer_programs_read_each_other() {
        let mut state = passed(|state| state.put("a", &Newer { count: 7, name: "x".to_owned() }).unwrap());
        assert_eq!(state.take::<Older>("a").unwrap(), Older { count: 7 });
        let mut state = passed(|state| state.put("a", &Older { count: 7 }).unwrap());
        assert_eq!(state.take::<Newer>("a").unwrap(), Newer { count: 7, name: String::new() });
        assert_eq!(state.take::<Newer>("b").unwrap(), Newer::default(), "a section that is not there");
    }

    /// Without this, one unreadable section loses all others.
    #[test]
    fn a_section_is_lost_alone() {
        let mut state = passed(|state| {
            state.put("a", &"no count").unwrap();
            state.put("b", &Older { count: 1 }).unwrap();
        });
        assert!(state.take::<Older>("a").unwrap_err().starts_with("a: "));
        assert_eq!(state.take::<Older>("b").unwrap().count, 1);
    }

    /// Without this, a connection gets another one's unsent bytes, or a wrong span makes the program panic.
    #[test]
    fn bytes_keep_their_place() {
        let mut spans = Vec::new();
        let state =
            passed(|state| spans.extend([b"one".as_slice(), b"", b"three"].map(|bytes| state.put_bytes(bytes))));
        let found: Vec<_> = spans.iter().map(|span| state.bytes(*span).unwrap()).collect();
        assert_eq!(found, [b"one".as_slice(), b"", b"three"]);
        assert_eq!(state.bytes(Span { at: 1, len: 8 }), None);
        assert_eq!(state.bytes(Span { at: usize::MAX, len: 2 }), None);
    }

    /// Without this, foreign data in the store makes the program panic.
    #[test]
    fn what_is_no_state_is_an_error() {
        let good = State::default().into_bytes();
        for bad in [&b""[..], &[0; 8], &[255; 64], &good[..9], b"\x02\0\0\0\0\0\0\0[]"] {
            assert!(State::from_bytes(bad).is_err(), "{bad:?}");
        }
    }
}
