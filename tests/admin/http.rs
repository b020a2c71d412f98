//! A strict client of the admin endpoints: lengths, chunks and the end must all be right.
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kit::PATIENCE;
use crate::kit::places::free_address;
use crate::kit::proxy::{Launch, Proxy};

/// A user name and a password that no answer or log line may repeat.
pub(crate) const USER: &str = "grete";
pub(crate) const PASSWORD: &str = "Schl\u{fc}ssel:42";

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A field's value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Starts a proxy with admin endpoints, whose address is answered too, and credentials in its environment.
pub(crate) fn start(mut config: Value) -> (Proxy, SocketAddr) {
    let admin = free_address();
    config["admin"]["listen"] = json!([admin]);
    let before = "export STATS_USERNAME=grete STATS_PASSWORD=Schl\u{fc}ssel:42";
    (Proxy::launch(config, Launch { before, ..Launch::default() }), admin)
}

/// GETs a path, with credentials.
pub(crate) fn get(from: SocketAddr, path: &str) -> Answer {
    let credentials = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    ask(from, &format!("GET {path} HTTP/1.1\r\nHost: lb\r\nAuthorization: Basic {credentials}\r\n\r\n"))
}

/// What `/stats.json` says.
pub(crate) fn json(from: SocketAddr) -> Value {
    serde_json::from_str(&get(from, "/stats.json").body).unwrap()
}

/// Sends a request and reads the answer to its end, which must be a FIN.
pub(crate) fn ask(from: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(from);
    stream.write_all(request.as_bytes()).unwrap();
    answer(&mut stream, request.starts_with("HEAD "))
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads an answer to its end.
pub(crate) fn answer(stream: &mut TcpStream, is_bodiless: bool) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| {
        let what = if error.kind() == ErrorKind::ConnectionReset { "a reset" } else { "no end" };
        panic!("{what} after {:?}", String::from_utf8_lossy(&bytes))
    });
    parse(&String::from_utf8(bytes).unwrap(), is_bodiless)
}

fn parse(text: &str, is_bodiless: bool) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap().parse().unwrap();
    let mut answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
    assert_eq!(answer.field("Connection"), Some("close"));
    if is_bodiless {
        assert_eq!(body, "", "an answer to HEAD has no body");
    } else if answer.field("Transfer-Encoding") == Some("chunked") {
        answer.body = unchunked(body);
    } else if let Some(length) = answer.field("Content-Length") {
        assert_eq!(length, body.len().to_string());
    }
    answer
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let (chunk, after) = after.split_at(size);
        rest = after.strip_prefix("\r\n").unwrap();
        body.push_str(chunk);
        if size == 0 {
            assert_eq!(rest, "", "something follows the last chunk");
            return body;
        }
    }
}
