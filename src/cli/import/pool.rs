//! The servers of a proxy, their balance and their health checks.
use super::lex::Line;
use super::report::Report;

/// What a health check asks of a server: `option httpchk`, `ssl-hello-chk` and `tcp-check`.
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

const GET: &str = "a health check of type \"http\" always sends GET";
const HOST: &str = "a health check has no fields of its own: its Host is the route's first exact name";

/// The servers that a proxy has itself.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// `server` lines, each with the words of `default-server` that came before it.
    pub(super) servers: Vec<(Line, Vec<String>)>,
    pub(super) source: Option<Line>,
    pub(super) balance: Option<Line>,
    pub(super) ask: Ask,
    /// `http-check` lines that came before `option httpchk`: HAProxy does not mind their order.
    early: Vec<Line>,
}

impl Pool {
    /// Follows an `option` line about checks. False: it is about something else.
    pub(super) fn option(&mut self, line: &Line, report: &mut Report) -> bool {
        match line.word(1) {
            "ssl-hello-chk" => self.ask = Ask::Hello,
            "tcp-check" => self.ask = Ask::Connect,
            "httpchk" => {
                let words = line.rest(2);
                let path = words.iter().find(|word| word.starts_with('/')).cloned();
                self.ask = Ask::Get { path, expect: None };
                let is_get = |word: &String| word == "GET" || word.starts_with('/');
                if !words.first().is_none_or(is_get) {
                    report.lost_line(line, GET);
                }
                if words.len() > 3 || words.iter().any(|word| word.contains("Host")) {
                    report.lost_line(line, HOST);
                }
                for line in std::mem::take(&mut self.early) {
                    self.http_check(&line, report);
                }
            }
            "mysql-check" | "pgsql-check" | "redis-check" | "ldap-check" | "smtpchk" | "external-check"
            | "spop-check" => {
                report.lost_line(line, "the health check only connects: health_check.type \"tcp\"");
            }
            "allbackups" => {
                report.lost(
                    line.number,
                    "option allbackups",
                    "one backup at a time is used: the first of the file that is up",
                );
            }
            _ => return false,
        }
        true
    }

    /// Follows an `http-check` line.
    pub(super) fn http_check(&mut self, line: &Line, report: &mut Report) {
        let Ask::Get { path, expect } = &mut self.ask else { return self.early.push(line.clone()) };
        let value_after = |word: &str| line.words.iter().skip_while(|w| *w != word).nth(1).cloned();
        match (line.word(1), line.word(2)) {
            ("expect", "status" | "rstatus") => {
                let statuses = line.word(3);
                let (lowest, highest) = statuses.split_once('-').unwrap_or((statuses, statuses));
                match (lowest.parse(), highest.parse()) {
                    (Ok(lowest), Ok(highest)) => *expect = Some([lowest, highest]),
                    _ => report.lost_line(line, "health_check.expect is one range: the lowest and the highest status"),
                }
            }
            ("send", _) if value_after("body").is_none() => {
                *path = value_after("uri").or(path.take());
                if value_after("hdr").is_some() {
                    report.lost_line(line, HOST);
                }
                if value_after("meth").is_some_and(|method| method != "GET") {
                    report.lost_line(line, GET);
                }
            }
            ("send-state", _) => {}
            _ => report.lost_line(line, "a health check sends one GET and looks only at the status"),
        }
    }
}
