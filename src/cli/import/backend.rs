//! Converts a backend's servers, checks and timeouts to those of a route.
use std::net::SocketAddr;
use std::time::Duration;

use super::lex::{Environment, Line};
use super::output::{HealthCheck, RouteBody, Server, Timeouts};
use super::pool::Ask;
use super::proxy::Proxy;
use super::report::Report;
use super::server::{Check, OfRoute, ServerReader};
use super::values::{Address, duration};

/// Reads the `server` lines of a backend.
pub(super) struct Servers<'a> {
    pub(super) environment: &'a Environment,
    pub(super) report: &'a mut Report,
    /// The port where clients come in; a server without its own port gets it.
    pub(super) listen_port: Option<u16>,
}

impl Servers<'_> {
    /// The backend as a route without names; `None` if no server can be converted. `client` is the frontend's `timeout
    /// client` and `timeout client-fin`.
    pub(super) fn route(&mut self, backend: &Proxy, client: (Option<Duration>, Option<Duration>)) -> Option<RouteBody> {
        let mut servers = Vec::new();
        let mut of_route: Option<OfRoute> = None;
        for (line, default) in &backend.pool.servers {
            let Some((server, of_server)) = self.server(line, default, backend) else { continue };
            match &of_route {
                None => of_route = Some(of_server),
                Some(first) if *first == of_server => {}
                Some(_) => {
                    let why = "the PROXY header and the health check are set for the whole route; those of the first server are taken";
                    self.report.lost(line.number, &format!("server {}", line.word(1)), why);
                }
            }
            servers.push(server);
        }
        let of_route = of_route?;
        let connect = backend.timed.timeout("connect");
        Some(RouteBody {
            servers,
            balance: self.balance(backend),
            proxy_protocol: Some(of_route.proxy_protocol.unwrap_or("off")),
            proxy_tlvs: of_route.proxy_tlvs,
            on_down: of_route.closes_on_down.then_some("close"),
            allow_from: Vec::new(),
            http: None,
            timeouts: timeouts(backend, client, self.report),
            health_check: health_check(backend, of_route.check.as_ref(), connect),
            retries: backend.timed.retries,
        })
    }

    fn balance(&mut self, backend: &Proxy) -> Option<&'static str> {
        let line = backend.pool.balance.as_ref()?;
        match line.word(1) {
            "roundrobin" | "static-rr" => None,
            "leastconn" => Some("least_connections"),
            "source" => Some("source"),
            "hash" if line.word(2) == "src" => Some("source"),
            _ => {
                let why =
                    "\"balance\" is \"round_robin\", \"least_connections\" or \"source\"; \"round_robin\" is taken";
                self.report.lost_line(line, why);
                None
            }
        }
    }

    fn server(&mut self, line: &Line, default: &[String], backend: &Proxy) -> Option<(Server, OfRoute)> {
        let what = format!("server {}", line.word(1));
        let address = match self.address(line.word(2)) {
            Ok(address) => address,
            Err(why) => {
                self.report.lost(line.number, &format!("{what} {}", line.word(2)), &why);
                return None;
            }
        };
        let mut reader = ServerReader::new(address, line, &what);
        reader.words(default, self.report);
        reader.words(line.rest(3), self.report);
        if let (None, Some(source)) = (&reader.server.source, &backend.pool.source) {
            reader.source(&source.words, self.report);
        }
        Some(reader.conclude(self.report))
    }

    fn address(&self, word: &str) -> Result<SocketAddr, String> {
        let address = Address::read(word, self.environment)?;
        if address.ip.is_unspecified() {
            return Err("this stands for the address that the client connected to; write the server's address".into());
        }
        let port = match address.ports {
            Some((port, _)) if !address.is_offset => Some(port),
            offset => self.listen_port.and_then(|port| port.checked_add(offset.map_or(0, |(offset, _)| offset))),
        };
        let port = port.ok_or("it has no port, and the listeners do not agree on one; write a port")?;
        Ok(SocketAddr::new(address.ip, port))
    }
}

fn health_check(backend: &Proxy, check: Option<&Check>, connect: Option<Duration>) -> HealthCheck {
    let Some(check) = check else { return HealthCheck { kind: Some("off"), ..HealthCheck::default() } };
    let (kind, path, expect) = match &backend.pool.ask {
        Ask::Connect => (None, None, None),
        Ask::Hello => (Some("tls"), None, None),
        Ask::Get { path, expect } => (Some("http"), path.clone().filter(|path| path != "/"), *expect),
    };
    // With `timeout check`, HAProxy adds that to the connect; without, `inter` is the limit of both.
    let timeout = match (backend.timed.timeout("check"), connect) {
        (Some(check), _) => check,
        (None, Some(connect)) => connect.min(check.interval),
        (None, None) => check.interval,
    };
    let unless = |value: Duration, default: u64| (value != Duration::from_secs(default)).then(|| duration(value));
    HealthCheck {
        kind,
        interval: unless(check.interval, 10),
        fast_interval: check.fast_interval.map(duration),
        timeout: unless(timeout, 5),
        fall: (check.fall != 3).then_some(check.fall),
        rise: (check.rise != 2).then_some(check.rise),
        port: check.port,
        path,
        expect: expect.filter(|expect| *expect != [200, 399]),
        proxy_header: (!check.proxy_header).then_some(false),
    }
}

fn timeouts(
    backend: &Proxy,
    (client, client_fin): (Option<Duration>, Option<Duration>),
    report: &mut Report,
) -> Timeouts {
    let of = |name: &str| backend.timed.timeout(name).filter(|time| !time.is_zero());
    let lesser = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
    // Bytes in either direction restart both timers of HAProxy, so the shorter one ends a silent connection.
    let tunnel = of("tunnel").or_else(|| lesser(of("server"), client.filter(|time| !time.is_zero())));
    let unless = |value: Option<Duration>, default: u64| {
        value.filter(|value| *value != Duration::from_secs(default)).map(duration)
    };
    // Of one that is not set, HAProxy itself warns.
    let set = [client, backend.timed.timeout("tunnel"), backend.timed.timeout("server")];
    if tunnel.is_none() && set.contains(&Some(Duration::ZERO)) {
        let why = "a silent connection never ends in HAProxy; here it does after timeouts.tunnel, 5m, or what you write, 30days at most";
        report.note(backend.number, &format!("{}: no timeout", backend.name), why);
    }
    Timeouts {
        connect: unless(of("connect"), 5),
        tunnel: unless(tunnel, 300),
        half_closed: unless(lesser(of("server-fin"), client_fin), 30),
        ..Timeouts::default()
    }
}

/// Takes a setting out of the routes if it is equal in all of them, and returns it for the top of the file.
pub(super) fn common<T: Clone + Default + PartialEq>(of_routes: &mut [&mut T]) -> T {
    let Some(first) = of_routes.first().map(|first| (**first).clone()) else { return T::default() };
    if of_routes.iter().any(|one| **one != first) {
        return T::default();
    }
    for one in of_routes {
        **one = T::default();
    }
    first
}
