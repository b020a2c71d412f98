use std::time::Duration;

use super::*;
use crate::config::{
    Balance, HealthCheck, OnAllDown, OnDown, Outage, Probe, ProxyHeader, ProxyProtocol, ProxyTlvs, RouteTimeouts,
};

fn route(name: &str, sni: &[&str], alpn: &[&str]) -> Arc<Route> {
    let pattern = |text: &&str| match text.split_once("*.") {
        None if *text == "*" => SniPattern::Default,
        None => SniPattern::Exact((*text).into()),
        Some(("", parent)) => SniPattern::Wildcard(parent.into()),
        Some((_, parent)) => SniPattern::Subdomains(parent.into()),
    };
    Arc::new(Route {
        name: name.into(),
        listen: Vec::new(),
        http: None,
        sni: sni.iter().map(pattern).collect(),
        alpn: alpn.iter().map(|&protocol| protocol.into()).collect(),
        servers: Vec::new(),
        balance: Balance::RoundRobin,
        proxy_header: ProxyHeader { protocol: ProxyProtocol::V2, tlvs: ProxyTlvs::default() },
        outage: Outage { on_down: OnDown::Keep, on_all_down: OnAllDown::Refuse },
        allow_from: Vec::new(),
        timeouts: RouteTimeouts { connect: Duration::ZERO, tunnel: Duration::ZERO, half_closed: Duration::ZERO },
        health_check: HealthCheck {
            probe: Probe::Off,
            interval: Duration::ZERO,
            fast_interval: Duration::ZERO,
            timeout: Duration::ZERO,
            fall: 1,
            rise: 1,
            port: None,
            proxy_header: ProxyProtocol::Off,
        },
    })
}

/// The name of the route that a hello gets.
fn found<'r>(routes: &'r [Arc<Route>], sni: &str, alpn: &[&str]) -> Option<&'r str> {
    let sni = (sni != "-").then_some(sni.as_bytes());
    let found = RouteTable::new(routes, &[]).find(sni, alpn.iter().map(|protocol| protocol.as_bytes()))?;
    Some(&routes[found.route].name)
}

fn no_alpn() -> impl Iterator<Item = &'static [u8]> + Clone {
    std::iter::empty()
}

/// Without this, a hello reaches another tenant's server: the precedence of names, and their edges.
#[test]
fn exact_beats_wildcard_beats_default() {
    let routes = [
        route("default", &["*"], &[]),
        route("wild", &["*.demo.test"], &[]),
        route("exact", &["demo.test", "a.demo.test", "_srv.demo.test"], &[]),
    ];
    let long = format!("{}.demo.test", "x".repeat(243));
    let too_long = format!("{}.demo.test", "x".repeat(244));
    for (sni, expected) in [
        ("demo.test", "exact"),
        ("a.demo.test", "exact"),
        ("b.demo.test", "wild"),
        ("_srv.demo.test", "exact"),
        ("DeMo.TEST", "exact"),
        ("demo.test.", "exact"),
        ("B.demo.test.", "wild"),
        ("demo.test..", "default"),
        ("a.b.demo.test", "default"),
        (".demo.test", "default"),
        ("xdemo.test", "default"),
        ("*.demo.test", "wild"),
        ("test", "default"),
        ("*", "default"),
        (".", "default"),
        ("", "default"),
        ("-", "default"),
        (&long, "wild"),
        (&too_long, "default"),
    ] {
        assert_eq!(found(&routes, sni, &[]), Some(expected), "{sni}");
    }
    assert_eq!(found(&routes[1..], "c.test", &[]), None, "no default");
    assert_eq!(found(&routes[1..], "-", &[]), None, "no default, no SNI");
}

/// Without this, a shorter `**.` name beats a longer one, or `**.` beats a more specific name.
#[test]
fn subdomains_at_any_depth() {
    let routes = [
        route("default", &["*"], &[]),
        route("all", &["**.test"], &[]),
        route("below", &["**.demo.test"], &[]),
        route("wild", &["*.demo.test"], &[]),
        route("exact", &["x.y.demo.test"], &[]),
        route("h2", &["**.y.demo.test"], &["h2"]),
    ];
    let deep = format!("{}demo.test", "a.".repeat(122));
    for (sni, alpn, expected) in [
        ("test", &[][..], "default"),
        ("demo.test", &[], "all"),
        ("other.test", &[], "all"),
        ("xdemo.test", &[], "all"),
        ("a.demo.test", &[], "wild"),
        ("a.b.demo.test", &[], "below"),
        ("A.b.DEMO.test.", &[], "below"),
        ("x.y.demo.test", &["h2"], "exact"),
        ("z.y.demo.test", &["h2"], "h2"),
        ("z.y.demo.test", &["h3"], "below"),
        ("w.z.y.demo.test", &["h2"], "h2"),
        (".demo.test", &[], "default"),
        (".b.demo.test", &[], "default"),
        ("a..demo.test", &[], "default"),
        ("a.b.test.demo", &[], "default"),
        (&deep, &[], "below"),
        ("-", &[], "default"),
    ] {
        assert_eq!(found(&routes, sni, alpn), Some(expected), "{sni} {alpn:?}");
    }
}

/// Without this, h2 and http/1.1 servers of one name get each other's clients.
#[test]
fn alpn_decides_among_routes_for_one_name() {
    let routes = [
        route("any", &["a.test"], &[]),
        route("web", &["a.test", "only.a.test"], &["h2", "http/1.1"]),
        route("acme", &["a.test"], &["acme-tls/1"]),
        route("wild", &["*.a.test"], &[]),
        route("default", &["*"], &["h2"]),
    ];
    for (sni, alpn, expected) in [
        ("a.test", &["h2"][..], Some("web")),
        ("a.test", &[], Some("any")),
        ("a.test", &["http/1.0"], Some("any")),
        ("a.test", &["H2"], Some("any")),
        ("a.test", &["acme-tls/1", "h2"], Some("acme")),
        ("a.test", &["x", "http/1.1", "acme-tls/1"], Some("web")),
        ("only.a.test", &["h2"], Some("web")),
        ("only.a.test", &["x"], Some("wild")),
        ("other.test", &["h2"], Some("default")),
        ("other.test", &["x"], None),
        ("-", &["h2"], Some("default")),
    ] {
        assert_eq!(found(&routes, sni, alpn), expected, "{sni} {alpn:?}");
    }
}

/// Without this, `fiscalismia-lb route` gives a wrong reason.
#[test]
fn says_why() {
    let table = RouteTable::new(&[route("a", &["a.test", "*.a.test"], &["h2", "h3"]), route("b", &["*"], &[])], &[]);
    let by_alpn = table.find(Some(b"x.a.test"), [&b"h3"[..]].into_iter());
    assert_eq!(by_alpn, Some(Match { route: 0, name: NameMatch::Wildcard, alpn: Some(1) }));
    assert_eq!(table.find(None, no_alpn()), Some(Match { route: 1, name: NameMatch::Default, alpn: None }));
}

/// Without this, requests over plain HTTP reach no route, or one that takes none.
#[test]
fn hosts_prefer_a_route_that_takes_requests() {
    let takes = |route: Arc<Route>| {
        let http = Some(crate::config::Http { port: 80, paths: Vec::new() });
        Arc::new(Route { http, ..Route::clone(&route) })
    };
    let routes =
        [route("a", &["a.test"], &["h2"]), takes(route("b", &["a.test"], &[])), route("c", &["c.test"], &["h2"])];
    let found =
        |name: &str| RouteTable::of_hosts(&routes).find(Some(name.as_bytes()), no_alpn()).map(|found| found.route);
    assert_eq!([found("a.test"), found("c.test"), found("d.test")], [Some(1), Some(2), None]);
}

/// Without this, a name among 10,000 routes finds another route.
#[test]
fn ten_thousand_routes() {
    let routes: Vec<_> = (0..10_000).map(|n| route(&n.to_string(), &[&format!("host{n}.example.test")], &[])).collect();
    let table = RouteTable::new(&routes, &[]);
    for n in 0..routes.len() {
        let found = table.find(Some(format!("HOST{n}.example.test").as_bytes()), no_alpn());
        assert_eq!(found.map(|found| found.route), Some(n));
    }
}
