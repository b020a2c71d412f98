//! From rules that are asked one after the other to a table of names.
//!
//! Names that the same comparisons take get the same answer. So it is enough to ask the rules once for each kind of name
//! that they tell apart: each exact name, something below each `*.` and `**.`, any other name, and none.
use fiscalismia_lb::config::SniPattern;

use super::condition::{Condition, Reader, Subject, Test};
use super::lex::Line;
use super::names::{Method, is_name, names, takes};
use super::proxy::Proxy;
use super::values::{entries, read_beside};

/// A label that no rule has, and a name: what they get is what all get that are in no rule.
const FRESH: &str = "0-in-no-rule-0";
const NO_NAME: &str = "0-in-no-rule-0.invalid";

/// The rules of one frontend.
#[derive(Debug, Default)]
pub(super) struct Rules {
    content: Vec<(usize, Verdict, Condition)>,
    backends: Vec<(usize, Target, Condition)>,
    default: Option<String>,
    /// Whether a refused client is to notice.
    pub(super) drops_silently: bool,
    /// A rule asks for a hello, so what is no TLS is not meant.
    pub(super) asks_for_hello: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Refuse,
}

/// The backend that a rule names.
#[derive(Debug)]
enum Target {
    Fixed(String),
    /// By the hello's name, in this order; where none fits and there is no last one, the default backend.
    ByName(Vec<(Vec<SniPattern>, Option<String>)>, Option<String>),
}

/// A name, for hellos that offer this protocol or for any, and the backend that they get; `None`: they are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pattern: SniPattern,
    pub(super) alpn: Option<String>,
    pub(super) backend: Option<String>,
}

impl Rules {
    /// Reads the rules of `proxy`; those that cannot be asked here are left out, and reported.
    pub(super) fn read(proxy: &Proxy, reader: &mut Reader<'_>, backends: &[&str]) -> Rules {
        let default = proxy.default_backend.as_ref().map(|line| line.word(1).to_owned());
        let mut rules = Rules { default, ..Rules::default() };
        if rules.default.is_none() && !proxy.servers.is_empty() {
            rules.default = Some(proxy.name.clone());
        }
        for line in &proxy.content_rules {
            rules.content_rule(line, reader);
        }
        for line in &proxy.use_backend {
            let condition = reader.condition(line, 2);
            if let Some(why) = condition.obstacle() {
                reader.report.lost(line.number, &line.words.join(" "), &why);
                continue;
            }
            match target(line, reader, backends) {
                Ok(target) => rules.backends.push((line.number, target, condition)),
                Err(why) => reader.report.lost(line.number, &line.words.join(" "), &why),
            }
        }
        rules
    }

    fn content_rule(&mut self, line: &Line, reader: &mut Reader<'_>) {
        let verdict = match line.word(2) {
            "accept" => Verdict::Accept,
            "reject" | "silent-drop" => Verdict::Refuse,
            word if word.starts_with("track-sc") => return,
            word => {
                let why = match word.split('(').next().unwrap_or_default() {
                    "capture" | "set-var" | "set-var-fmt" => {
                        "nothing of a hello is kept for later; refused names are in the log"
                    }
                    "do-resolve" | "set-dst" | "set-dst-port" => "servers are written down, with their addresses",
                    _ => "there is nothing like it",
                };
                reader.report.lost(line.number, &line.words.join(" "), why);
                return;
            }
        };
        let condition = reader.condition(line, 3);
        if condition.tests().any(|test| matches!(test, Test::Rate { .. })) {
            return;
        }
        self.asks_for_hello |=
            line.words.iter().any(|word| word.contains("ssl_hello_type") || word.contains("ssl_sni"));
        if let Some(why) = condition.obstacle() {
            reader.report.lost(line.number, &line.words.join(" "), &why);
        } else {
            self.drops_silently |= line.word(2) == "silent-drop";
            self.content.push((line.number, verdict, condition));
        }
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.content
            .iter()
            .map(|(.., condition)| condition)
            .chain(self.backends.iter().map(|(.., condition)| condition))
    }

    /// Whether anything depends on the hello: else the frontend passes on whatever comes.
    pub(super) fn reads_hello(&self) -> bool {
        let by_hello = |test: &Test| matches!(test, Test::Names(_) | Test::HasName | Test::Alpn(_));
        self.asks_for_hello
            || self.conditions().any(|condition| condition.tests().any(by_hello))
            || self.backends.iter().any(|(_, target, _)| matches!(target, Target::ByName(..)))
    }

    fn backend(&self, subject: Subject<'_>) -> Option<String> {
        let verdict =
            self.content.iter().find(|(.., condition)| condition.holds(subject)).map(|(_, verdict, _)| verdict);
        if verdict == Some(&Verdict::Refuse) {
            return None;
        }
        let rule = self.backends.iter().find(|(.., condition)| condition.holds(subject));
        let named = rule.and_then(|(_, target, _)| match target {
            Target::Fixed(name) => Some(name.clone()),
            // Without a name there is nothing to look up, so what a map has for all else does not count either.
            Target::ByName(entries, last) => subject.name.and_then(|name| {
                let is_it =
                    |(patterns, _): &&(Vec<SniPattern>, Option<String>)| patterns.iter().any(|p| takes(p, name));
                entries.iter().find(is_it).map_or_else(|| last.clone(), |(_, backend)| backend.clone())
            }),
        });
        named.or_else(|| self.default.clone())
    }

    /// The backend of what is no TLS.
    pub(super) fn backend_without_hello(&self) -> Option<String> {
        self.backend(Subject { is_no_tls: true, ..Subject::default() })
    }

    /// Every name that the rules tell apart, in their order.
    fn patterns(&self) -> Vec<SniPattern> {
        let mut all: Vec<SniPattern> = Vec::new();
        let mut add = |patterns: &[SniPattern]| {
            all.extend(patterns.iter().filter(|pattern| **pattern != SniPattern::Default).cloned());
        };
        for condition in self.conditions() {
            condition.tests().for_each(|test| {
                if let Test::Names(names) = test {
                    add(names);
                }
            });
        }
        for (_, target, _) in &self.backends {
            if let Target::ByName(entries, _) = target {
                for (patterns, _) in entries {
                    add(patterns);
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|pattern| seen.insert(pattern.clone()));
        all
    }

    fn protocols(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for test in self.conditions().flat_map(Condition::tests) {
            if let Test::Alpn(protocols) = test {
                all.extend(protocols.iter().filter(|protocol| !all.contains(protocol)).cloned().collect::<Vec<_>>());
            }
        }
        all
    }

    /// The table, and names of which it cannot say what the rules do.
    pub(super) fn table(&self) -> (Vec<Entry>, Vec<String>) {
        let protocols = self.protocols();
        let mut table = Vec::new();
        let mut lost = Vec::new();
        for pattern in self.patterns() {
            if let SniPattern::Subdomains(parent) = &pattern {
                // Where `*.` of the same name is told apart, it has an entry of its own.
                self.add(&pattern, &format!("{FRESH}.{FRESH}.{parent}"), &protocols, &mut table);
            } else if let SniPattern::Wildcard(parent) = &pattern {
                self.add(&pattern, &format!("{FRESH}.{parent}"), &protocols, &mut table);
            } else if let SniPattern::Exact(name) = &pattern {
                self.add(&pattern, name, &protocols, &mut table);
            }
        }
        self.add(&SniPattern::Default, NO_NAME, &protocols, &mut table);
        let unknown = self.backend(Subject { name: Some(NO_NAME), ..Subject::default() });
        let nameless = self.backend(Subject::default());
        if unknown != nameless {
            let of = |backend: Option<String>| backend.map_or("is refused".to_owned(), |name| format!("gets {name:?}"));
            lost.push(format!("a hello without a name {}, one with any other name {}", of(nameless), of(unknown)));
        }
        lost.extend(refused_inside(&table));
        table.retain(|entry| entry.backend.is_some());
        (table, lost)
    }

    fn add(&self, pattern: &SniPattern, name: &str, protocols: &[String], table: &mut Vec<Entry>) {
        let subject = Subject { name: Some(name), ..Subject::default() };
        let any = self.backend(subject);
        for protocol in protocols {
            let backend = self.backend(Subject { alpn: Some(protocol), ..subject });
            if backend != any {
                table.push(Entry { pattern: pattern.clone(), alpn: Some(protocol.clone()), backend });
            }
        }
        table.push(Entry { pattern: pattern.clone(), alpn: None, backend: any });
    }
}

/// Names that are refused while a wider one takes them: ours would hand them to that.
fn refused_inside(table: &[Entry]) -> Vec<String> {
    let is_wider = |wide: &SniPattern, narrow: &SniPattern| match (wide, narrow) {
        (_, SniPattern::Default) => false,
        (SniPattern::Default, _) => true,
        (wide, SniPattern::Exact(name)) => wide != narrow && takes(wide, name),
        (SniPattern::Subdomains(_), SniPattern::Wildcard(parent) | SniPattern::Subdomains(parent)) => {
            wide != narrow && takes(wide, &format!("x.{parent}"))
        }
        _ => false,
    };
    let inside = |entry: &&Entry| {
        entry.backend.is_none()
            && table.iter().any(|wide| wide.backend.is_some() && is_wider(&wide.pattern, &entry.pattern))
    };
    let say = |entry: &Entry| {
        let alpn = entry.alpn.as_ref().map(|alpn| format!(" with ALPN {alpn}")).unwrap_or_default();
        format!("{}{alpn} is refused, and a wider name takes it", entry.pattern)
    };
    table.iter().filter(inside).map(say).collect()
}

/// The backend of a `use_backend` line: a name, or `%[req.ssl_sni,lower,map(FILE,DEFAULT)]` with text around it.
fn target(line: &Line, reader: &mut Reader<'_>, backends: &[&str]) -> Result<Target, String> {
    let word = line.word(1);
    let Some((prefix, rest)) = word.split_once("%[") else { return Ok(Target::Fixed(word.to_owned())) };
    let (expression, suffix) = rest.rsplit_once(']').ok_or("a \"%[\" that is not closed")?;
    let mut parts = split(expression).into_iter();
    if !parts.next().is_some_and(|fetch| fetch == "req.ssl_sni" || fetch == "req_ssl_sni") {
        return Err("a backend is chosen by the hello's name; write the names".to_owned());
    }
    let mut found = None;
    let mut any_case = false;
    for part in parts {
        match part.split_once('(') {
            None if part == "lower" => any_case = true,
            Some((kind, arguments)) if kind == "map" || kind.starts_with("map_") => {
                found = Some(map(kind, arguments.trim_end_matches(')'), line.number, reader)?);
            }
            _ => return Err(format!("{part:?} makes another name of it; write the names")),
        }
    }
    if !any_case {
        let why = "names are compared without case, and HAProxy compares them as they come, without \"lower\"";
        reader.report.note(line.number, word, why);
    }
    let around = |name: String| format!("{prefix}{name}{suffix}");
    // A backend that is not there: the default one takes its place.
    let mut existing = |name: String| {
        let name = around(name);
        if backends.contains(&name.as_str()) {
            return Some(name);
        }
        reader.report.note(line.number, &name, "there is no such backend, so the default one takes its place");
        None
    };
    let (names, last) = found.unwrap_or_else(|| by_backend_name(prefix, suffix, backends));
    let entries = names.into_iter().map(|(patterns, name)| (patterns, existing(name))).collect();
    Ok(Target::ByName(entries, last.and_then(existing)))
}

type ByName = (Vec<(Vec<SniPattern>, String)>, Option<String>);

fn map(kind: &str, arguments: &str, number: usize, reader: &mut Reader<'_>) -> Result<ByName, String> {
    let method = match kind {
        "map" | "map_str" => Method::Whole,
        other => {
            other.strip_prefix("map_").and_then(Method::of).ok_or_else(|| format!("{kind:?} is no map of names"))?
        }
    };
    let (file, last) =
        arguments.split_once(',').map_or((arguments, None), |(file, last)| (file, Some(last.to_owned())));
    let text = read_beside(reader.configuration, file)?;
    let mut all = Vec::new();
    for (key, value) in entries(&text) {
        match names(method, key) {
            Ok(names) => {
                if let Some(note) = names.note {
                    reader.report.note(number, key, &note);
                }
                all.push((names.patterns, value.to_owned()));
            }
            Err(why) => reader.report.lost(number, &format!("{file}: {key}"), &why),
        }
    }
    Ok((all, last))
}

/// The name itself is the backend's: each backend that is called like a name takes it.
fn by_backend_name(prefix: &str, suffix: &str, backends: &[&str]) -> ByName {
    let named = backends.iter().filter_map(|backend| backend.strip_prefix(prefix)?.strip_suffix(suffix));
    let entries = named.filter(|name| is_name(name) && **name == name.to_ascii_lowercase());
    (entries.map(|name| (vec![SniPattern::Exact(name.into())], name.to_owned())).collect(), None)
}

/// At the commas that are in no parentheses.
fn split(expression: &str) -> Vec<&str> {
    let mut depth = 0;
    expression
        .split(move |char| {
            match char {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            char == ',' && depth == 0
        })
        .collect()
}
