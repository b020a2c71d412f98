//! One `server` line.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::lex::Line;
use super::output::Server;
use super::report::{NO_EQUIVALENT, Report};
use super::values::time;

/// The settings of a `server` line that here belong to the whole route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfRoute {
    pub(super) proxy_protocol: Option<&'static str>,
    pub(super) proxy_tlvs: Vec<&'static str>,
    pub(super) closes_on_down: bool,
    pub(super) check: Option<Check>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) interval: Duration,
    pub(super) fast_interval: Option<Duration>,
    pub(super) fall: u32,
    pub(super) rise: u32,
    pub(super) port: Option<u16>,
    pub(super) proxy_header: bool,
}

/// Words of a `server` line that need no equivalent; the number is how many words come with them.
const NOTHING: &[(&str, usize)] = &[
    ("cookie", 1),
    ("id", 1),
    ("no-ssl", 0),
    ("tfo", 0),
    ("tcp-ut", 1),
    ("pool-max-conn", 1),
    ("pool-purge-delay", 1),
    ("pool-low-conn", 1),
    ("max-reuse", 1),
    ("maxqueue", 1),
    ("ws", 1),
    ("proto", 1),
    ("init-addr", 1),
    ("resolve-prefer", 1),
    ("resolve-opts", 1),
    ("resolve-net", 1),
    ("verify", 1),
    ("ca-file", 1),
    ("sni", 1),
    ("check-sni", 1),
    ("alpn", 1),
    ("check-alpn", 1),
    ("crt", 1),
    ("verifyhost", 1),
    ("no-check-send-proxy", 0),
    ("log-bufsize", 1),
    ("shard", 1),
    ("guid", 1),
    ("hash-key", 1),
    ("no-verifyhost", 0),
    ("allow-0rtt", 0),
    ("ssl-min-ver", 1),
    ("ssl-max-ver", 1),
    ("force-tlsv12", 0),
    ("force-tlsv13", 0),
    ("error-limit", 1),
    ("check-proto", 1),
    ("ca-verify-file", 1),
    ("crl-file", 1),
    ("ciphers", 1),
    ("ciphersuites", 1),
    ("curves", 1),
    ("sigalgs", 1),
    ("npn", 1),
    ("cc", 1),
    ("idle-ping", 1),
    ("no-tfo", 0),
    ("no-ssl-reuse", 0),
    ("no-tls-tickets", 0),
    ("ssl-reuse", 0),
    ("tls-tickets", 0),
    ("strict-maxconn", 0),
];
const LOST: &[(&str, usize, &str)] = &[
    (
        "ssl",
        0,
        "TLS is passed through: the server must terminate it, or a TLS terminator must stand in front of the server",
    ),
    ("check-ssl", 0, "health_check.type \"tls\" sends a ClientHello"),
    ("slowstart", 1, "a server that comes up gets its whole weight at once"),
    ("track", 1, "each route checks its servers itself"),
    ("observe", 1, "only health checks take a server down; a failed connect is retried on another server"),
    ("agent-check", 0, "agent checks are not supported; the command fiscalismia-lb server changes weights"),
    ("agent-port", 1, "agent checks are not supported"),
    ("agent-inter", 1, "agent checks are not supported"),
    ("agent-addr", 1, "agent checks are not supported"),
    ("agent-send", 1, "agent checks are not supported"),
    ("addr", 1, "a health check goes to the server's own address; only its port can differ: health_check.port"),
    ("resolvers", 1, "host names are not resolved"),
    ("minconn", 1, "the limit does not follow the load: max_connections is fixed"),
    ("namespace", 1, "network namespaces are not supported; \"interface\" names a device to connect through"),
    ("socks4", 1, "SOCKS is not supported; connections to servers are direct"),
    ("downinter", 1, "a server that is down is checked at the same interval as others"),
    ("on-marked-up", 1, "connections to a backup continue until they end"),
    ("redir", 1, "HTTP is not read"),
    ("usesrc", 1, "a server sees the load balancer's address; the PROXY header tells the client's"),
];

/// One `server` line, word by word.
pub(super) struct ServerReader<'a> {
    number: usize,
    what: &'a str,
    pub(super) server: Server,
    of_route: OfRoute,
    checked: bool,
    /// `disabled`: whatever its weight, it gets no new connections.
    disabled: bool,
    pub(super) check: Check,
    /// `check-send-proxy`: send the header although the check has its own port.
    forced_header: bool,
}

impl<'a> ServerReader<'a> {
    pub(super) fn new(address: SocketAddr, line: &Line, what: &'a str) -> ServerReader<'a> {
        let check = Check {
            interval: Duration::from_secs(2),
            fast_interval: None,
            fall: 3,
            rise: 2,
            port: None,
            proxy_header: true,
        };
        let server = Server { name: Some(line.word(1).to_owned()), address: address.to_string(), ..Server::default() };
        ServerReader {
            number: line.number,
            what,
            server,
            of_route: OfRoute::default(),
            checked: false,
            disabled: false,
            check,
            forced_header: false,
        }
    }

    pub(super) fn words(&mut self, words: &[String], report: &mut Report) {
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            let value = after.first().map_or("", String::as_str);
            let used = self.word(word, value, after, report);
            rest = after.get(used..).unwrap_or_default();
        }
    }

    /// Follows one word. Answers how many more it has used.
    fn word(&mut self, word: &str, value: &str, after: &[String], report: &mut Report) -> usize {
        let seconds = |text: &str| time(text).unwrap_or_default();
        match word {
            "check" | "no-check" => self.checked = word == "check",
            "backup" | "no-backup" => self.server.backup = word == "backup",
            "enabled" | "disabled" => self.disabled = word == "disabled",
            "no-send-proxy" | "no-send-proxy-v2" => self.of_route.proxy_protocol = None,
            "send-proxy-v2" | "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => {
                self.of_route.proxy_protocol = Some("v2");
                if word != "send-proxy-v2" {
                    report.lost(
                        self.number,
                        &format!("{} {word}", self.what),
                        "TLS is not terminated, so the PROXY header tells nothing of it",
                    );
                }
            }
            "send-proxy" => self.of_route.proxy_protocol = Some("v1"),
            "check-send-proxy" => self.forced_header = true,
            "weight" => self.server.weight = value.parse().ok().filter(|weight| *weight != 1),
            "maxconn" => self.server.max_connections = value.parse().ok().filter(|most| *most > 0),
            "inter" => self.check.interval = seconds(value),
            "fastinter" => self.check.fast_interval = time(value),
            "fall" => self.check.fall = value.parse().unwrap_or(3),
            "rise" => self.check.rise = value.parse().unwrap_or(2),
            "port" => self.check.port = value.parse().ok(),
            "on-marked-down" => self.of_route.closes_on_down = value == "shutdown-sessions",
            "on-error" => {}
            "proxy-v2-options" => self.tlvs(value, report),
            "source" => return self.source(&[&[word.to_owned()], after].concat(), report),
            _ => return self.other(word, value, report),
        }
        let alone = ["check", "no-check", "backup", "no-backup", "enabled", "disabled", "check-send-proxy"];
        usize::from(!alone.contains(&word) && !word.contains("send-proxy"))
    }

    fn other(&mut self, word: &str, value: &str, report: &mut Report) -> usize {
        if let Some((_, words)) = NOTHING.iter().find(|(name, _)| *name == word) {
            return *words;
        }
        let (words, why) =
            LOST.iter().find(|(name, ..)| *name == word).map_or((0, NO_EQUIVALENT), |(_, words, why)| (*words, *why));
        let value = if words > 0 { format!(" {value}") } else { String::new() };
        report.lost(self.number, &format!("{} {word}{value}", self.what), why);
        words
    }

    fn tlvs(&mut self, options: &str, report: &mut Report) {
        for option in options.split(',') {
            match option {
                "authority" => self.of_route.proxy_tlvs.push("authority"),
                "unique-id" => {
                    self.of_route.proxy_tlvs.push("unique_id");
                    report.note(
                        self.number,
                        &format!("{} proxy-v2-options unique-id", self.what),
                        "the unique id is 16 random bytes",
                    );
                }
                "crc32c" => self.of_route.proxy_tlvs.push("crc32c"),
                _ => {
                    let why = "TLS is not terminated, so this is unknown; \"proxy_tlvs\" can carry \"authority\" and \"alpn\"";
                    report.lost(self.number, &format!("{} proxy-v2-options {option}", self.what), why);
                }
            }
        }
    }

    /// `source ADDRESS [interface NAME]`. Answers how many words after the first belong to it.
    pub(super) fn source(&mut self, words: &[String], report: &mut Report) -> usize {
        let word = |index: usize| words.get(index).map_or("", String::as_str);
        let ip = word(1).rsplit_once(':').filter(|(ip, _)| ip.parse::<IpAddr>().is_ok()).map_or(word(1), |(ip, _)| ip);
        match ip.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => {}
            Ok(ip) => self.server.source = Some(ip.to_string()),
            Err(_) => report.lost(self.number, &format!("{} source {ip}", self.what), "this is not an address"),
        }
        let mut used = 1;
        if word(2) == "interface" {
            self.server.interface = Some(word(3).to_owned());
            used = 3;
        }
        used
    }

    pub(super) fn conclude(mut self, report: &mut Report) -> (Server, OfRoute) {
        // Section 5.2, check-send-proxy: a check with its own port sends no header unless told so.
        let has_header = self.of_route.proxy_protocol.is_some();
        self.check.proxy_header = !has_header || self.check.port.is_none() || self.forced_header;
        self.of_route.check = self.checked.then_some(self.check);
        if self.disabled {
            self.server.weight = Some(0);
            let why = "the server gets weight 0, so no new connections";
            report.note(self.number, &format!("{} disabled", self.what), why);
        }
        if self.server.name.as_deref() == Some(&*self.server.address) {
            self.server.name = None;
        }
        (self.server, self.of_route)
    }
}
