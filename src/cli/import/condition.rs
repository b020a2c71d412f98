//! Conditions: named and anonymous ACLs (section 7 of the manual), as far as a hello can answer them.
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use fiscalismia_lb::config::SniPattern;

use super::lex::Line;
use super::names::{Method, NameSet, names};
use super::networks::{Networks, network};
use super::report::Report;
use super::values::{entries, read_beside};

/// One comparison.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// The hello's name is one of these.
    Names(NameSet),
    /// The hello has a name.
    HasName,
    /// The hello offers one of these protocols.
    Alpn(Vec<String>),
    /// The client sends a hello.
    Hello,
    /// Holds for every client, or for none.
    Always(bool),
    /// The request's Host is one of these.
    Host(NameSet),
    /// The client's address is one of these.
    Source(Networks),
    /// The client's address has more connections than `most`.
    Rate { what: Counter, table: Option<String>, most: u32 },
    /// The request's path begins with one of these.
    Path(Vec<String>),
    /// A comparison that cannot be evaluated here, and why.
    Unknown(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    NewConnections,
    OpenConnections,
}

/// What is known of a client, and of its hello or request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'a> {
    pub(super) source: Option<IpAddr>,
    pub(super) name: Option<&'a str>,
    pub(super) alpn: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    pub(super) is_no_tls: bool,
}

/// `if` or `unless` with its ACLs: one of `any`, of which all terms hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    pub(super) unless: bool,
    pub(super) any: Vec<Vec<Term>>,
}

#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) negated: bool,
    /// One of these holds.
    pub(super) tests: Vec<Test>,
}

impl Test {
    fn holds(&self, subject: Subject<'_>) -> bool {
        let is_one = |name: Option<&str>, names: &NameSet| name.is_some_and(|name| names.find(name).is_some());
        match self {
            Test::Names(names) => is_one(subject.name, names),
            Test::Host(names) => is_one(subject.host, names),
            Test::HasName => subject.name.is_some(),
            Test::Alpn(protocols) => subject.alpn.is_some_and(|alpn| protocols.iter().any(|protocol| protocol == alpn)),
            Test::Hello => !subject.is_no_tls,
            Test::Always(always) => *always,
            Test::Path(paths) => subject.path.is_some_and(|path| paths.iter().any(|start| path.starts_with(start))),
            Test::Source(networks) => subject.source.is_some_and(|address| networks.contains(address)),
            Test::Rate { .. } | Test::Unknown(_) => false,
        }
    }
}

impl Condition {
    /// Whether it holds for such a hello.
    pub(super) fn holds(&self, subject: Subject<'_>) -> bool {
        let term = |term: &Term| term.tests.iter().any(|test| test.holds(subject)) != term.negated;
        self.any.iter().any(|all| all.iter().all(term)) != self.unless
    }

    pub(super) fn tests(&self) -> impl Iterator<Item = &Test> {
        self.any.iter().flatten().flat_map(|term| &term.tests)
    }

    /// The names of which the hello must have one for the condition to hold; `None`: it may hold for any name.
    pub(super) fn names(&self) -> Option<Vec<&NameSet>> {
        fn of_term(term: &Term) -> Option<Vec<&NameSet>> {
            let names = term.tests.iter().filter_map(|test| match test {
                Test::Names(names) | Test::Host(names) => Some(names),
                _ => None,
            });
            let names: Vec<&NameSet> = names.collect();
            (names.len() == term.tests.len()).then_some(names)
        }
        fn of_all(terms: &[Term]) -> Option<Vec<&NameSet>> {
            terms.iter().filter(|term| !term.negated).find_map(of_term)
        }
        let sets: Option<Vec<_>> = self.any.iter().map(|terms| of_all(terms)).collect();
        sets.filter(|_| !self.unless).map(|sets| sets.concat())
    }

    /// Why the condition cannot be evaluated here, if so.
    pub(super) fn obstacle(&self) -> Option<String> {
        self.tests().find_map(|test| match test {
            Test::Unknown(why) => Some(why.clone()),
            Test::Rate { .. } => Some("limits.per_source applies to all routes alike".to_owned()),
            _ => None,
        })
    }

    /// Whether the condition depends on the client's address alone.
    pub(super) fn is_by_source(&self) -> bool {
        self.tests().all(|test| matches!(test, Test::Source(_) | Test::Always(_)))
    }

    /// The clients for which it holds, where [`Condition::is_by_source`].
    pub(super) fn sources(&self) -> Networks {
        let of_test = |test: &Test| match test {
            Test::Source(networks) => networks.clone(),
            Test::Always(true) => Networks::all(),
            _ => Networks::none(),
        };
        let of_term = |term: &Term| {
            let all = term.tests.iter().map(of_test).fold(Networks::none(), |all, one| all.or(&one));
            if term.negated { all.not() } else { all }
        };
        let of_all = |terms: &Vec<Term>| terms.iter().map(of_term).fold(Networks::all(), |all, one| all.and(&one));
        let any = self.any.iter().map(of_all).fold(Networks::none(), |all, one| all.or(&one));
        if self.unless { any.not() } else { any }
    }
}

/// Reads conditions of one proxy.
pub(super) struct Reader<'a> {
    pub(super) configuration: &'a Path,
    pub(super) report: &'a mut Report,
    /// The words after the name of each named ACL; lines of one name belong together.
    pub(super) acls: HashMap<String, Vec<Line>>,
}

impl Reader<'_> {
    /// The condition that begins at the word `at` of a rule; none there: always.
    pub(super) fn condition(&mut self, line: &Line, at: usize) -> Condition {
        let always = Term { negated: false, tests: vec![Test::Always(true)] };
        let unless = match line.word(at) {
            "if" => false,
            "unless" => true,
            _ => return Condition { unless: false, any: vec![vec![always]] },
        };
        let mut any = vec![Vec::new()];
        let mut words = line.rest(at + 1).iter();
        while let Some(word) = words.next() {
            if word == "or" || word == "||" {
                any.push(Vec::new());
                continue;
            }
            let name = word.trim_start_matches('!');
            let mut negated = (word.len() - name.len()) % 2 == 1;
            let name = if name.is_empty() {
                // A ! that stands alone.
                let next = words.next().map_or("", String::as_str);
                negated ^= (next.len() - next.trim_start_matches('!').len()) % 2 == 1;
                next.trim_start_matches('!')
            } else {
                name
            };
            let tests = if name == "{" {
                let inside: Vec<String> = words.by_ref().take_while(|word| *word != "}").cloned().collect();
                vec![self.test(line.number, &inside)]
            } else {
                self.named(line.number, name)
            };
            if let Some(all) = any.last_mut() {
                all.push(Term { negated, tests });
            }
        }
        Condition { unless, any }
    }

    fn named(&mut self, number: usize, name: &str) -> Vec<Test> {
        if let Some(lines) = self.acls.get(name).cloned() {
            return lines.iter().map(|line| self.test(line.number, line.rest(2))).collect();
        }
        let built_in: &[&str] = match name {
            "TRUE" | "WAIT_END" | "REQ_CONTENT" => return vec![Test::Always(true)],
            "FALSE" | "HTTP" | "HTTP_1.0" | "HTTP_1.1" | "HTTP_2.0" | "RDP_COOKIE" => return vec![Test::Always(false)],
            "LOCALHOST" => &["src", "127.0.0.1/8", "::1"],
            _ => return vec![Test::Unknown(format!("no acl {name:?} is defined"))],
        };
        let words: Vec<String> = built_in.iter().map(|&word| word.to_owned()).collect();
        vec![self.test(number, &words)]
    }

    /// One comparison: what is fetched, flags, values.
    fn test(&mut self, number: usize, words: &[String]) -> Test {
        let Some((fetched, rest)) = words.split_first() else {
            return Test::Unknown("the condition is empty".to_owned());
        };
        let mut arguments = match Arguments::read(rest, self.configuration) {
            Ok(arguments) => arguments,
            Err(why) => return Test::Unknown(why),
        };
        let (fetched, converters) = fetched.split_once(',').unwrap_or((fetched, ""));
        let (fetch, argument) = fetched.split_once('(').unwrap_or((fetched, ""));
        let argument = argument.trim_end_matches(')');
        let only_case = converters.is_empty() || converters == "lower" || converters == "upper";
        arguments.any_case |= !converters.is_empty();
        match fetch {
            "req.ssl_sni" | "req_ssl_sni" | "hdr" | "req.hdr" | "req_hdr" | "hdr_dom" | "hdr_end" if only_case => {
                let is_host = fetch.contains("hdr");
                if is_host && !argument.to_ascii_lowercase().starts_with("host") {
                    return Test::Unknown("of a request, only Host and path can be compared".to_owned());
                }
                match fetch {
                    "hdr_dom" => arguments.method = Some(Method::Domain),
                    "hdr_end" => arguments.method = Some(Method::End),
                    _ => {}
                }
                match self.names(number, &arguments) {
                    Test::Names(names) if is_host => Test::Host(names),
                    // A request without one is answered with 400.
                    Test::HasName if is_host => Test::Always(true),
                    test => test,
                }
            }
            "path_beg" => Test::Path(arguments.values),
            "path_reg" => beginnings(&arguments.values),
            "path" if arguments.method == Some(Method::Regex) => beginnings(&arguments.values),
            "path" if arguments.method == Some(Method::Beginning) => Test::Path(arguments.values),
            "req.ssl_alpn" if only_case && matches!(arguments.method, None | Some(Method::Whole | Method::Part)) => {
                Test::Alpn(arguments.values)
            }
            "req.ssl_hello_type" | "req_ssl_hello_type" if arguments.values == ["1"] => Test::Hello,
            "req.len" | "req_len" => Test::Always(arguments.values.first().is_some_and(|first| first != "0")),
            // Of a version only "whatever it is" can be asked for.
            "req.ssl_ver" | "req_ssl_ver"
                if ["gt", "ge"].contains(&arguments.values.first().map_or("", String::as_str)) =>
            {
                Test::Hello
            }
            "always_true" => Test::Always(true),
            "always_false" | "req.proto_http" | "req_proto_http" | "ssl_fc" => Test::Always(false),
            "src" => match arguments.values.iter().map(|value| network(value)).collect() {
                Ok(networks) => Test::Source(networks),
                Err(why) => Test::Unknown(why),
            },
            _ => rate(fetch, argument, &arguments.values).unwrap_or_else(|| Test::Unknown(unknown(fetch))),
        }
    }

    fn names(&mut self, number: usize, arguments: &Arguments) -> Test {
        if arguments.found {
            return Test::HasName;
        }
        let mut patterns = Vec::new();
        for value in &arguments.values {
            match names(arguments.method.unwrap_or(Method::Whole), value) {
                Ok(names) => {
                    patterns.extend(names.patterns);
                    if let Some(note) = names.note {
                        self.report.note(number, value, &note);
                    }
                }
                Err(why) => return Test::Unknown(format!("{value:?}: {why}")),
            }
        }
        if !arguments.any_case {
            let why = "names are compared without case here; HAProxy compares this one exactly, as -i is missing";
            self.report.note(number, &arguments.values.join(" "), why);
        }
        if patterns.contains(&SniPattern::Default) {
            return Test::HasName;
        }
        Test::Names(patterns.into_iter().collect())
    }
}

/// Flags and values of a comparison.
#[derive(Debug, Default)]
struct Arguments {
    any_case: bool,
    found: bool,
    method: Option<Method>,
    values: Vec<String>,
}

impl Arguments {
    fn read(words: &[String], configuration: &Path) -> Result<Arguments, String> {
        let mut arguments = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-i" => arguments.any_case = true,
                "-M" | "-n" => {}
                "-u" => drop(words.next()),
                "--" => break,
                "-m" => match words.next().map_or("", String::as_str) {
                    "found" => arguments.found = true,
                    "ip" | "int" | "bool" => {}
                    method => {
                        let why = || format!("\"-m {method}\" cannot compare names here; list the names");
                        arguments.method = Some(Method::of(method).ok_or_else(why)?);
                    }
                },
                "-f" => {
                    let text = read_beside(configuration, words.next().map_or("", String::as_str))?;
                    arguments.values.extend(entries(&text).map(|(key, _)| key.to_owned()));
                }
                value => arguments.values.push(value.to_owned()),
            }
        }
        arguments.values.extend(words.cloned());
        Ok(arguments)
    }
}

/// Regexes that compare only the beginning of a path. A dot that is not escaped is read as a dot.
fn beginnings(regexes: &[String]) -> Test {
    let plain = |regex: &String| {
        let rest = regex.strip_prefix('^')?;
        let rest = [".*$", ".+$", ".*", ".+"].iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
        let text = rest.replace("\\.", ".").replace("\\/", "/").replace("\\-", "-");
        (text.starts_with('/') && !text.contains(['\\', '[', ']', '(', ')', '{', '}', '*', '+', '?', '|', '^', '$']))
            .then_some(text)
    };
    match regexes.iter().map(plain).collect() {
        Some(paths) => Test::Path(paths),
        None => Test::Unknown("of a path, only the beginning can be compared; write \"path_beg\"".to_owned()),
    }
}

/// `sc0_conn_rate gt 50`, `src_conn_cur ge 10` and the like.
fn rate(fetch: &str, argument: &str, values: &[String]) -> Option<Test> {
    let what = match fetch
        .strip_prefix("sc")
        .or_else(|| fetch.strip_prefix("src"))?
        .trim_start_matches(['0', '1', '2', 'r', 'c'])
    {
        "_conn_rate" => Counter::NewConnections,
        "_conn_cur" => Counter::OpenConnections,
        _ => return None,
    };
    let table = argument.split(',').map(str::trim).find(|part| !part.is_empty() && part.parse::<u8>().is_err());
    let [comparison, number] = values else { return None };
    let number: u32 = number.parse().ok()?;
    let most = match comparison.as_str() {
        "gt" => number,
        "ge" => number.checked_sub(1)?,
        _ => return None,
    };
    Some(Test::Rate { what, table: table.map(str::to_owned), most })
}

fn unknown(fetch: &str) -> String {
    let nearest = match fetch {
        "dst" | "dst_port" => "give the route a \"listen\" of its own",
        "nbsrv" | "srv_is_up" | "be_conn" | "connslots" => {
            "put the fallback servers into the same route, with \"backup\": true"
        }
        _ if fetch.starts_with("ssl_fc") || fetch.starts_with("ssl_c") => {
            "TLS is not terminated; use the hello's name or ALPN"
        }
        _ if fetch.starts_with("payload") || fetch.starts_with("req.payload") => "only the hello is read",
        _ if fetch.starts_with("path") || fetch.starts_with("url") || fetch.starts_with("base") => {
            "of a request, only Host and the beginning of the path can be compared"
        }
        _ => "only names, ALPN and the client's address can be compared",
    };
    format!("{fetch:?} cannot be evaluated: {nearest}")
}
