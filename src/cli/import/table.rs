//! Converts rules that HAProxy evaluates in order to a table of names.
//!
//! Names that match the same comparisons get the same result. So it suffices to evaluate the rules once for each kind
//! of name that they tell apart: each exact name, a name below each `*.` and `**.`, any other name, and no name.
use std::collections::HashSet;

use fiscalismia_lb::config::SniPattern;

use super::condition::{Condition, Reader, Subject, Test};
use super::index::Index;
use super::lex::Line;
use super::names::{fresh, takers};
use super::networks::Networks;
use super::proxy::Proxy;
use super::report::NO_EQUIVALENT;
use super::target::{Target, target};

const MAX_GROUPS: usize = 256;

/// The rules of one frontend.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Evaluated before the client's first byte.
    connection: Vec<(Verdict, Condition)>,
    content: Vec<(usize, Verdict, Condition)>,
    backends: Vec<(usize, Target, Condition)>,
    /// Of `content` and of `backends`.
    content_index: Index,
    backend_index: Index,
    default: Option<(usize, String)>,
    /// Groups of clients that the rules tell apart by address.
    groups: Vec<Networks>,
    /// Whether refused clients are dropped silently, rather than closed.
    pub(super) drops_silently: bool,
    /// Whether a rule needs a hello, so the frontend is for TLS only.
    pub(super) asks_for_hello: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Refuse,
}

/// A name, the protocol that a hello must offer if any, and the result for such hellos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pattern: SniPattern,
    pub(super) alpn: Option<String>,
    pub(super) answer: Answer,
}

/// A backend, and the clients that it is for. Without a backend, clients are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) backend: Option<String>,
    pub(super) clients: Networks,
    /// The line of a rule that sends some of these clients to another backend, by address.
    split: Option<usize>,
}

impl Answer {
    /// The loss if a client's address chooses the backend in HAProxy: the rule's line, and the message.
    pub(super) fn lost(&self, what: &str) -> Option<(usize, String)> {
        let backend = self.backend.as_deref().unwrap_or_default();
        let why = || format!("{what} goes to {backend:?} from everywhere: an address does not choose the backend");
        self.split.map(|number| (number, why()))
    }

    /// For `allow_from`; empty if all clients may connect.
    pub(super) fn allow_from(&self) -> Vec<String> {
        if self.clients == Networks::all() { Vec::new() } else { self.clients.cidrs() }
    }
}

impl Rules {
    /// Reads the rules of `proxy`. Rules that cannot be evaluated here are left out and reported.
    pub(super) fn read(proxy: &Proxy, reader: &mut Reader<'_>, backends: &[&str]) -> Rules {
        let default = proxy.decisions.default_backend.as_ref().map(|line| (line.number, line.word(1).to_owned()));
        let mut rules = Rules { default, ..Rules::default() };
        if rules.default.is_none() && !proxy.pool.servers.is_empty() {
            rules.default = Some((proxy.number, proxy.name.clone()));
        }
        for line in &proxy.decisions.connection_rules {
            rules.connection_rule(line, proxy, reader);
        }
        for line in &proxy.decisions.content_rules {
            rules.content_rule(line, reader);
        }
        for line in &proxy.decisions.use_backend {
            let condition = reader.condition(line, 2);
            if let Some(why) = condition.obstacle() {
                reader.report.lost_line(line, &why);
                continue;
            }
            match target(line, reader, backends) {
                Ok(target) => rules.backends.push((line.number, target, condition)),
                Err(why) => reader.report.lost_line(line, &why),
            }
        }
        rules.content_index = Index::new(rules.content.iter().map(|(.., condition)| condition));
        rules.backend_index = Index::new(rules.backends.iter().map(|(.., condition)| condition));
        rules.groups = rules.groups(proxy, reader);
        rules
    }

    /// Rules that refuse by the client's address alone; limits are read elsewhere.
    fn connection_rule(&mut self, line: &Line, proxy: &Proxy, reader: &mut Reader<'_>) {
        let verdict = match line.word(2) {
            "accept" => Verdict::Accept,
            "reject" | "silent-drop" => Verdict::Refuse,
            _ => return,
        };
        let condition = reader.condition(line, 3);
        // Before a balancer's header is read, the address is the balancer's.
        if condition.is_by_source() && !(proxy.expects_header() && line.word(1) == "connection") {
            self.drops_silently |= line.word(2) == "silent-drop";
            self.connection.push((verdict, condition));
        }
    }

    /// The groups of clients that conditions on addresses tell apart.
    fn groups(&self, proxy: &Proxy, reader: &mut Reader<'_>) -> Vec<Networks> {
        let mut groups = vec![Networks::all()];
        for condition in self.conditions() {
            for test in condition.tests() {
                let Test::Source(networks) = test else { continue };
                let halves = |group: &Networks| [group.and(networks), group.and(&networks.not())];
                groups = groups.iter().flat_map(halves).filter(|group| !group.is_empty()).collect();
                if groups.len() > MAX_GROUPS {
                    let why = "the rules divide clients into too many groups by address; only clients whose address is in no \
                               rule may connect";
                    reader.report.lost(proxy.number, &proxy.name, why);
                    return groups.pop().into_iter().collect();
                }
            }
        }
        groups
    }

    fn content_rule(&mut self, line: &Line, reader: &mut Reader<'_>) {
        let verdict = match line.word(2) {
            "accept" => Verdict::Accept,
            "reject" | "silent-drop" => Verdict::Refuse,
            word if word.starts_with("track-sc") => return,
            word => {
                let why = match word.split('(').next().unwrap_or_default() {
                    "capture" | "set-var" | "set-var-fmt" => {
                        "nothing of a hello is stored for later; the log has the refused names"
                    }
                    "do-resolve" | "set-dst" | "set-dst-port" => {
                        "a client is connected only to servers of the configuration, by their addresses"
                    }
                    _ => NO_EQUIVALENT,
                };
                reader.report.lost_line(line, why);
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
            reader.report.lost_line(line, &why);
        } else {
            self.drops_silently |= line.word(2) == "silent-drop";
            self.content.push((line.number, verdict, condition));
        }
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let of_connection = self.connection.iter().map(|(_, condition)| condition);
        of_connection
            .chain(self.content.iter().map(|(.., condition)| condition))
            .chain(self.backends.iter().map(|(.., condition)| condition))
    }

    /// Whether the result depends on the hello; otherwise the frontend passes on every client.
    pub(super) fn reads_hello(&self) -> bool {
        let by_hello = |test: &Test| matches!(test, Test::Names(_) | Test::HasName | Test::Alpn(_));
        self.asks_for_hello
            || self.conditions().any(|condition| condition.tests().any(by_hello))
            || self.backends.iter().any(|(_, target, _)| matches!(target, Target::ByName(..)))
    }

    /// The result for clients with this hello. If the client's address also chooses the backend, the backend is that of
    /// clients whose address is in no rule.
    fn answer(&self, subject: Subject<'_>) -> Answer {
        let mut answer = Answer { backend: None, clients: Networks::none(), split: None };
        // `groups` puts the addresses that a rule lacks after those that it has.
        for group in self.groups.iter().rev() {
            let Some((number, backend)) = self.backend(Subject { source: group.any(), ..subject }) else { continue };
            if answer.backend.as_ref().is_some_and(|other| *other != backend) {
                answer.split.get_or_insert(number);
            }
            answer.backend.get_or_insert(backend);
            answer.clients = answer.clients.or(group);
        }
        answer
    }

    /// The backend, and the line that names it.
    fn backend(&self, subject: Subject<'_>) -> Option<(usize, String)> {
        let holds = |(_, condition): &&(Verdict, Condition)| condition.holds(subject);
        if self.connection.iter().find(holds).is_some_and(|(verdict, _)| *verdict == Verdict::Refuse) {
            return None;
        }
        let holds = |(.., condition): &&(_, Verdict, Condition)| condition.holds(subject);
        let content = self.content_index.candidates(subject.name);
        let verdict = content.into_iter().filter_map(|index| self.content.get(index)).find(holds);
        let verdict = verdict.map(|(_, verdict, _)| verdict);
        if verdict == Some(&Verdict::Refuse) {
            return None;
        }
        let backends = self.backend_index.candidates(subject.name);
        let mut backends = backends.into_iter().filter_map(|index| self.backends.get(index));
        let rule = backends.find(|(.., condition)| condition.holds(subject));
        let named = rule.and_then(|(_, target, _)| match target {
            Target::Fixed(name) => Some(name.clone()),
            // Without a name HAProxy does not look in the map at all, so the map's default does not apply either.
            Target::ByName(names, backends, last) => subject.name.and_then(|name| match names.find(name) {
                Some(index) => backends.get(index).cloned().flatten(),
                None => last.clone(),
            }),
        });
        match (named, rule) {
            (Some(name), Some((number, ..))) => Some((*number, name)),
            _ => self.default.clone(),
        }
    }

    /// The result for a client that sends no hello.
    pub(super) fn without_hello(&self) -> Answer {
        self.answer(Subject { is_no_tls: true, ..Subject::default() })
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
                    add(&names.patterns);
                }
            });
        }
        for (_, target, _) in &self.backends {
            if let Target::ByName(names, ..) = target {
                add(&names.patterns);
            }
        }
        let mut seen = HashSet::new();
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

    /// The table, and messages about the names for which it differs from the rules.
    pub(super) fn table(&self) -> (Vec<Entry>, Vec<String>) {
        let protocols = self.protocols();
        let mut table = Vec::new();
        let mut lost = Vec::new();
        for pattern in self.patterns() {
            self.add(&pattern, &protocols, &mut table);
        }
        self.add(&SniPattern::Default, &protocols, &mut table);
        let name = fresh(&SniPattern::Default);
        let unknown = self.answer(Subject { name: Some(&name), ..Subject::default() }).backend;
        let nameless = self.answer(Subject::default()).backend;
        if unknown != nameless {
            let of = |backend: Option<String>| backend.map_or("refused".to_owned(), |name| format!("sent to {name:?}"));
            let (nameless, unknown) = (of(nameless), of(unknown));
            lost.push(format!(
                "in HAProxy, a hello with an unknown name is {unknown}, and one without a name {nameless}; here both are \
                 {unknown}"
            ));
        }
        lost.extend(refused_inside(&table));
        table.retain(|entry| entry.answer.backend.is_some());
        (table, lost)
    }

    fn add(&self, pattern: &SniPattern, protocols: &[String], table: &mut Vec<Entry>) {
        let name = fresh(pattern);
        let subject = Subject { name: Some(&name), ..Subject::default() };
        let any = self.answer(subject);
        for protocol in protocols {
            let answer = self.answer(Subject { alpn: Some(protocol), ..subject });
            if answer != any {
                table.push(Entry { pattern: pattern.clone(), alpn: Some(protocol.clone()), answer });
            }
        }
        table.push(Entry { pattern: pattern.clone(), alpn: None, answer: any });
    }
}

/// Names that are refused although a wider name is taken: a table would give them to the wider name.
fn refused_inside(table: &[Entry]) -> Vec<String> {
    let passed: HashSet<&SniPattern> =
        table.iter().filter(|entry| entry.answer.backend.is_some()).map(|entry| &entry.pattern).collect();
    let wider = |narrow: &SniPattern| -> Vec<SniPattern> {
        match narrow {
            SniPattern::Default => Vec::new(),
            SniPattern::Exact(name) => takers(name).filter(|wide| wide != narrow).collect(),
            SniPattern::Wildcard(parent) | SniPattern::Subdomains(parent) => {
                let is_whole = |wide: &SniPattern| matches!(wide, SniPattern::Subdomains(_) | SniPattern::Default);
                takers(&format!("x.{parent}")).filter(|wide| wide != narrow && is_whole(wide)).collect()
            }
        }
    };
    let inside = |entry: &&Entry| {
        entry.answer.backend.is_none() && wider(&entry.pattern).iter().any(|wide| passed.contains(wide))
    };
    let say = |entry: &Entry| {
        let alpn = entry.alpn.as_ref().map(|alpn| format!(" with ALPN {alpn}")).unwrap_or_default();
        format!("HAProxy refuses {}{alpn}; here a wider name takes it", entry.pattern)
    };
    table.iter().filter(inside).map(say).collect()
}
