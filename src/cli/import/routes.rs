//! Makes routes of frontends, their tables, and the backends that these name.
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use fiscalismia_lb::config::{SniPattern, is_reserved};

use super::backend::{Servers, common};
use super::lex::Environment;
use super::limits::Limits;
use super::output::{Output, Route, RouteBody};
use super::proxy::{Mode, Proxy};
use super::report::Report;
use super::table::{Answer, Entry, Rules};
use super::values::duration;

/// Ports of servers that probably do not speak TLS.
const PLAIN_PORTS: &[u16] = &[21, 22, 23, 25, 80, 110, 143, 389, 587, 1194, 3306, 3389, 5222, 5432, 6379, 8000, 8080];

/// The routes of the frontends so far.
pub(super) struct Assembly<'a> {
    proxies: &'a [Proxy],
    backends: HashMap<&'a str, &'a Proxy>,
    /// Names of the routes so far.
    names: HashSet<String>,
    environment: &'a Environment,
    drops_silently: bool,
    has_limits: usize,
    ignores_empty: usize,
    frontends: usize,
    client_hello: Option<Duration>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(proxies: &'a [Proxy], environment: &'a Environment) -> Assembly<'a> {
        // Of two with one name, the first counts.
        let backends = proxies.iter().rev().filter(|proxy| proxy.is_backend);
        Assembly {
            proxies,
            backends: backends.map(|proxy| (proxy.name.as_str(), proxy)).collect(),
            names: HashSet::new(),
            environment,
            drops_silently: false,
            has_limits: 0,
            ignores_empty: 0,
            frontends: 0,
            client_hello: None,
        }
    }

    /// Adds the routes of one frontend.
    pub(super) fn frontend(
        &mut self,
        proxy: &Proxy,
        rules: &Rules,
        limits: Limits,
        output: &mut Output,
        report: &mut Report,
    ) {
        self.drops_silently |= rules.drops_silently || limits.drops_silently;
        self.frontends += 1;
        self.ignores_empty += usize::from(proxy.ignores_empty);
        if limits.per_source != super::output::PerSource::default() {
            self.has_limits += 1;
            if output.limits.per_source.as_ref().is_some_and(|other| *other != limits.per_source) {
                report.lost(
                    proxy.number,
                    &proxy.name,
                    "all listeners share one limits.per_source; that of the first frontend is taken",
                );
            } else {
                output.limits.per_source = Some(limits.per_source);
            }
        }
        let listen: Vec<String> = proxy.bound.addresses().iter().map(ToString::to_string).collect();
        if listen.is_empty() {
            report.lost(proxy.number, &proxy.name, "no address is left to listen on");
            return;
        }
        if rules.reads_hello() {
            self.by_name(proxy, rules, &listen, output, report);
        } else {
            self.plain(proxy, &rules.without_hello(), listen, output, report);
        }
    }

    fn by_name(&mut self, proxy: &Proxy, rules: &Rules, listen: &[String], output: &mut Output, report: &mut Report) {
        let (table, lost) = rules.table();
        for what in lost {
            report.lost(proxy.number, &proxy.name, &what);
        }
        for (number, what) in table.iter().filter_map(|entry| entry.answer.lost(&entry.pattern.to_string())) {
            report.lost(number, &proxy.name, &what);
        }
        self.client_hello = self.client_hello.max(proxy.timed.inspect_delay.filter(|delay| !delay.is_zero()));
        if proxy.timed.inspect_delay.is_none() || proxy.decisions.content_rules.is_empty() {
            let why = "every client must send a hello first; HAProxy waits for it only with \"tcp-request inspect-delay\" \
                       and a \"tcp-request content\" rule";
            report.note(proxy.number, &proxy.name, why);
        }
        let own_listen = !output.listen.is_empty();
        if !own_listen {
            output.listen = listen.to_vec();
        }
        for ((answer, alpn), sni) in groups(&table) {
            let backend = answer.backend.clone().unwrap_or_default();
            let Some(body) = self.body(proxy, &backend, report) else { continue };
            let body = RouteBody { allow_from: allow_from(answer, proxy, report), ..body };
            let takes_rest = alpn.is_none() && sni.iter().any(|name| *name == SniPattern::Default.to_string());
            if takes_rest && rules.without_hello().backend.as_ref() == Some(&backend) {
                Self::not_tls(proxy, &backend, &body, report);
            }
            let suffix = alpn.map(|alpn| alpn.replace('/', "_")).unwrap_or_default();
            let listen = if own_listen { listen.to_vec() } else { Vec::new() };
            let name = self.free_name(&backend, &[&suffix, &proxy.name], &listen);
            output
                .routes
                .push((name, Route { listen, sni, alpn: alpn.map(str::to_owned).into_iter().collect(), body }));
        }
    }

    /// In HAProxy, a client without TLS goes to the default backend after the wait for a hello has timed out.
    fn not_tls(proxy: &Proxy, backend: &str, body: &RouteBody, report: &mut Report) {
        let number = proxy.decisions.default_backend.as_ref().map_or(proxy.number, |line| line.number);
        let what = format!("default_backend {backend}");
        let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        if body.servers.iter().any(|server| port(&server.address).is_some_and(|port| PLAIN_PORTS.contains(&port))) {
            let why = "it gets hellos with any other name or none; a client that does not speak TLS is refused; a route with its own \
                       \"listen\" and no \"sni\" takes such clients";
            report.lost(number, &what, why);
        } else {
            report.note(
                number,
                &what,
                "it gets hellos with any other name or none; a client that does not speak TLS is refused",
            );
        }
    }

    fn plain(&mut self, proxy: &Proxy, answer: &Answer, listen: Vec<String>, output: &mut Output, report: &mut Report) {
        let Some(backend) = &answer.backend else {
            report.lost(proxy.number, &proxy.name, "none of its backends can be converted");
            return;
        };
        if let Some((number, what)) = answer.lost("every client") {
            report.lost(number, &proxy.name, &what);
        }
        if let Some(body) = self.body(proxy, backend, report) {
            let body = RouteBody { allow_from: allow_from(answer, proxy, report), ..body };
            let name = self.free_name(backend, &[&proxy.name], &listen);
            output.routes.push((name, Route { listen, body, ..Route::default() }));
        }
    }

    fn body(&self, frontend: &Proxy, backend: &str, report: &mut Report) -> Option<RouteBody> {
        let proxy = self.backend(frontend, backend, report)?;
        if proxy.mode == Mode::Http {
            let why = "mode http is not supported; a web server that terminates TLS can take its names";
            report.lost(proxy.number, &format!("backend {backend}"), why);
            return None;
        }
        let body = self.servers(frontend, proxy, report);
        if body.is_none() {
            report.lost(proxy.number, &format!("backend {backend}"), "none of its servers can be converted");
        }
        body
    }

    /// The backend of that name.
    pub(super) fn backend(&self, frontend: &Proxy, backend: &str, report: &mut Report) -> Option<&'a Proxy> {
        let found = self.backends.get(backend).copied();
        if found.is_none() {
            report.lost(frontend.number, &format!("backend {backend}"), "no backend has this name");
        }
        found
    }

    /// The servers of a route, for clients that come in at `frontend`.
    pub(super) fn servers(&self, frontend: &Proxy, backend: &Proxy, report: &mut Report) -> Option<RouteBody> {
        let ports: Vec<u16> = frontend.bound.addresses().iter().map(std::net::SocketAddr::port).collect();
        let listen_port = ports.first().copied().filter(|first| ports.iter().all(|port| port == first));
        let of = |name: &str| frontend.timed.timeout(name);
        Servers { environment: self.environment, report, listen_port }.route(backend, (of("client"), of("client-fin")))
    }

    /// A unique name for a route with the addresses `listen`: the backend's, if that is free.
    fn free_name(&mut self, backend: &str, more: &[&str], listen: &[String]) -> String {
        let is_free =
            |names: &HashSet<String>, name: &str| !names.contains(name) && (listen.is_empty() || !is_reserved(name));
        let mut name = backend.to_owned();
        for more in more.iter().filter(|more| !more.is_empty()) {
            if is_free(&self.names, &name) {
                break;
            }
            name = format!("{name}-{more}");
        }
        while !is_free(&self.names, &name) {
            name += "-";
        }
        self.names.insert(name.clone());
        name
    }

    /// Moves settings that all routes share to the top, and reports differences between frontends.
    pub(super) fn conclude(self, output: &mut Output, report: &mut Report) {
        let last = self.proxies.last().map_or(0, |proxy| proxy.number);
        if self.has_limits > 0 && self.has_limits < self.frontends {
            report.note(
                last,
                "limits.per_source",
                "it applies to all listeners, also to those of frontends without a limit",
            );
        }
        match self.ignores_empty {
            0 => {}
            all if all == self.frontends => output.log.empty = Some(false),
            _ => report.note(
                last,
                "option dontlognull",
                "log.empty applies to all listeners, and some frontends lack this option, so it stays true",
            ),
        }
        output.reject = (!self.drops_silently).then_some("close");
        output.timeouts.client_hello = self.client_hello.map(duration).filter(|delay| delay != "5s");
        let retries: Vec<Option<u32>> = output.routes.iter().map(|(_, route)| route.body.retries).collect();
        output.retries = retries.iter().flatten().max().copied().filter(|retries| *retries != 3);
        if retries.windows(2).any(|pair| pair.first() != pair.get(1)) {
            report.lost(last, "retries", "all routes share one number; the highest is taken");
        }
        let mut checks: Vec<_> = output.routes.iter_mut().map(|(_, route)| &mut route.body.health_check).collect();
        output.health_check = common(&mut checks);
        let mut timeouts: Vec<_> = output.routes.iter_mut().map(|(_, route)| &mut route.body.timeouts).collect();
        let common = common(&mut timeouts);
        output.timeouts.connect = common.connect;
        output.timeouts.tunnel = common.tunnel;
        output.timeouts.half_closed = common.half_closed;
    }
}

/// More networks than this are noted, as they are probably the complement of a few refused ones.
const MANY_NETWORKS: usize = 16;

fn allow_from(answer: &Answer, proxy: &Proxy, report: &mut Report) -> Vec<String> {
    let networks = answer.allow_from();
    if networks.len() > MANY_NETWORKS {
        let backend = answer.backend.as_deref().unwrap_or_default();
        let why = format!(
            "the list is all addresses but the refused ones, {} networks; a firewall rule is shorter",
            networks.len()
        );
        report.note(proxy.number, &format!("allow_from of {backend:?}"), &why);
    }
    networks
}

/// An answer, the protocol that a hello must offer if any, and the names that get this answer.
type Group<'t> = ((&'t Answer, Option<&'t str>), Vec<String>);

/// Groups the names of a table by answer and protocol, in the table's order.
fn groups(table: &[Entry]) -> Vec<Group<'_>> {
    let mut indices = HashMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for Entry { pattern, alpn, answer } in table {
        let index = indices.entry((&answer.backend, &answer.clients, alpn)).or_insert(groups.len());
        if *index == groups.len() {
            groups.push(((answer, alpn.as_deref()), Vec::new()));
        }
        if let Some((_, sni)) = groups.get_mut(*index) {
            sni.push(pattern.to_string());
        }
    }
    groups
}
