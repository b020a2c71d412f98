//! The status line of an HTTP/1 response, as far as an `http` probe needs it (RFC 9112 section 4).

/// What a server's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong yet, and more bytes are needed.
    Incomplete,
    /// The status of the response.
    Status(u16),
    /// Not HTTP/1.
    NotHttp,
}

/// Judges `raw`: all bytes received from the server so far.
#[must_use]
pub fn read(raw: &[u8]) -> Verdict {
    let mut response = httparse::Response::new(&mut []);
    let parsed = response.parse(raw);
    // Without room for headers, httparse may fail after the status line. It sets `reason`, empty or not, once the whole
    // line is good, and `code` before that.
    match (response.reason.and(response.code), parsed) {
        (Some(status), _) => Verdict::Status(status),
        (None, Ok(_)) => Verdict::Incomplete,
        (None, Err(_)) => Verdict::NotHttp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a probe passes on half a status, or waits for more than the status line.
    #[test]
    fn the_status_line_alone_decides() {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\n\r\nbody";
        let line = head.iter().position(|byte| *byte == b'\n').unwrap();
        for end in 0..=line {
            assert_eq!(read(&head[..end]), Verdict::Incomplete, "{end}");
        }
        for end in line + 1..=head.len() {
            assert_eq!(read(&head[..end]), Verdict::Status(503), "{end}");
        }
        for raw in [&b"HTTP/1.0 200\r\n"[..], b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200 OK\n:"] {
            assert_eq!(read(raw), Verdict::Status(200), "{raw:?}");
        }
    }

    /// Without this, a probe of a server without HTTP fails only by its timeout.
    #[test]
    fn other_answers_are_not_http() {
        for raw in [
            &b"SSH-2.0-OpenSSH\r\n"[..],
            b"\x15\x03\x01\x00\x02\x02\x32",
            b"HTTP/2 200 ",
            b"HTTP/1.1 2x0 ",
            b"HTTP/1.1 2000 ",
        ] {
            assert_eq!(read(raw), Verdict::NotHttp, "{raw:?}");
        }
    }
}
