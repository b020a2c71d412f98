//! Reads a server's answer to a hello, as far as a `tls` probe needs it.

/// What a server's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong yet, and more bytes are needed.
    Incomplete,
    /// A `ServerHello` begins, or a `HelloRetryRequest`, which looks the same (RFC 8446 section 4.1.4).
    ServerHello,
    /// An alert of any level, with its description as IANA numbers it.
    Alert(u8),
    /// No TLS server answers a hello with this.
    NotTls,
}

/// Judges `raw`: all bytes received from the server so far.
#[must_use]
pub fn read(raw: &[u8]) -> Verdict {
    match *raw {
        // Content type, version, two bytes of length, type of message.
        [0x16, 0x03, _, _, _, 0x02, ..] => Verdict::ServerHello,
        // Content type, version, length, level, description.
        [0x15, 0x03, _, 0x00, 0x02, _, description, ..] => Verdict::Alert(description),
        [] | [0x15 | 0x16] => Verdict::Incomplete,
        [0x16, 0x03, ref rest @ ..] if rest.len() < 4 => Verdict::Incomplete,
        [0x15, 0x03, ref rest @ ..] if rest.len() < 5 => Verdict::Incomplete,
        _ => Verdict::NotTls,
    }
}

/// Whether a TLS record can begin with this byte. RFC 8446 section 5.1 has four content types.
#[must_use]
pub fn begins_record(first: u8) -> bool {
    matches!(first, 0x14..=0x17)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a probe passes on an alert, or fails on half a ServerHello.
    #[test]
    fn answers_are_told_apart() {
        let hello = [0x16, 0x03, 0x03, 0x00, 0x5a, 0x02, 0x00];
        let alert = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x70];
        assert_eq!(read(&hello), Verdict::ServerHello);
        assert_eq!(read(&alert), Verdict::Alert(112));
        for end in 0..6 {
            assert_eq!(read(&hello[..end]), Verdict::Incomplete);
            assert_eq!(read(&alert[..end]), Verdict::Incomplete);
        }
        assert_eq!(read(&alert[..6]), Verdict::Incomplete);
        let other_message = b"\x16\x03\x03\x00\x04\x0b";
        let long_alert = b"\x15\x03\x03\x00\x03\x02\x70";
        for raw in [&b"HTTP/1.1 400"[..], b"\x16\x02", b"\x15G", other_message, long_alert] {
            assert_eq!(read(raw), Verdict::NotTls, "{raw:?}");
        }
    }

    /// Without this, a server that answers in plain text counts as TLS.
    #[test]
    fn the_first_byte_tells_tls() {
        let of_tls: Vec<u8> = (0..=u8::MAX).filter(|first| begins_record(*first)).collect();
        assert_eq!(of_tls, [0x14, 0x15, 0x16, 0x17]);
    }
}
