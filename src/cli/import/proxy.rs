//! A frontend, backend or listen section with the settings of its `defaults`.
use super::bound::Bound;
use super::decisions::Decisions;
use super::keywords::{HTTP_ONLY, IDLE_OPTIONS, LOST, NOTHING};
use super::lex::{Environment, Line};
use super::pool::Pool;
use super::report::{NO_EQUIVALENT, Report};
use super::sections::{Kind, Section, settings};
use super::timed::Timed;
use super::values::time;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Tcp,
    Http,
}

/// A proxy as its lines have it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line that is there or not")]
pub(super) struct Proxy {
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) mode: Mode,
    pub(super) serves: bool,
    pub(super) is_backend: bool,
    /// A stats page, metrics or a health check of the proxy itself.
    pub(super) is_admin: bool,
    pub(super) ignores_empty: bool,
    pub(super) bound: Bound,
    pub(super) decisions: Decisions,
    pub(super) stick_table: Option<Line>,
    pub(super) pool: Pool,
    pub(super) timed: Timed,
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
                proxy.pool.servers.push((line.clone(), default_server.clone()));
            } else {
                proxy.follow(line, own, environment, report);
            }
        }
        Some(proxy)
    }

    fn follow(&mut self, line: &Line, own: bool, environment: &Environment, report: &mut Report) {
        let line_of = || line.clone();
        match line.word(0) {
            // Of `no option`, only this one matters. `no log` has no equivalent, as the whole process has one log.
            "no" if line.word(1) == "option" && line.word(2) == "dontlognull" => self.ignores_empty = false,
            "acl" => self.decisions.acls.entry(line.word(1).to_owned()).or_default().push(line_of()),
            "bind" => self.bound.follow(line, environment, report),
            "timeout" | "clitimeout" | "srvtimeout" | "contimeout" => {
                self.timed.follow(line, self.mode == Mode::Tcp, report);
            }
            "retries" => self.timed.retries = line.word(1).parse().ok(),
            "balance" => self.pool.balance = Some(line_of()),
            "source" => self.pool.source = Some(line_of()),
            "stick-table" => self.stick_table = Some(line_of()),
            "use_backend" => self.decisions.use_backend.push(line_of()),
            "default_backend" => self.decisions.default_backend = Some(line_of()),
            "tcp-request" => self.tcp_request(line),
            "stats" if own => {
                self.is_admin = true;
                self.decisions.http_rules.push(line_of());
            }
            "option" => self.option(line, own, report),
            "http-check" => self.pool.http_check(line, report),
            "hash-type" if line.word(1) == "consistent" => {}
            "hash-type" => {
                report.note(line.number, "hash-type", "\"balance\": \"source\" always hashes consistently");
            }
            "log" => {
                report.note_line(line, "the log goes to standard output, which the journal collects");
            }
            // A backend has none of its own, and `defaults` may say it for frontends.
            "maxconn" if self.serves => {
                let why = "only the whole process has a limit: limits.connections";
                if own { report.lost_line(line, why) } else { report.note_line(line, why) }
            }
            "maxconn" | "no" => {}
            word if NOTHING.contains(&word) => {}
            word if HTTP_ONLY.contains(&word) => {
                if self.mode == Mode::Http && own {
                    self.decisions.http_rules.push(line_of());
                }
            }
            word => {
                let why = LOST.iter().find(|(name, _)| *name == word).map_or(NO_EQUIVALENT, |(_, why)| why);
                report.lost_line(line, why);
            }
        }
    }

    fn tcp_request(&mut self, line: &Line) {
        match line.word(1) {
            "inspect-delay" => self.timed.inspect_delay = time(line.word(2)).or(self.timed.inspect_delay),
            "content" => self.decisions.content_rules.push(line.clone()),
            _ => self.decisions.connection_rules.push(line.clone()),
        }
    }

    fn option(&mut self, line: &Line, own: bool, report: &mut Report) {
        if self.pool.option(line, report) {
            return;
        }
        match line.word(1) {
            "dontlognull" => self.ignores_empty = true,
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
                    self.decisions.http_rules.push(line.clone());
                }
            }
            "transparent" => report.lost(line.number, "option transparent", "servers have fixed addresses; write them"),
            "dontlog-normal" => {
                report.lost(
                    line.number,
                    "option dontlog-normal",
                    "log.connections is only \"all\", \"close\" or \"off\"",
                );
            }
            option if IDLE_OPTIONS.contains(&option) => {}
            _ => report.lost_line(line, NO_EQUIVALENT),
        }
    }

    /// Whether clients may come with a PROXY header of a balancer in front.
    pub(super) fn expects_header(&self) -> bool {
        self.bound.binds.iter().any(|bind| bind.accepts_proxy)
            || self.decisions.connection_rules.iter().any(|line| line.word(2) == "expect-proxy")
    }
}
