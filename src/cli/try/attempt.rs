//! One connection to a server, made as the proxy makes it, up to the server's first bytes.
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fiscalismia_lb::config::{ProxyProtocol, Route, Server, plain};
use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use fiscalismia_lb::wire::proxy_header::{self, Tlvs};
use fiscalismia_lb::wire::server_hello::{self, Verdict};
use socket2::{Domain, Protocol, Socket, Type};

/// Time for the server's first bytes after it has the hello.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes that are shown of an answer that is not TLS.
const MAX_SHOWN: usize = 64;

/// The names in the hello.
pub(super) struct Hello<'a> {
    pub(super) sni: &'a str,
    pub(super) alpn: &'a [String],
}

/// The result of a connection.
pub(super) struct Attempt {
    pub(super) answer: Result<Answer, Failure>,
    /// Time until the server accepted the connection; `None` if it did not.
    pub(super) connected: Option<Duration>,
    /// Time until the answer.
    pub(super) took: Duration,
}

/// A server's answer.
pub(super) enum Answer {
    ServerHello,
    /// An alert, with its description as IANA numbers it.
    Alert(u8),
    /// HTTP; its first line.
    Http(String),
    /// Something else; its first bytes.
    Other(Vec<u8>),
    /// FIN before any byte.
    End,
}

/// Why there is no answer.
pub(super) enum Failure {
    Refused,
    Reset,
    TimedOut,
    /// The kernel's words.
    System(String),
}

/// Connects to a server, sends header and hello, and waits for its first bytes.
pub(super) fn attempt(route: &Route, server: &Server, protocol: ProxyProtocol, hello: &Hello<'_>) -> Attempt {
    let begin = Instant::now();
    let mut connected = None;
    let answer = connect(route, server).and_then(|stream| {
        connected = Some(begin.elapsed());
        converse(stream, route, protocol, hello)
    });
    Attempt { answer: answer.map_err(Failure::from), connected, took: begin.elapsed() }
}

fn connect(route: &Route, server: &Server) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server.address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(interface) = &server.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(source) = server.from_address() {
        socket.bind(&source.into())?;
    }
    socket.connect_timeout(&server.address.into(), route.timeouts.connect)?;
    Ok(socket.into())
}

fn converse(mut stream: TcpStream, route: &Route, protocol: ProxyProtocol, hello: &Hello<'_>) -> io::Result<Answer> {
    let until = Instant::now() + ANSWER_TIMEOUT;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(&question(&stream, route, protocol, hello)?)?;
    let mut came = Vec::new();
    loop {
        if let Some(answer) = judge(&came) {
            return Ok(answer);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return if came.is_empty() { Err(ErrorKind::TimedOut.into()) } else { Ok(Answer::Other(came)) };
        }
        stream.set_read_timeout(Some(left))?;
        let mut room = [0; 2048];
        match stream.read(&mut room) {
            Ok(0) if came.is_empty() => return Ok(Answer::End),
            Ok(0) => return Ok(Answer::Other(came)),
            Ok(n) => came.extend_from_slice(room.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) if !came.is_empty() => return Ok(Answer::Other(came)),
            Err(error) => return Err(error),
        }
    }
}

/// The header that the proxy would write if this program were the client, and the hello.
fn question(stream: &TcpStream, route: &Route, protocol: ProxyProtocol, hello: &Hello<'_>) -> io::Result<Vec<u8>> {
    let (source, destination) = (stream.local_addr()?, stream.peer_addr()?);
    let mut room = [0; proxy_header::MAX_LEN];
    let header = match protocol {
        ProxyProtocol::Off => &[],
        ProxyProtocol::V1 => proxy_header::v1(&mut room, source, destination),
        ProxyProtocol::V2 => {
            let wanted = route.proxy_header.tlvs;
            let tlvs = Tlvs {
                authority: Some(hello.sni.as_bytes()).filter(|sni| wanted.authority && !sni.is_empty()),
                alpn: hello.alpn.first().map(String::as_bytes).filter(|_| wanted.alpn),
                unique_id: wanted.unique_id.then(unique_id),
                crc32c: wanted.crc32c,
                received: b"",
            };
            proxy_header::v2(&mut room, source, destination, &tlvs)
        }
    };
    let mut builder = HelloBuilder::new();
    if !hello.sni.is_empty() {
        builder = builder.sni(hello.sni);
    }
    if !hello.alpn.is_empty() {
        builder = builder.alpn(&hello.alpn.iter().map(String::as_str).collect::<Vec<_>>());
    }
    Ok([header, &builder.build()].concat())
}

fn unique_id() -> [u8; 16] {
    // std's only source of randomness; it has another key each time.
    let [high, low] = [0, 1].map(|half: u8| u128::from(RandomState::new().hash_one(half)));
    (high << 64 | low).to_be_bytes()
}

fn judge(came: &[u8]) -> Option<Answer> {
    match server_hello::read(came) {
        Verdict::Incomplete => None,
        Verdict::ServerHello => Some(Answer::ServerHello),
        Verdict::Alert(code) => Some(Answer::Alert(code)),
        Verdict::NotTls if came.starts_with(b"HTTP/") => {
            let line = came.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
            Some(Answer::Http(String::from_utf8_lossy(line).into_owned()))
        }
        Verdict::NotTls => Some(Answer::Other(came.get(..MAX_SHOWN).unwrap_or(came).to_vec())),
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::Reset,
            ErrorKind::TimedOut => Failure::TimedOut,
            _ => Failure::System(plain(&error)),
        }
    }
}
