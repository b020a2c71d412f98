//! The commands that end by themselves. Each answers with the lines for stderr where it failed.
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::{Duration, Instant};

use fiscalismia_lb::config::{self, Balance, Config, Reject, Route, Server, SniPattern, count};
use fiscalismia_lb::policy::routes::{Match, NameMatch, RouteTable};
use rustix::process::{Resource, getrlimit};

/// What `health` waits for an answer, from the first byte to the last.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
const STATUS_LINE_MAX: usize = 1024;
/// The longest name that a hello may hold; one trailing dot comes on top.
const SNI_MAX: usize = 253;

type Outcome = Result<(), Vec<String>>;

/// `check`: one line about the file, then a line for each warning.
pub(crate) fn check(path: &Path) -> Outcome {
    let config = load(path)?;
    let mut text = format!(
        "{}: ok, {}, {}, {}\n",
        path.display(),
        count(config.routes.len(), "route"),
        count(config.server_count(), "server"),
        count(config.listen.len(), "listener"),
    );
    let fd_limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    for warning in config::warnings(&config, fd_limit) {
        let _ = writeln!(text, "{}: warning: {warning}", path.display());
    }
    print(&text)
}

/// `route`: the route of a hello, its servers, and why.
pub(crate) fn route(path: &Path, sni: &str, alpn: &[String]) -> Outcome {
    let config = load(path)?;
    let offered = alpn.iter().map(String::as_bytes);
    let found = RouteTable::new(&config.routes).find((!sni.is_empty()).then_some(sni.as_bytes()), offered);
    let found = found.and_then(|found| Some((config.routes.get(found.route)?, found)));
    print(&match found {
        Some((route, found)) => explain(route, found, sni),
        None => explain_none(&config, sni, alpn),
    })
}

fn explain(route: &Route, found: Match, sni: &str) -> String {
    let sni = sni.strip_suffix('.').unwrap_or(sni).to_ascii_lowercase();
    let mut why = match found.name {
        NameMatch::Exact => format!("exact name {sni}"),
        NameMatch::Wildcard => format!("wildcard *.{}", sni.split_once('.').map_or("", |(_, parent)| parent)),
        NameMatch::Subdomains => format!("wildcard {}, the longest that fits", longest(route, &sni)),
        NameMatch::Default => "default *, as no route has the name".to_owned(),
    };
    if let Some(protocol) = found.alpn.and_then(|position| route.alpn.get(position)) {
        let _ = write!(why, ", ALPN {protocol}");
    }
    let balance = match route.balance {
        Balance::RoundRobin => "round_robin",
        Balance::LeastConnections => "least_connections",
        Balance::Source => "source",
    };
    let servers: String = route.servers.iter().map(server_line).collect();
    format!("route {}: {why}\nbalance {balance} over {}\n{servers}", route.name, count(route.servers.len(), "server"))
}

/// The longest of the route's `**` names that this name is below.
fn longest(route: &Route, sni: &str) -> String {
    let below = |parent: &str| sni.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
    let fit = route.sni.iter().filter(|name| matches!(name, SniPattern::Subdomains(parent) if below(parent)));
    fit.map(ToString::to_string).max_by_key(String::len).unwrap_or_default()
}

fn server_line(server: &Server) -> String {
    let backup = if server.backup { ", backup" } else { "" };
    let name = if *server.name == *server.address.to_string() { String::new() } else { format!("{} ", server.name) };
    format!("  {name}{}, weight {}{backup}\n", server.address, server.weight)
}

fn explain_none(config: &Config, sni: &str, alpn: &[String]) -> String {
    let hello = if sni.is_empty() { "a hello without a name".to_owned() } else { format!("{sni:?}") };
    let offer = if alpn.is_empty() { String::new() } else { format!(" with ALPN {}", alpn.join(", ")) };
    let reject = match config.reject {
        Reject::Drop => "drop: no FIN or RST gets beyond the client's first router",
        Reject::Alert => "alert: the client gets the TLS alert unrecognized_name",
        Reject::Close => "close: the connection is closed",
    };
    format!("no route: none takes {hello}{offer}, and none with \"*\" does\nreject {reject}\n")
}

/// Refuses what no hello could ask for.
pub(crate) fn sni(text: &str) -> Result<String, String> {
    let length = text.strip_suffix('.').unwrap_or(text).len();
    if length > SNI_MAX {
        return Err(format!("a name has at most {SNI_MAX} bytes, not {length}"));
    }
    if text == "." {
        return Err("a name is more than a dot".to_owned());
    }
    if !text.is_ascii() {
        return Err("this is not as TLS sends it; write its ASCII form, which starts with \"xn--\"".to_owned());
    }
    Ok(text.to_owned())
}

/// An `http://` URL.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    text: String,
    /// With its port, also where the URL has none.
    authority: String,
    target: String,
}

impl Url {
    /// Reads a URL; the error is for the command line.
    pub(crate) fn parse(text: &str) -> Result<Url, String> {
        let rest = text.strip_prefix("http://").ok_or("only http:// is asked")?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err("this is no URL like http://127.0.0.1:8404/health".to_owned());
        }
        let after_ip = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
        let port = match after_ip.split_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => "",
            Some((_, port)) => return Err(format!("{port:?} is no port")),
            None => ":80",
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url { text: text.to_owned(), authority: format!("{authority}{port}"), target: format!("{slash}{target}") })
    }
}

/// `health`: fine if the answer to a GET is 200.
pub(crate) fn health(url: &Url) -> Outcome {
    let fail = |what: String| Err(vec![format!("{}: {what}", url.text)]);
    match status_line(url) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => print(&format!("{}: {line}\n", url.text)),
        Ok(line) => fail(format!("answered {line:?}, not 200")),
        Err(error) => fail(error.to_string()),
    }
}

fn status_line(url: &Url) -> io::Result<String> {
    let until = Instant::now() + HEALTH_TIMEOUT;
    let mut stream = connect(&url.authority, until)?;
    stream.set_write_timeout(Some(left(until)?))?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.target, url.authority);
    stream.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    while line.len() < STATUS_LINE_MAX && !line.contains(&b'\n') {
        // Anew for each read, or who sends a byte now and then would be waited for as long as it likes.
        stream.set_read_timeout(Some(left(until)?))?;
        let mut room = [0; STATUS_LINE_MAX];
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

/// The first of the host's addresses that takes a connection: a name like localhost may have one that does not.
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

/// What is left until then, which is not nothing.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_late()) } else { Ok(left) }
}

fn too_late() -> io::Error {
    io::Error::other(format!("no answer within {} seconds", HEALTH_TIMEOUT.as_secs()))
}

fn load(path: &Path) -> Result<Config, Vec<String>> {
    config::load(path).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// Not `println!`, which panics when the reader has gone.
fn print(text: &str) -> Outcome {
    io::stdout().write_all(text.as_bytes()).map_err(|error| vec![format!("cannot write to stdout: {error}")])
}
