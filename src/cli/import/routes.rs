//! Routes out of frontends, their tables, and the backends that these name.
use std::time::Duration;

use fiscalismia_lb::config::SniPattern;

use super::backend::{Servers, common};
use super::lex::Environment;
use super::limits::Limits;
use super::output::{Output, Route, RouteBody};
use super::proxy::{Mode, Proxy};
use super::report::Report;
use super::table::{Entry, Rules};
use super::values::duration;

/// Ports of servers that are hardly TLS.
const PLAIN_PORTS: &[u16] = &[21, 22, 23, 25, 80, 110, 143, 389, 587, 1194, 3306, 3389, 5222, 5432, 6379, 8000, 8080];

/// What the frontends so far have made.
pub(super) struct Assembly<'a> {
    proxies: &'a [Proxy],
    environment: &'a Environment,
    drops_silently: bool,
    has_limits: usize,
    frontends: usize,
    client_hello: Option<Duration>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(proxies: &'a [Proxy], environment: &'a Environment) -> Assembly<'a> {
        Assembly { proxies, environment, drops_silently: false, has_limits: 0, frontends: 0, client_hello: None }
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
        if limits.per_source != super::output::PerSource::default() {
            self.has_limits += 1;
            if output.limits.per_source.as_ref().is_some_and(|other| *other != limits.per_source) {
                report.lost(
                    proxy.number,
                    &proxy.name,
                    "limits.per_source is one for all listeners; that of the first frontend holds",
                );
            } else {
                output.limits.per_source = Some(limits.per_source);
            }
        }
        let listen: Vec<String> = proxy.addresses().iter().map(ToString::to_string).collect();
        if listen.is_empty() {
            report.lost(proxy.number, &proxy.name, "no address is left to listen on");
            return;
        }
        if rules.reads_hello() {
            self.by_name(proxy, rules, &listen, output, report);
        } else if let Some(backend) = rules.backend_without_hello() {
            self.plain(proxy, &backend, listen, output, report);
        } else {
            report.lost(proxy.number, &proxy.name, "it has no backend that could be carried over");
        }
    }

    fn by_name(&mut self, proxy: &Proxy, rules: &Rules, listen: &[String], output: &mut Output, report: &mut Report) {
        let (table, lost) = rules.table();
        for what in lost {
            report.lost(proxy.number, &proxy.name, &what);
        }
        self.client_hello = self.client_hello.max(proxy.inspect_delay);
        if proxy.inspect_delay.is_none() || proxy.content_rules.is_empty() {
            let why = "the hello is always waited for; HAProxy decides without it where no \"tcp-request inspect-delay\" and \
                       \"tcp-request content\" make it wait";
            report.note(proxy.number, &proxy.name, why);
        }
        let own_listen = !output.listen.is_empty();
        if !own_listen {
            output.listen = listen.to_vec();
        }
        for (backend, alpn) in groups(&table) {
            let Some(body) = self.body(proxy, &backend, report) else { continue };
            let fits = |entry: &&Entry| entry.backend.as_ref() == Some(&backend) && entry.alpn == alpn;
            let sni: Vec<String> = table.iter().filter(fits).map(|entry| entry.pattern.to_string()).collect();
            let takes_rest = alpn.is_none() && sni.iter().any(|name| *name == SniPattern::Default.to_string());
            if takes_rest && rules.backend_without_hello().as_ref() == Some(&backend) {
                Self::not_tls(proxy, &backend, &body, report);
            }
            let suffix = alpn.as_deref().map(|alpn| alpn.replace('/', "_")).unwrap_or_default();
            let name = free_name(&backend, &[&suffix, &proxy.name], output);
            let listen = if own_listen { listen.to_vec() } else { Vec::new() };
            output.routes.push((name, Route { listen, sni, alpn: alpn.into_iter().collect(), body }));
        }
    }

    /// What is no TLS goes to the default backend in HAProxy, once it has waited for a hello in vain.
    fn not_tls(proxy: &Proxy, backend: &str, body: &RouteBody, report: &mut Report) {
        let number = proxy.default_backend.as_ref().map_or(proxy.number, |line| line.number);
        let what = format!("default_backend {backend}");
        let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        if body.servers.iter().any(|server| port(&server.address).is_some_and(|port| PLAIN_PORTS.contains(&port))) {
            let why = "it gets hellos of other names, and what is no TLS is refused; a route with a \"listen\" of its own and no \
                       \"sni\" takes anything";
            report.lost(number, &what, why);
        } else {
            report.note(number, &what, "it gets hellos of other names or of none; what is no TLS is refused");
        }
    }

    fn plain(&mut self, proxy: &Proxy, backend: &str, listen: Vec<String>, output: &mut Output, report: &mut Report) {
        if let Some(body) = self.body(proxy, backend, report) {
            let name = free_name(backend, &[&proxy.name], output);
            output.routes.push((name, Route { listen, body, ..Route::default() }));
        }
    }

    fn body(&self, frontend: &Proxy, backend: &str, report: &mut Report) -> Option<RouteBody> {
        let Some(proxy) = self.proxies.iter().find(|proxy| proxy.is_backend && proxy.name == backend) else {
            report.lost(frontend.number, &format!("backend {backend}"), "there is none of that name");
            return None;
        };
        if proxy.mode == Mode::Http {
            let why = "it is of mode http, and HTTP is not read; a server that opens TLS can take its names";
            report.lost(proxy.number, &format!("backend {backend}"), why);
            return None;
        }
        let ports: Vec<u16> = frontend.addresses().iter().map(std::net::SocketAddr::port).collect();
        let listen_port = ports.first().copied().filter(|first| ports.iter().all(|port| port == first));
        let of = |name: &str| frontend.timeouts.get(name).copied();
        let body = Servers { environment: self.environment, report, listen_port }
            .route(proxy, (of("client"), of("client-fin")));
        if body.is_none() {
            report.lost(proxy.number, &format!("backend {backend}"), "it has no server that could be carried over");
        }
        body
    }

    /// What is told once for all routes.
    pub(super) fn conclude(self, output: &mut Output, report: &mut Report) {
        let last = self.proxies.last().map_or(0, |proxy| proxy.number);
        if self.has_limits > 0 && self.has_limits < self.frontends {
            report.note(
                last,
                "limits.per_source",
                "it holds for all listeners, also for those of frontends without a limit",
            );
        }
        output.reject = (!self.drops_silently).then_some("close");
        output.timeouts.client_hello = self.client_hello.map(duration).filter(|delay| delay != "5s");
        let retries: Vec<Option<u32>> = output.routes.iter().map(|(_, route)| route.body.retries).collect();
        output.retries = retries.iter().flatten().max().copied().filter(|retries| *retries != 3);
        if retries.windows(2).any(|pair| pair.first() != pair.get(1)) {
            report.lost(last, "retries", "they are the same for all routes; the highest number holds");
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

/// Backends of a table, each with the protocol that it asks for, in the table's order.
fn groups(table: &[Entry]) -> Vec<(String, Option<String>)> {
    let mut groups = Vec::new();
    for entry in table {
        let Some(backend) = &entry.backend else { continue };
        let group = (backend.clone(), entry.alpn.clone());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// A name for a route that no other has: the backend's, as long as it is the only one.
fn free_name(backend: &str, more: &[&str], output: &Output) -> String {
    let is_free = |name: &str| output.routes.iter().all(|(other, _)| other != name);
    let mut name = backend.to_owned();
    for more in more.iter().filter(|more| !more.is_empty()) {
        if is_free(&name) {
            break;
        }
        name = format!("{name}-{more}");
    }
    while !is_free(&name) {
        name += "-";
    }
    name
}
