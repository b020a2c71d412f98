//! Servers on port 80: rules by Host and path of a frontend that reads HTTP become `routes.NAME.http`.
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;

use fiscalismia_lb::config::SniPattern;

use super::condition::{Condition, Reader, Subject, Test};
use super::index::Index;
use super::lex::Line;
use super::names::{FRESH, fresh, takers};
use super::output::{Http, Output, Route, RouteBody};
use super::proxy::Proxy;
use super::report::Report;
use super::routes::Assembly;
use super::side::is_redirect;

/// Rules of one frontend.
#[derive(Default)]
pub(super) struct Rules {
    /// Redirects to https, which have no backend, then `use_backend` lines.
    asked: Vec<(Option<(Line, String)>, Condition)>,
    index: Index,
    default: Option<(Line, String)>,
}

/// Requests for a route, as far as the rules tell them apart.
struct Requests {
    /// Each with the indices of the rules that may apply to it.
    hosts: Vec<(String, Vec<usize>)>,
    /// The beginnings of paths in the rules, and "/" for all others.
    paths: BTreeSet<String>,
}

/// The result for a request.
enum Answer<'r> {
    Redirect,
    Backend(&'r Line, &'r str),
    Nothing,
}

/// The routes whose requests a rule's backend does not get, by the rule's line number, text, and the reason.
type Elsewhere = BTreeMap<(usize, String, &'static str), BTreeSet<String>>;

impl Rules {
    /// Reads the rules of `proxy`. Rules that cannot be evaluated here are left out and reported.
    pub(super) fn read(proxy: &Proxy, reader: &mut Reader<'_>) -> Rules {
        let mut rules = Rules::default();
        for line in proxy.decisions.http_rules.iter().filter(|line| is_redirect(line)) {
            let at = line.words.iter().position(|word| word == "if" || word == "unless").unwrap_or(line.words.len());
            let condition = reader.condition(line, at);
            match condition.obstacle() {
                Some(why) => reader.report.lost_line(line, &why),
                None => rules.asked.push((None, condition)),
            }
        }
        for line in &proxy.decisions.use_backend {
            let condition = reader.condition(line, 2);
            let by_expression = || "a route is chosen by fixed names; write each of them".to_owned();
            match condition.obstacle().or_else(|| line.word(1).contains("%[").then(by_expression)) {
                Some(why) => reader.report.lost_line(line, &why),
                None => rules.asked.push((Some((line.clone(), line.word(1).to_owned())), condition)),
            }
        }
        rules.index = Index::new(rules.asked.iter().map(|(_, condition)| condition));
        rules.default = match &proxy.decisions.default_backend {
            Some(line) => Some((line.clone(), line.word(1).to_owned())),
            None => proxy.pool.servers.first().map(|(line, _)| (line.clone(), proxy.name.clone())),
        };
        rules
    }

    /// Whether a rule depends on something that only an HTTP request has.
    pub(super) fn ask_for_requests(&self) -> bool {
        let of_backends = self.asked.iter().filter(|(backend, _)| backend.is_some());
        let mut tests = of_backends.flat_map(|(_, condition)| condition.tests());
        tests.any(|test| matches!(test, Test::Host(_) | Test::Path(_)))
    }

    fn rules(&self, indices: &[usize]) -> impl Iterator<Item = &(Option<(Line, String)>, Condition)> {
        indices.iter().filter_map(|index| self.asked.get(*index))
    }

    fn tests(&self, indices: &[usize]) -> impl Iterator<Item = &Test> {
        self.rules(indices).flat_map(|(_, condition)| condition.tests())
    }

    fn answer(&self, (host, indices): &(String, Vec<usize>), path: &str) -> Answer<'_> {
        let subject = Subject { host: Some(host), path: Some(path), is_no_tls: true, ..Subject::default() };
        let rule = self.rules(indices).find(|(_, condition)| condition.holds(subject));
        match rule.map_or(Some(self.default.as_ref()), |(backend, _)| backend.as_ref().map(Some)) {
            Some(Some((line, backend))) => Answer::Backend(line, backend),
            Some(None) => Answer::Nothing,
            None => Answer::Redirect,
        }
    }

    /// The hosts and paths that the rules tell apart. One host stands for all that match the same rules.
    fn requests(&self, route: &Route) -> Requests {
        let mut seen = HashSet::new();
        let mut requests = Requests { hosts: Vec::new(), paths: BTreeSet::from(["/".to_owned()]) };
        for host in route.sni.iter().map(|pattern| host(pattern)) {
            let indices = self.index.candidates(Some(&host));
            let is_taken = |test: &Test| if let Test::Host(names) = test { names.find(&host).is_some() } else { false };
            let taken: Vec<bool> = self.tests(&indices).map(is_taken).collect();
            if !seen.insert((indices.clone(), taken)) {
                continue;
            }
            let of_test = |test: &Test| if let Test::Path(paths) = test { paths.clone() } else { Vec::new() };
            requests.paths.extend(self.tests(&indices).flat_map(of_test).filter(|path| path.starts_with('/')));
            requests.hosts.push((host, indices));
        }
        requests
    }

    /// Sets `routes.NAME.http` where the rules send a route's requests to its servers. Returns whether any route has it
    /// or any request is redirected.
    pub(super) fn hand_on(
        &self,
        proxy: &Proxy,
        assembly: &Assembly<'_>,
        output: &mut Output,
        report: &mut Report,
    ) -> bool {
        let mut any = self.asked.iter().any(|(backend, _)| backend.is_none());
        let mut elsewhere = Elsewhere::new();
        for (name, route) in &mut output.routes {
            let mut http: Option<Http> = None;
            let requests = self.requests(route);
            for path in requests.paths {
                let covered = |http: &Http| http.paths.iter().any(|start| path.starts_with(start.as_str()));
                let port = self.port(proxy, (name, route), (&requests.hosts, &path), assembly, &mut elsewhere, report);
                match (port, &mut http) {
                    (Some(port), None) => http = Some(Http { port, paths: vec![path] }),
                    (Some(port), Some(http)) if http.port == port => {
                        if !covered(http) {
                            http.paths.push(path);
                        }
                    }
                    (Some(_), Some(_)) => {
                        report.lost(
                            proxy.number,
                            &format!("{path} for {name:?}"),
                            "a route has only one port for plain HTTP",
                        );
                    }
                    (None, Some(http)) if covered(http) => {
                        let why =
                            "the route's servers get it too: routes.NAME.http takes every path with such a beginning";
                        report.lost(proxy.number, &format!("{path} for {name:?}"), why);
                    }
                    (None, _) => {}
                }
            }
            if http.is_some() && !route.body.allow_from.is_empty() {
                let why = "routes.NAME.allow_from applies to plain HTTP too: a certificate authority that asks for a token from \
                           elsewhere is refused";
                report.lost(proxy.number, &format!("{} for {name:?}", proxy.name), why);
            }
            any |= http.is_some();
            route.body.http = http;
        }
        if any {
            self.tell_unrouted(&output.routes, report);
        }
        // If nothing of the frontend is kept, one message says so.
        let elsewhere = elsewhere.into_iter().filter(|_| any);
        for ((number, what, why), routes) in elsewhere {
            let routes: Vec<String> = routes.iter().map(|name| format!("{name:?}")).collect();
            report.lost(number, &what, &format!("does not apply to the names of {}: {why}", routes.join(", ")));
        }
        any
    }

    /// Reports backends that serve hosts which no route has a name for: such requests are redirected here.
    fn tell_unrouted(&self, routes: &[(String, Route)], report: &mut Report) {
        let names: HashSet<SniPattern> =
            routes.iter().flat_map(|(_, route)| &route.sni).map(|pattern| name(pattern)).collect();
        let has_route = |host: &str| takers(host).any(|taker| names.contains(&taker));
        let mut hosts: Vec<String> = self
            .asked
            .iter()
            .flat_map(|(_, condition)| condition.tests())
            .filter_map(|test| if let Test::Host(names) = test { Some(names) } else { None })
            .flat_map(|names| names.patterns.iter().map(fresh))
            .collect();
        hosts.push(fresh(&SniPattern::Default));
        let mut told = HashSet::new();
        for host in hosts.into_iter().filter(|host| !has_route(host)) {
            let indices = self.index.candidates(Some(&host));
            if let Answer::Backend(line, _) = self.answer(&(host, indices), "/")
                && told.insert(line.number)
            {
                let why = "requests whose Host is no route's name are redirected to https; a web server can take these addresses";
                report.lost_line(line, why);
            }
        }
    }

    /// The port of `route`'s servers that gets requests for `path`. All names of the route must agree.
    fn port(
        &self,
        proxy: &Proxy,
        (name, route): (&str, &Route),
        (hosts, path): (&[(String, Vec<usize>)], &str),
        assembly: &Assembly<'_>,
        elsewhere: &mut Elsewhere,
        report: &mut Report,
    ) -> Option<u16> {
        let path = format!("{path}{FRESH}");
        let answers: Vec<Answer<'_>> = hosts.iter().map(|host| self.answer(host, &path)).collect();
        let (mut ports, mut seen) = (BTreeSet::new(), HashSet::new());
        for answer in &answers {
            let Answer::Backend(line, backend) = answer else { continue };
            if !seen.insert(line.number) {
                continue;
            }
            let mut elsewhere = |why| {
                let routes: &mut BTreeSet<String> =
                    elsewhere.entry((line.number, line.words.join(" "), why)).or_default();
                routes.insert(name.to_owned());
            };
            let backend = assembly.backend(proxy, backend, report);
            let Some(body) = backend.and_then(|backend| assembly.servers(proxy, backend, report)) else { continue };
            match port_of(&body, &route.body) {
                Ok(port) => drop(ports.insert(port)),
                Err(why) => elsewhere(why),
            }
            if answers.iter().any(|other| !matches!(other, Answer::Backend(other, _) if other.number == line.number)) {
                elsewhere(
                    "the rule holds for some of these names, but routes.NAME.http holds for all names of a route",
                );
                return None;
            }
        }
        ports.pop_first().filter(|_| ports.is_empty())
    }
}

/// A Host that this name of a route takes and that no rule contains.
fn host(pattern: &str) -> String {
    fresh(&name(pattern))
}

/// A name of a route, as the output has it.
fn name(pattern: &str) -> SniPattern {
    match pattern.split_once("*.") {
        Some(("*", parent)) => SniPattern::Subdomains(parent.into()),
        Some((_, parent)) => SniPattern::Wildcard(parent.into()),
        None if pattern == "*" => SniPattern::Default,
        None => SniPattern::Exact(pattern.into()),
    }
}

/// The one port of `body`'s servers, if these are the hosts of `route`. The error is the message.
fn port_of(body: &RouteBody, route: &RouteBody) -> Result<u16, &'static str> {
    let addresses = |body: &RouteBody| -> BTreeSet<SocketAddr> {
        body.servers.iter().filter_map(|server| server.address.parse().ok()).collect()
    };
    let hosts = |body: &RouteBody| addresses(body).iter().map(SocketAddr::ip).collect::<BTreeSet<_>>();
    if hosts(body) != hosts(route) {
        return Err("requests over plain HTTP go to the route's own servers, which have other addresses");
    }
    if body.proxy_protocol != route.proxy_protocol {
        return Err("requests over plain HTTP carry the route's PROXY header, but this backend expects another");
    }
    let ports: BTreeSet<u16> = addresses(body).iter().map(SocketAddr::port).collect();
    match (ports.first(), ports.len()) {
        (Some(port), 1) => Ok(*port),
        _ => Err("all servers of a route share one port for plain HTTP"),
    }
}
