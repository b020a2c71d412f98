//! A frontend, backend or listen section with the settings of its `defaults`.
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::keywords::{HTTP_ONLY, IDLE_OPTIONS, LOST, NOTHING};
use super::lex::{Environment, Line};
use super::report::Report;
use super::sections::{Kind, Section, settings};
use super::values::{Place, time};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Tcp,
    Http,
}

/// What `option httpchk` and its kin ask of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Ask {
    #[default]
    Connect,
    Hello,
    Get {
        path: Option<String>,
        expect: Option<[u16; 2]>,
    },
}

/// A proxy as its lines have it: what decides about connections is kept as lines, in order.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line that is there or not")]
pub(super) struct Proxy {
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) mode: Mode,
    pub(super) serves: bool,
    pub(super) is_backend: bool,
    pub(super) binds: Vec<Bind>,
    /// `bind` lines of which TLS is opened.
    pub(super) opens_tls: Option<usize>,
    pub(super) acls: HashMap<String, Vec<Line>>,
    /// `tcp-request` rules, then `use_backend` ones, in the order of the file.
    pub(super) connection_rules: Vec<Line>,
    pub(super) content_rules: Vec<Line>,
    pub(super) use_backend: Vec<Line>,
    pub(super) default_backend: Option<Line>,
    pub(super) http_rules: Vec<Line>,
    /// `server` lines, each with the words of `default-server` that came before it.
    pub(super) servers: Vec<(Line, Vec<String>)>,
    pub(super) source: Option<Line>,
    pub(super) balance: Option<Line>,
    pub(super) stick_table: Option<Line>,
    pub(super) timeouts: HashMap<String, Duration>,
    pub(super) retries: Option<u32>,
    pub(super) ask: Ask,
    /// A stats page, metrics or a health check of the proxy itself.
    pub(super) is_admin: bool,
    pub(super) ignores_empty: bool,
    pub(super) inspect_delay: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Bind {
    pub(super) number: usize,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) accepts_proxy: bool,
}

impl Proxy {
    /// The proxy of the section at `index`; `None` where it is disabled.
    pub(super) fn new(
        sections: &[Section],
        index: usize,
        environment: &Environment,
        report: &mut Report,
    ) -> Option<Proxy> {
        let section = sections.get(index)?;
        let settings = settings(sections, index);
        let last = |word: &str| settings.iter().rev().find(|(line, _)| line.word(0) == word);
        if settings.iter().any(|(line, own)| *own && line.word(0) == "disabled") {
            return None;
        }
        let mode = match last("mode").map_or("tcp", |(line, _)| line.word(1)) {
            "http" => Mode::Http,
            _ => Mode::Tcp,
        };
        let mut proxy = Proxy {
            name: section.name().to_owned(),
            number: section.head.number,
            mode,
            serves: section.kind != Kind::Backend,
            is_backend: section.kind != Kind::Frontend,
            ..Proxy::default()
        };
        let mut default_server = Vec::new();
        for (line, own) in settings {
            if line.word(0) == "default-server" {
                default_server.extend(line.rest(1).iter().cloned());
            } else if line.word(0) == "server" {
                proxy.servers.push((line.clone(), default_server.clone()));
            } else {
                proxy.follow(line, own, environment, report);
            }
        }
        Some(proxy)
    }

    fn follow(&mut self, line: &Line, own: bool, environment: &Environment, report: &mut Report) {
        let line_of = || line.clone();
        match line.word(0) {
            // `no option x` takes back what a defaults section has; `no log` is as the log of ours: of the whole process.
            "no" if line.word(1) == "option" && line.word(2) == "dontlognull" => self.ignores_empty = false,
            "acl" => self.acls.entry(line.word(1).to_owned()).or_default().push(line_of()),
            "bind" => self.bind(line, environment, report),
            "timeout" | "clitimeout" | "srvtimeout" | "contimeout" => self.timeout(line, report),
            "retries" => self.retries = line.word(1).parse().ok(),
            "balance" => self.balance = Some(line_of()),
            "source" => self.source = Some(line_of()),
            "stick-table" => self.stick_table = Some(line_of()),
            "use_backend" => self.use_backend.push(line_of()),
            "default_backend" => self.default_backend = Some(line_of()),
            "tcp-request" => self.tcp_request(line),
            "stats" if own => {
                self.is_admin = true;
                self.http_rules.push(line_of());
            }
            "option" => self.option(line, own, report),
            "http-check" => self.http_check(line, report),
            "hash-type" if line.word(1) == "consistent" => {}
            "hash-type" => {
                report.note(line.number, "hash-type", "the hash of \"balance\": \"source\" is consistent always");
            }
            "log" => {
                report.note(line.number, &line.words.join(" "), "the log goes to standard output, so to the journal");
            }
            "maxconn" if own => {
                let why = "the limit is of the whole process: limits.connections";
                report.lost(line.number, &line.words.join(" "), why);
            }
            "maxconn" | "no" => {}
            word if NOTHING.contains(&word) => {}
            word if HTTP_ONLY.contains(&word) => {
                if self.mode == Mode::Http && own {
                    self.http_rules.push(line_of());
                }
            }
            word => {
                let why =
                    LOST.iter().find(|(name, _)| *name == word).map_or("there is nothing like it", |(_, why)| why);
                report.lost(line.number, &line.words.join(" "), why);
            }
        }
    }

    fn timeout(&mut self, line: &Line, report: &mut Report) {
        let (name, value) = match line.word(0) {
            "clitimeout" => ("client", line.word(1)),
            "srvtimeout" => ("server", line.word(1)),
            "contimeout" => ("connect", line.word(1)),
            _ => (line.word(1), line.word(2)),
        };
        match time(value) {
            Some(time) => drop(self.timeouts.insert(name.to_owned(), time)),
            None => report.lost(line.number, &line.words.join(" "), "this is no time"),
        }
        if name == "queue" {
            let why = "a client waits for a server at its limit as long as timeouts.connect says";
            report.note(line.number, &line.words.join(" "), why);
        }
        if name == "tarpit" && self.mode == Mode::Tcp {
            report.note(line.number, "timeout tarpit", "nobody is kept waiting");
        }
    }

    fn tcp_request(&mut self, line: &Line) {
        match line.word(1) {
            "inspect-delay" => self.inspect_delay = time(line.word(2)).or(self.inspect_delay),
            "content" => self.content_rules.push(line.clone()),
            _ => self.connection_rules.push(line.clone()),
        }
    }

    fn option(&mut self, line: &Line, own: bool, report: &mut Report) {
        match line.word(1) {
            "dontlognull" => self.ignores_empty = true,
            "ssl-hello-chk" => self.ask = Ask::Hello,
            "httpchk" => {
                let words = line.rest(2);
                let path = words.iter().find(|word| word.starts_with('/')).cloned();
                self.ask = Ask::Get { path, expect: None };
                if words
                    .first()
                    .is_some_and(|word| !["GET", "HEAD", "OPTIONS"].contains(&word.as_str()) && !word.starts_with('/'))
                {
                    report.lost(line.number, &line.words.join(" "), "a check is a GET");
                }
            }
            "tcp-check" => self.ask = Ask::Connect,
            "forwardfor"
            | "http-server-close"
            | "httpclose"
            | "http-keep-alive"
            | "forceclose"
            | "http-use-htx"
            | "http-buffer-request"
            | "accept-invalid-http-request"
            | "http-pretend-keepalive"
            | "http-no-delay"
            | "httpslog"
            | "http-use-proxy-header"
            | "originalto"
            | "checkcache"
            | "http-restrict-req-hdr-names" => {
                if own && self.mode == Mode::Http && self.serves {
                    self.http_rules.push(line.clone());
                }
            }
            "mysql-check" | "pgsql-check" | "redis-check" | "ldap-check" | "smtpchk" | "external-check"
            | "spop-check" => {
                report.lost(line.number, &line.words.join(" "), "the check only connects: health_check.type \"tcp\"");
            }
            "allbackups" => {
                report.lost(line.number, "option allbackups", "backups share by weight once no other server is up");
            }
            "transparent" => report.lost(line.number, "option transparent", "write the servers' addresses"),
            "dontlog-normal" => {
                report.lost(line.number, "option dontlog-normal", "log.connections is \"all\", \"close\" or \"off\"");
            }
            option if IDLE_OPTIONS.contains(&option) => {}
            _ => report.lost(line.number, &line.words.join(" "), "there is nothing like it"),
        }
    }

    fn http_check(&mut self, line: &Line, report: &mut Report) {
        let Ask::Get { path, expect } = &mut self.ask else { return };
        let value_after = |word: &str| line.words.iter().skip_while(|w| *w != word).nth(1).cloned();
        match (line.word(1), line.word(2)) {
            ("expect", "status" | "rstatus") => {
                let statuses = line.word(3);
                let (lowest, highest) = statuses.split_once('-').unwrap_or((statuses, statuses));
                match (lowest.parse(), highest.parse()) {
                    (Ok(lowest), Ok(highest)) => *expect = Some([lowest, highest]),
                    _ => report.lost(
                        line.number,
                        &line.words.join(" "),
                        "health_check.expect is a lowest and a highest status",
                    ),
                }
            }
            ("send", _) if value_after("body").is_none() => *path = value_after("uri").or(path.take()),
            ("disable-on-404" | "send-state", _) => {}
            _ => report.lost(line.number, &line.words.join(" "), "a check is one GET and its status"),
        }
    }

    fn bind(&mut self, line: &Line, environment: &Environment, report: &mut Report) {
        let options = line.rest(2);
        let has = |word: &str| options.iter().any(|option| option == word);
        if has("ssl") {
            self.opens_tls.get_or_insert(line.number);
        }
        for (word, why) in [
            ("interface", "a listener has no device; write an address of that device"),
            ("namespace", "there are no namespaces; start a process in it"),
            ("transparent", "only addresses of this machine are listened on"),
            ("maxconn", "the limit is of the whole process: limits.connections"),
            ("accept-netscaler-cip", "of headers, PROXY version 1 and 2 are read: accept_proxy.from"),
            ("mptcp", "only TCP is taken"),
        ] {
            if has(word) {
                report.lost(line.number, &format!("bind {} {word}", line.word(1)), why);
            }
        }
        let mut addresses = Vec::new();
        for word in line.word(1).split(',').filter(|word| !word.is_empty()) {
            match Place::read(word, environment) {
                Ok(place) if place.ports.is_some() => addresses.extend(place.addresses()),
                Ok(_) => report.lost(line.number, &format!("bind {word}"), "it has no port"),
                Err(why) => report.lost(line.number, &format!("bind {word}"), &why),
            }
        }
        if !has("v6only") {
            self.add_both_families(&mut addresses);
        }
        let accepts_proxy = has("accept-proxy");
        self.binds.push(Bind { number: line.number, addresses, accepts_proxy });
    }

    /// `[::]` without `v6only` takes IPv4 too, where nothing else of the proxy does.
    fn add_both_families(&self, addresses: &mut Vec<SocketAddr>) {
        let mut both = Vec::new();
        for address in addresses.iter() {
            both.push(*address);
            let v4 = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), address.port());
            let taken =
                || self.binds.iter().flat_map(|bind| &bind.addresses).chain(addresses.iter()).any(|other| *other == v4);
            if address.is_ipv6() && address.ip().is_unspecified() && !taken() {
                both.push(v4);
            }
        }
        *addresses = both;
    }

    /// Whether its lines may ask for Host or path, which mode tcp can too once it has waited for a request.
    pub(super) fn asks_for_requests(&self) -> bool {
        let lines = self.acls.values().flatten().chain(&self.use_backend);
        let mut words = lines.flat_map(|line| &line.words);
        words.any(|word| word.contains("hdr") || word.starts_with("path"))
    }

    /// Whether clients may come with a PROXY header of a balancer in front.
    pub(super) fn expects_header(&self) -> bool {
        self.binds.iter().any(|bind| bind.accepts_proxy)
            || self.connection_rules.iter().any(|line| line.word(2) == "expect-proxy")
    }

    /// The addresses of all its `bind` lines, each once.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut seen = HashSet::new();
        let all = self.binds.iter().flat_map(|bind| &bind.addresses).copied();
        all.filter(|address| seen.insert(*address)).collect()
    }
}
