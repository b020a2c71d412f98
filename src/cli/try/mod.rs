//! `try`: connects to each server of a route as the proxy does, and shows the answer.
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

/// Connect to each server of a route as the proxy does, and show its answer
///
/// Connects, sends the PROXY header of the route and a hello for the name, and waits for the server's first bytes. No
/// request follows. A server that does not answer in TLS is tried again with another header, or none: a header on one
/// side only is the commonest mistake. Exits with 1 when a server does not answer as it should.
#[derive(Args)]
pub(super) struct Try {
    #[command(flatten)]
    file: ConfigFile,
    /// The SNI of the hello; "" for a hello without SNI
    #[arg(value_name = "NAME", value_parser = sni)]
    sni: String,
    /// An ALPN protocol that the hello offers; repeat it in the client's order
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// The port that the client connects to, for routes with their own "listen"
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
                "route {} takes every client at its own listen, so its servers expect no hello",
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
            _ => Err(vec![format!(
                "{failed} of {} did not answer with a ServerHello",
                count(route.servers.len(), "server")
            )]),
        }
    }
}

/// A line about a server, and whether it answered with a ServerHello.
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
        Ok(Answer::Http(line)) => format!("answers {line:?} in plain text, so it expects HTTP"),
        Ok(Answer::Other(bytes)) => format!("answers with bytes that are not TLS: \"{}\"", bytes.escape_ascii()),
        Ok(Answer::End) => format!("closed the connection without an answer, after {}", sent_words(route)),
        Err(Failure::Reset) if connected.is_some() => format!("reset the connection, after {}", sent_words(route)),
        Err(Failure::TimedOut) if connected.is_some() => {
            format!("no answer within {}, after {}", seconds(attempt::ANSWER_TIMEOUT), sent_words(route))
        }
        Err(Failure::TimedOut) => {
            format!(
                "no connection within {}; check the address, and whether a firewall drops the packets",
                seconds(route.timeouts.connect)
            )
        }
        Err(Failure::Refused) => format!("connection refused: nothing listens on port {} there", address.port()),
        Err(Failure::Reset) => "reset while connecting".to_owned(),
        Err(Failure::System(error)) => error.clone(),
    }
}

/// What the server got before.
fn sent_words(route: &Route) -> &'static str {
    match route.proxy_header.protocol {
        ProxyProtocol::Off => "the hello",
        ProxyProtocol::V1 | ProxyProtocol::V2 => "the header and the hello",
    }
}

/// Whether a server behaves like this that expects a header and gets none, or gets one that it does not expect.
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
    // A server that does not know the name has understood the hello.
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
        10 => " (unexpected_message): it did not understand the hello",
        40 => " (handshake_failure): it has no cipher suite or group in common with the hello",
        49 => " (access_denied)",
        50 => " (decode_error): it did not understand the hello",
        70 => " (protocol_version): it speaks neither TLS 1.3 nor 1.2",
        80 => " (internal_error): an error of the server's own",
        112 => " (unrecognized_name): it does not know the name",
        116 => " (certificate_required)",
        120 => " (no_application_protocol): it speaks none of the offered protocols",
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
