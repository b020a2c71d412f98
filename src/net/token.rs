//! The source of an event, packed into the word that epoll returns.
use slotmap::{Key as _, KeyData};

use super::slots::Key;

/// The source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A signal arrived.
    Signals,
    /// Standard output takes bytes again.
    Output,
    /// The timer of the poll has expired.
    Alarm,
    /// The configuration file has been read.
    Reload,
    /// A listener.
    Listener(Key),
    /// The client's socket of a session.
    Client(Key),
    /// The server's socket of a session.
    Server(Key),
    /// A probe.
    Probe(Key),
    /// An admin client.
    Admin(Key),
    /// A client of the redirect.
    Redirect(Key),
    /// The control socket.
    ControlListener,
    /// A client of the control socket.
    Control(Key),
}

// A slotmap key is 32 bits of generation above 32 bits of index. The kind takes the index's top four bits, which leaves
// room for 2^28 slots: far above any fd limit.
const KIND_SHIFT: u32 = 28;
const INDEX_MASK: u64 = (1 << KIND_SHIFT) - 1;
const GENERATION_MASK: u64 = !0xFFFF_FFFF;

impl From<Token> for mio::Token {
    fn from(token: Token) -> mio::Token {
        let (kind, key) = match token {
            Token::Signals => (0, Key::null()),
            Token::Output => (1, Key::null()),
            Token::Listener(key) => (2, key),
            Token::Client(key) => (3, key),
            Token::Server(key) => (4, key),
            Token::Probe(key) => (5, key),
            Token::Admin(key) => (6, key),
            Token::Redirect(key) => (7, key),
            Token::Alarm => (8, Key::null()),
            Token::Reload => (9, Key::null()),
            Token::ControlListener => (10, Key::null()),
            Token::Control(key) => (11, key),
        };
        let key = key.data().as_ffi();
        mio::Token(((key & (GENERATION_MASK | INDEX_MASK)) | (kind << KIND_SHIFT)) as usize)
    }
}

impl From<mio::Token> for Token {
    fn from(token: mio::Token) -> Token {
        let word = token.0 as u64;
        let key = Key::from(KeyData::from_ffi(word & (GENERATION_MASK | INDEX_MASK)));
        match (word >> KIND_SHIFT) & 0xF {
            0 => Token::Signals,
            1 => Token::Output,
            2 => Token::Listener(key),
            3 => Token::Client(key),
            4 => Token::Server(key),
            5 => Token::Probe(key),
            6 => Token::Admin(key),
            7 => Token::Redirect(key),
            8 => Token::Alarm,
            10 => Token::ControlListener,
            11 => Token::Control(key),
            _ => Token::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Slots;

    /// Without this, an event for one socket is taken for another's.
    #[test]
    fn every_token_comes_back_as_it_was() {
        let mut slots = Slots::<()>::new();
        for _ in 0..1000 {
            let key = slots.reserve();
            for token in [
                Token::Signals,
                Token::Output,
                Token::Alarm,
                Token::Reload,
                Token::Listener(key),
                Token::Client(key),
                Token::Server(key),
                Token::Probe(key),
                Token::Admin(key),
                Token::Redirect(key),
                Token::ControlListener,
                Token::Control(key),
            ] {
                assert_eq!(Token::from(mio::Token::from(token)), token);
            }
            slots.vacate(key);
            if slots.len().is_multiple_of(3) {
                slots.free();
            }
        }
    }

    /// Without this, a late event reaches the session that took the slot over.
    #[test]
    fn a_key_of_a_freed_slot_misses() {
        let mut slots = Slots::new();
        let old = slots.reserve();
        slots.put(old, 'a');
        assert_eq!(slots.take(old), Some('a'));
        slots.vacate(old);
        slots.free();
        let new = slots.reserve();
        slots.put(new, 'b');
        assert_eq!(slots.take(old), None);
        assert_eq!(slots.take(new), Some('b'));
    }
}
