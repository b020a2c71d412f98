//! Answers, and their framing.
use std::convert::Infallible;

use super::PHASE_TIMEOUT;
use crate::wire::http_head::{self, Head, Verdict};

/// The statuses that are used (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 301
    MovedPermanently,
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    Timeout,
    /// 429
    TooManyRequests,
    /// 431
    HeadTooLarge,
    /// 503
    Unavailable,
}

/// An answer. `B` generates its body, if that is not a text.
pub struct Answer<B> {
    status: Status,
    /// Lines of the head, each with its line end.
    fields: String,
    content: Content<B>,
}

enum Content<B> {
    Text(String),
    Made(B),
}

/// A body that is generated while it is written.
pub trait Body {
    /// Appends at least `least` bytes and a little more; `false` once nothing is left.
    fn make(&mut self, out: &mut Vec<u8>, least: usize) -> bool;
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: Status,
    /// A sentence.
    pub why: String,
}

/// The unwritten rest of an answer.
pub(super) struct Made<B> {
    pub(super) body: B,
    is_chunked: bool,
}

impl Body for Infallible {
    fn make(&mut self, _: &mut Vec<u8>, _: usize) -> bool {
        match *self {}
    }
}

impl Refusal {
    pub(super) fn late() -> Refusal {
        let why = format!("the request took longer than {} seconds", PHASE_TIMEOUT.as_secs());
        Refusal { status: Status::Timeout, why }
    }

    pub(super) fn unless_head(verdict: Verdict<'_>) -> Result<Head<'_>, Refusal> {
        let (status, why) = match verdict {
            Verdict::Head(head) => return Ok(head),
            Verdict::Incomplete => (Status::BadRequest, "the request is not whole".to_owned()),
            Verdict::Malformed(why) => (Status::BadRequest, why.to_owned()),
            Verdict::TooLong => {
                let most = http_head::MAX_LEN / 1024;
                (Status::HeadTooLarge, format!("the request's head is longer than {most} KiB"))
            }
            Verdict::TooManyFields => {
                let most = http_head::MAX_FIELDS;
                (Status::HeadTooLarge, format!("the request's head has more than {most} fields"))
            }
        };
        Err(Refusal { status, why })
    }
}

impl<B> Answer<B> {
    /// An answer with this status, and more lines of the head, each with its line end.
    #[must_use]
    pub fn bare(status: Status, fields: String) -> Answer<B> {
        Answer { status, fields, content: Content::Text(String::new()) }
    }

    /// An answer with a text, and more lines of the head, each with its line end.
    #[must_use]
    pub fn text(status: Status, fields: &str, text: String) -> Answer<B> {
        let fields = format!("Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n{fields}");
        Answer { status, fields, content: Content::Text(text) }
    }

    /// An answer whose body is generated while it is written.
    #[must_use]
    pub fn made(fields: String, body: B) -> Answer<B> {
        Answer { status: Status::Ok, fields, content: Content::Made(body) }
    }

    /// The first bytes of the answer to `request`, and the source of the rest. HEAD gets the same head as GET and no
    /// body (RFC 9110 section 9.3.2). For HTTP/1.1 a generated body is chunked, so that a client can tell a whole body
    /// from one that was cut off.
    pub(super) fn begin(self, request: Option<&Head<'_>>) -> (Vec<u8>, Option<Made<B>>) {
        let is_chunked = request.is_none_or(|head| head.minor_version > 0);
        let is_bodiless = request.is_some_and(|head| head.method == "HEAD");
        let framing = match &self.content {
            Content::Text(text) => format!("Content-Length: {}\r\n", text.len()),
            Content::Made(_) if is_chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Content::Made(_) => String::new(),
        };
        let head = format!("HTTP/1.1 {}\r\n{}{framing}Connection: close\r\n\r\n", self.status.line(), self.fields);
        let mut bytes = head.into_bytes();
        match self.content {
            _ if is_bodiless => (bytes, None),
            Content::Text(text) => {
                bytes.extend_from_slice(text.as_bytes());
                (bytes, None)
            }
            Content::Made(body) => (bytes, Some(Made { body, is_chunked })),
        }
    }
}

impl<B> From<Refusal> for Answer<B> {
    fn from(refusal: Refusal) -> Answer<B> {
        Answer::text(refusal.status, "", format!("{}\n", refusal.why))
    }
}

impl<B: Body> Made<B> {
    /// Appends about `least` bytes of the answer; `false` once that was all.
    pub(super) fn make(&mut self, out: &mut Vec<u8>, least: usize) -> bool {
        if !self.is_chunked {
            return self.body.make(out, least);
        }
        // RFC 9112 section 7.1: a chunk's size may have leading zeros, so it can be filled in afterwards. A chunk of
        // size 0 would be the last one.
        let start = out.len();
        out.extend_from_slice(b"00000000\r\n");
        let is_more = self.body.make(out, least);
        match out.len() - start - 10 {
            0 => out.truncate(start),
            size => {
                if let Some(place) = out.get_mut(start..start + 8) {
                    place.copy_from_slice(format!("{size:08x}").as_bytes());
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        if !is_more {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        is_more
    }
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::MovedPermanently => "301 Moved Permanently",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::Timeout => "408 Request Timeout",
            Status::TooManyRequests => "429 Too Many Requests",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten bytes a piece, as many in all as it says.
    struct Digits(usize);

    impl Body for Digits {
        fn make(&mut self, out: &mut Vec<u8>, least: usize) -> bool {
            let enough = out.len() + least;
            while out.len() < enough && self.0 > 0 {
                let piece = self.0.min(10);
                out.extend_from_slice(&b"0123456789"[..piece]);
                self.0 -= piece;
            }
            self.0 > 0
        }
    }

    /// Without this, an answer whose last slice is full gets an empty chunk in its middle or a wrong end.
    #[test]
    fn the_last_chunk_is_the_only_empty_one() {
        for bytes in [0, 5, 10, 95, 100, 105, 1000] {
            let (mut made, mut out) = (Made { body: Digits(bytes), is_chunked: true }, Vec::new());
            while made.make(&mut out, 100) {}
            let text = String::from_utf8(out).unwrap();
            let (mut left, mut body) = (&*text, 0);
            loop {
                let (size, after) = left.split_once("\r\n").unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                left = &after[size + 2..];
                body += size;
                if size == 0 {
                    break;
                }
            }
            assert_eq!((left, body), ("", bytes), "{text:?}");
        }
    }
}
