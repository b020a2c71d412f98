//! The status line of an HTTP/1 response, as far as an `http` probe needs it (RFC 9112 section 4).

/// What a server's first bytes amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong yet, and more bytes are needed.
    Incomplete,
    /// The status of the response.
    Status(u16),
    /// Not HTTP/1.
    NotHttp,
}

/// Judges `raw`: all bytes that came from the server so far.
#[must_use]
pub fn read(raw: &[u8]) -> Verdict {
    // Without room for headers, httparse stops behind the status line; the status stands as soon as it has been read.
    let mut response = httparse::Response::new(&mut []);
    match (response.parse(raw), response.code) {
        (Ok(_) | Err(httparse::Error::TooManyHeaders), Some(status)) => Verdict::Status(status),
        (Ok(_), None) => Verdict::Incomplete,
        _ => Verdict::NotHttp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a probe passes on a status that is not there yet, or on no HTTP at all.
    #[test]
    fn the_status_line_alone_decides() {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\n\r\nbody";
        let status = b"HTTP/1.1 503".len();
        for end in 0..status {
            assert_eq!(read(&head[..end]), Verdict::Incomplete, "{end}");
        }
        for end in status..=head.len() {
            assert_eq!(read(&head[..end]), Verdict::Status(503), "{end}");
        }
        assert_eq!(read(b"SSH-2.0-OpenSSH\r\n"), Verdict::NotHttp);
        assert_eq!(read(b"\x15\x03\x01\x00\x02\x02\x32"), Verdict::NotHttp);
    }
}
