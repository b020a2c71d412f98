//! `try`: does for each server of a route what the proxy would, and says what came back.
mod attempt;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use attempt::{Answer, Attempt, Failure, Hello, attempt};
use clap::Args;
use fiscalismia_lb::config::{File, ProxyProtocol, Route, Server, count};
use fiscalismia_lb::policy::routes::RouteTable;

use super::route::{self, sni};
use super::{ConfigFile, Outcome, load, print};

/// Do for each server of a route what the proxy would, and say what came back
///
/// Connects, sends the PROXY header of the route and a hello for the name, and waits for the server's first bytes. No request
/// follows. A server that does not answer in TLS is asked once more with another header, or none: a header on one side only is
/// the commonest mistake. Exits with 1 when a server does not answer as it should.
#[derive(Args)]
pub(super) struct Try {
    #[command(flatten)]
    file: ConfigFile,
    /// The name that the hello asks for; "" for a hello without one
    #[arg(value_name = "NAME", value_parser = sni)]
    sni: String,
    /// A protocol that the hello offers; several in the client's order
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// The port where the hello comes in, for routes with a "listen" of their own
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

impl Try {
    pub(super) fn run(self) -> Outcome {
        let File { config, .. } = load(&self.file.config)?;
        let name = self.sni.strip_suffix('.').unwrap_or(&self.sni);
        let (listen, owner) = route::frontend(&config, self.port)?;
        if let Some(owner) = owner.filter(|owner| owner.sni.is_empty()) {
            return Err(vec![format!(
                "route {} takes all that comes to its own listen, and a hello is nothing to its servers",
                owner.name
            )]);
        }
        let table = RouteTable::new(&config.routes, listen);
        let found = table.find((!name.is_empty()).then_some(name.as_bytes()), self.alpn.iter().map(String::as_bytes));
        let Some(route) = found.and_then(|found| config.routes.get(found.route)) else {
            return Err(vec![route::explain_none(&config, name, &self.alpn).trim_end().to_owned()]);
        };
        let hello = Hello { sni: name, alpn: &self.alpn };
        print(&format!(
            "route {}: {}, {}\n",
            route.name,
            count(route.servers.len(), "server"),
            header_words(route.proxy_header.protocol)
        ))?;
        let mut failed = 0;
        for server in &route.servers {
            let (line, is_good) = try_server(route, server, &hello);
            failed += usize::from(!is_good);
            print(&line)?;
        }
        match failed {
            0 => Ok(()),
            _ => Err(vec![format!("{failed} of {} did not answer as it should", count(route.servers.len(), "server"))]),
        }
    }
}

/// A line about a server, and whether all is well with it.
fn try_server(route: &Route, server: &Server, hello: &Hello<'_>) -> (String, bool) {
    let name = if *server.name == *server.address.to_string() { String::new() } else { format!("{} ", server.name) };
    let mut line = format!("  {name}{}: ", server.address);
    let attempted = attempt(route, server, route.proxy_header.protocol, hello);
    let is_good = matches!(&attempted, Attempt { answer: Ok(Answer::ServerHello), .. });
    line += &words(&attempted, server.address, route);
    if is_about_the_header(&attempted)
        && let Some(other) =
            others(route.proxy_header.protocol).into_iter().find(|other| is_answered(route, server, *other, hello))
    {
        let _ = write!(line, "\n    {}", remedy(route, other));
    }
    line.push('\n');
    (line, is_good)
}

fn words(attempted: &Attempt, address: SocketAddr, route: &Route) -> String {
    let Attempt { answer, connected, took } = attempted;
    match answer {
        Ok(Answer::ServerHello) => format!("ok, ServerHello in {}", milliseconds(*took)),
        Ok(Answer::Alert(code)) => format!("TLS alert {code}{}", alert_words(*code)),
        Ok(Answer::Http(line)) => format!("answers {line:?} in plain text, so it takes what it gets for HTTP"),
        Ok(Answer::Other(bytes)) => format!("answers no TLS: \"{}\"", bytes.escape_ascii()),
        Ok(Answer::End) => format!("closed the connection without a word, after {}", sent_words(route)),
        Err(Failure::Reset) if connected.is_some() => format!("reset the connection, after {}", sent_words(route)),
        Err(Failure::TimedOut) if connected.is_some() => {
            format!("no answer within {}, after {}", seconds(attempt::ANSWER_TIMEOUT), sent_words(route))
        }
        Err(Failure::TimedOut) => {
            format!(
                "no connection within {}; is the address right, does a firewall drop it?",
                seconds(route.timeouts.connect)
            )
        }
        Err(Failure::Refused) => format!("connection refused: nothing listens on port {} there", address.port()),
        Err(Failure::Reset) => "reset while connecting".to_owned(),
        Err(Failure::System(error)) => error.clone(),
    }
}

/// What the server has got before it did that.
fn sent_words(route: &Route) -> &'static str {
    match route.proxy_header.protocol {
        ProxyProtocol::Off => "the hello",
        ProxyProtocol::V1 | ProxyProtocol::V2 => "the header and the hello",
    }
}

/// Whether this is how servers behave that expect a header and get none, or get one that they do not expect.
fn is_about_the_header(attempted: &Attempt) -> bool {
    const DECODE_ERROR: u8 = 50;
    const UNEXPECTED_MESSAGE: u8 = 10;
    const PROTOCOL_VERSION: u8 = 70;
    match &attempted.answer {
        Ok(Answer::ServerHello) => false,
        Ok(Answer::Alert(code)) => [UNEXPECTED_MESSAGE, DECODE_ERROR, PROTOCOL_VERSION].contains(code),
        Ok(_) => true,
        Err(_) => attempted.connected.is_some(),
    }
}

fn others(protocol: ProxyProtocol) -> Vec<ProxyProtocol> {
    let all = [ProxyProtocol::Off, ProxyProtocol::V2, ProxyProtocol::V1];
    all.into_iter().filter(|other| *other != protocol).collect()
}

fn is_answered(route: &Route, server: &Server, protocol: ProxyProtocol, hello: &Hello<'_>) -> bool {
    // A server that knows the name not at all has understood it.
    matches!(attempt(route, server, protocol, hello).answer, Ok(Answer::ServerHello | Answer::Alert(112)))
}

fn remedy(route: &Route, works: ProxyProtocol) -> String {
    let word = match works {
        ProxyProtocol::Off => "off",
        ProxyProtocol::V1 => "v1",
        ProxyProtocol::V2 => "v2",
    };
    let with = header_words(works);
    let (name, now) = (&route.name, header_words(route.proxy_header.protocol));
    format!(
        "with {with} it answers: write \"proxy_protocol\": \"{word}\" for routes.{name}, or have the server expect {now}"
    )
}

fn header_words(protocol: ProxyProtocol) -> &'static str {
    match protocol {
        ProxyProtocol::Off => "no PROXY header",
        ProxyProtocol::V1 => "a PROXY v1 header",
        ProxyProtocol::V2 => "a PROXY v2 header",
    }
}

/// The alerts that answer a hello (RFC 8446 section 6.2, RFC 7301 section 3.2).
fn alert_words(code: u8) -> &'static str {
    match code {
        10 => " (unexpected_message): it takes what it gets for no hello",
        40 => " (handshake_failure): it has nothing in common with this hello",
        49 => " (access_denied)",
        50 => " (decode_error): it takes what it gets for no hello",
        70 => " (protocol_version): it speaks neither TLS 1.3 nor 1.2",
        80 => " (internal_error): it is in trouble itself",
        112 => " (unrecognized_name): it does not know the name",
        116 => " (certificate_required)",
        120 => " (no_application_protocol): it speaks none of the protocols that are offered",
        _ => "",
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis().max(1))
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
