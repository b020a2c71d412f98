//! `health`: succeeds if a GET is answered with 200.
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use clap::Args;
use fiscalismia_lb::config::plain;

use super::{Outcome, print};

/// Time for the whole answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_STATUS_LINE: usize = 1024;

/// GET a URL and exit with 0 if the answer is 200: for container health checks
#[derive(Args)]
pub(super) struct Health {
    /// The URL, over plain HTTP
    #[arg(default_value = "http://127.0.0.1:8404/health", value_parser = Url::parse)]
    url: Url,
}

/// An `http://` URL.
#[derive(Clone, Debug)]
struct Url {
    text: String,
    /// Always with a port.
    authority: String,
    target: String,
}

impl Url {
    /// Parses a URL. The error is for the command line.
    fn parse(text: &str) -> Result<Url, String> {
        let rest = text.strip_prefix("http://").ok_or("only http:// URLs are supported")?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err("this is not a URL like http://127.0.0.1:8404/health".to_owned());
        }
        let after_ip = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
        let port = match after_ip.split_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => "",
            Some((_, port)) => return Err(format!("{port:?} is not a port")),
            None => ":80",
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url { text: text.to_owned(), authority: format!("{authority}{port}"), target: format!("{slash}{target}") })
    }
}

impl Health {
    pub(super) fn run(self) -> Outcome {
        let url = &self.url;
        let fail = |what: String| Err(vec![format!("{}: {what}", url.text)]);
        match status_line(url) {
            Ok(line) if line.split(' ').nth(1) == Some("200") => print(&format!("{}: {line}\n", url.text)),
            Ok(line) => fail(format!("answered {line:?}, not 200")),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fail(format!(
                "nothing listens there; write {:?} under admin.listen, or name another URL",
                url.authority
            )),
            Err(error) => fail(plain(&error)),
        }
    }
}

fn status_line(url: &Url) -> io::Result<String> {
    let until = Instant::now() + HEALTH_TIMEOUT;
    let mut stream = connect(&url.authority, until)?;
    stream.set_write_timeout(Some(left(until)?))?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.target, url.authority);
    stream.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    while line.len() < MAX_STATUS_LINE && !line.contains(&b'\n') {
        // Set again for each read, so that an endpoint that drips bytes cannot hold this up.
        stream.set_read_timeout(Some(left(until)?))?;
        let mut room = [0; MAX_STATUS_LINE];
        match stream.read(&mut room) {
            Ok(0) => break,
            Ok(n) => line.extend_from_slice(room.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(error) => return Err(error),
        }
    }
    let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let line = line.trim_end();
    if !line.starts_with("HTTP/1.") {
        return Err(io::Error::other(format!("answered {line:?}, which is not HTTP")));
    }
    Ok(line.to_owned())
}

/// Connects to the first of the host's addresses that accepts: a name like localhost may have one that does not.
fn connect(authority: &str, until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = too_late(),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time until then; an error if there is none.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_late()) } else { Ok(left) }
}

fn too_late() -> io::Error {
    io::Error::other(format!("no answer within {} seconds", HEALTH_TIMEOUT.as_secs()))
}
