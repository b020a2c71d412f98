use super::*;

const EXAMPLE: &str = r#"{
  "listen": ["0.0.0.0:443", "[::]:443"],
  "routes": {
    "frontend": { "sni": ["fiscalismia.com"], "servers": ["172.24.0.3:443"] },
    "demo": {
      "sni": ["demo.fiscalismia.com", "*.demo.fiscalismia.com"],
      "servers": [ { "name": "demo01", "address": "172.20.0.2:443" },
                   { "name": "demo02", "address": "172.20.0.3:443", "backup": true } ],
      "timeouts": { "tunnel": "30m" }
    }
  }
}"#;

/// Without this, a default differs from the documented one.
#[test]
fn defaults_are_as_promised() {
    let config = parse("lb.json", EXAMPLE).unwrap();
    let server = |name: &str, address: &str, backup| Server {
        name: name.into(),
        address: address.parse().unwrap(),
        weight: 1,
        backup,
        max_connections: None,
        source: None,
        interface: None,
    };
    let frontend = Route {
        name: "frontend".into(),
        listen: Vec::new(),
        http: None,
        sni: vec![SniPattern::Exact("fiscalismia.com".into())],
        alpn: Vec::new(),
        servers: vec![server("172.24.0.3:443", "172.24.0.3:443", false)],
        balance: Balance::RoundRobin,
        proxy_header: ProxyHeader { protocol: ProxyProtocol::V2, tlvs: ProxyTlvs::default() },
        outage: Outage { on_down: OnDown::Keep, on_all_down: OnAllDown::Refuse },
        allow_from: Vec::new(),
        timeouts: RouteTimeouts {
            connect: Duration::from_secs(5),
            tunnel: Duration::from_mins(5),
            half_closed: Duration::from_secs(30),
        },
        health_check: HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(10),
            fast_interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            fall: 3,
            rise: 2,
            port: None,
            proxy_header: ProxyProtocol::V2,
        },
    };
    let demo = Route {
        name: "demo".into(),
        sni: vec![
            SniPattern::Exact("demo.fiscalismia.com".into()),
            SniPattern::Wildcard("demo.fiscalismia.com".into()),
        ],
        servers: vec![server("demo01", "172.20.0.2:443", false), server("demo02", "172.20.0.3:443", true)],
        timeouts: RouteTimeouts { tunnel: Duration::from_mins(30), ..frontend.timeouts },
        ..frontend.clone()
    };
    let expected = Config {
        listen: vec!["0.0.0.0:443".parse().unwrap(), "[::]:443".parse().unwrap()],
        routes: vec![Arc::new(frontend), Arc::new(demo)],
        timeouts: Timeouts {
            client_hello: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            keepalive: Duration::from_mins(2),
        },
        retries: 3,
        limits: Limits { connections: 4096, per_source: None },
        reject: Reject::Drop,
        accept_proxy: Vec::new(),
        redirect: Vec::new(),
        admin: Admin::default(),
        log: Log { format: LogFormat::Haproxy, connections: LogConnections::All, empty: true },
        zero_copy: ZeroCopy::Auto,
        control: None,
    };
    assert_eq!(config, expected);
}

/// Without this, a key is read but has no effect, or a wrong one.
#[test]
fn every_key_reaches_its_field() {
    let text = r#"{
      "listen": ["127.0.0.1:0"],
      "routes": { "r": {
        "sni": ["*", "*.B.example.", "a.example"], "alpn": ["h2", "http/1.1"],
        "servers": [{ "address": "[2001:db8::3]:443", "name": "s", "weight": 256, "backup": true,
                      "max_connections": 7, "source": "2001:db8::1", "interface": "eth1" }],
        "balance": "source", "proxy_protocol": "v2",
        "proxy_tlvs": ["authority", "alpn", "unique_id", "crc32c", "received"], "on_down": "close",
        "on_all_down": "try", "allow_from": ["10.0.0.0/8"],
        "timeouts": { "connect": "1s", "tunnel": "2s", "half_closed": "3s" },
        "health_check": { "type": "http", "interval": "4s", "fast_interval": "1s", "timeout": "500ms", "fall": 5, "rise": 6, "port": 8080,
                          "path": "/up", "expect": [200, 204], "proxy_header": false }
      } },
      "timeouts": { "client_hello": "7s", "drain": "0s" },
      "retries": 0,
      "limits": { "connections": 9, "per_source": { "rate": 50, "period": "8s", "concurrent": 10, "ipv6_prefix": 56,
                                                    "exempt": ["10.1.2.3/8", "2001:db8::/32"] } },
      "reject": "alert",
      "accept_proxy": { "from": ["10.1.2.3/8", "2001:db8::/32"] },
      "redirect": { "listen": ["127.0.0.1:80"] },
      "admin": { "listen": ["[::1]:8404"],
                 "stats_credentials": { "username_file": "/run/user", "password_file": "/run/password" } },
      "log": { "format": "json", "connections": "close" },
      "zero_copy": "off"
    }"#;
    let route = Route {
        name: "r".into(),
        listen: Vec::new(),
        http: None,
        sni: vec![SniPattern::Default, SniPattern::Wildcard("b.example".into()), SniPattern::Exact("a.example".into())],
        alpn: vec!["h2".into(), "http/1.1".into()],
        servers: vec![Server {
            name: "s".into(),
            address: "[2001:db8::3]:443".parse().unwrap(),
            weight: 256,
            backup: true,
            max_connections: Some(7),
            source: Some("2001:db8::1".parse().unwrap()),
            interface: Some("eth1".into()),
        }],
        balance: Balance::Source,
        proxy_header: ProxyHeader {
            protocol: ProxyProtocol::V2,
            tlvs: ProxyTlvs { authority: true, alpn: true, unique_id: true, crc32c: true, received: true },
        },
        outage: Outage { on_down: OnDown::Close, on_all_down: OnAllDown::Try },
        allow_from: vec!["10.0.0.0/8".parse().unwrap()],
        timeouts: RouteTimeouts {
            connect: Duration::from_secs(1),
            tunnel: Duration::from_secs(2),
            half_closed: Duration::from_secs(3),
        },
        health_check: HealthCheck {
            probe: Probe::Http { path: "/up".into(), expect: [200, 204], host: Some("a.example".into()) },
            interval: Duration::from_secs(4),
            fast_interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            fall: 5,
            rise: 6,
            port: Some(8080),
            proxy_header: ProxyProtocol::Off,
        },
    };
    let expected = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        routes: vec![Arc::new(route)],
        timeouts: Timeouts {
            client_hello: Duration::from_secs(7),
            drain: Duration::ZERO,
            keepalive: Duration::from_mins(2),
        },
        retries: 0,
        limits: Limits {
            connections: 9,
            per_source: Some(PerSource {
                rate: Some(50),
                period: Duration::from_secs(8),
                concurrent: Some(10),
                ipv6_prefix: 56,
                exempt: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            }),
        },
        reject: Reject::Alert,
        accept_proxy: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        redirect: vec!["127.0.0.1:80".parse().unwrap()],
        admin: Admin {
            listen: vec!["[::1]:8404".parse().unwrap()],
            stats_credentials: Some(CredentialFiles {
                username_file: "/run/user".into(),
                password_file: "/run/password".into(),
            }),
        },
        log: Log { format: LogFormat::Json, connections: LogConnections::Close, empty: true },
        zero_copy: ZeroCopy::Off,
        control: None,
    };
    assert_eq!(parse("lb.json", text).unwrap(), expected);
}

/// Without this, a route's setting hides other keys of the file, or a probe sends a PROXY header that the route does
/// not have.
#[test]
fn routes_override_key_by_key() {
    let text = r#"{
      "listen": ["0.0.0.0:443"],
      "timeouts": { "connect": "1s", "tunnel": "2s" },
      "health_check": { "type": "tls", "interval": "3s", "fall": 4, "proxy_header": true },
      "routes": {
        "a": { "sni": ["*.a.example", "b.a.example"], "servers": ["172.24.0.3:443"],
               "timeouts": { "tunnel": "9s" }, "health_check": { "fall": 9 } },
        "b": { "sni": ["*.b.example"], "servers": ["172.24.0.3:443"], "proxy_protocol": "v1",
               "health_check": { "type": "off" } },
        "c": { "sni": ["c.example"], "servers": ["172.24.0.3:443"], "proxy_protocol": "off" }
      }
    }"#;
    let config = parse("lb.json", text).unwrap();
    let [a, b, c] = config.routes.as_slice() else { panic!("three routes") };
    assert_eq!((a.timeouts.connect, a.timeouts.tunnel), (Duration::from_secs(1), Duration::from_secs(9)));
    assert_eq!((a.timeouts.half_closed, b.timeouts.tunnel), (Duration::from_secs(30), Duration::from_secs(2)));
    assert_eq!(a.health_check.probe, Probe::Tls { sni: Some("b.a.example".into()) });
    assert_eq!((a.health_check.fall, b.health_check.fall), (9, 4));
    assert_eq!((a.health_check.interval, b.health_check.interval), (Duration::from_secs(3), Duration::from_secs(3)));
    let headers = [a, b, c].map(|route| route.health_check.proxy_header);
    assert_eq!(headers, [ProxyProtocol::V2, ProxyProtocol::V1, ProxyProtocol::Off]);
    assert_eq!(b.health_check.probe, Probe::Off);
}

/// Without this, a legal setting that is hardly meant has no warning, or a plain file has one.
#[test]
fn warnings_word_for_word() {
    let example = parse("lb.json", EXAMPLE).unwrap();
    assert_eq!(warnings(&example), Vec::<String>::new());
    let odd = r#"{
      "listen": ["0.0.0.0:443", "[::1]:444"],
      "health_check": { "type": "tls" },
      "admin": { "stats_credentials": { "username_file": "/u", "password_file": "/p" } },
      "routes": {
        "none": { "sni": ["a.example"], "servers": [{ "address": "172.24.0.3:443", "weight": 0 }] },
        "some": { "sni": ["b.example"], "servers": [{ "address": "172.24.0.3:443", "weight": 0 }, "172.24.0.4:443"] },
        "backup": { "sni": ["c.example"], "servers": [{ "address": "172.24.0.3:443", "backup": true }] },
        "nameless": { "sni": ["*"], "servers": ["172.24.0.3:443"] },
        "circle": { "sni": ["d.example"], "servers": ["127.0.0.1:443", "[::1]:444", "[::1]:443", "127.0.0.1:444"] }
      }
    }"#;
    assert_eq!(
        warnings(&parse("lb.json", odd).unwrap()),
        [
            "admin.stats_credentials: there is no admin.listen, so there is no /stats",
            "routes.none: every server has weight 0, so the route takes no new connections",
            "routes.backup: every server is a backup, so \"backup\" has no effect",
            "routes.nameless: health_check: sni has no exact name, so the probe's hello carries no SNI",
            "routes.circle: server 127.0.0.1:443 is this proxy itself; a connection to it would loop",
            "routes.circle: server [::1]:444 is this proxy itself; a connection to it would loop",
        ]
    );
}

/// Without this, an operator who means HAProxy's `-m end .a.b` by `*.a.b` sends deeper names to the default route's
/// server.
#[test]
fn warns_where_the_default_takes_deeper_names() {
    let said = |web: &str, rest: &str| {
        let text = format!(
            r#"{{ "listen": ["0.0.0.0:443"], "routes": {{
                "web": {{ "sni": {web}, "servers": ["172.24.0.3:443"] }},
                "rest": {{ "sni": {rest}, "servers": ["172.24.0.4:443"] }} }} }}"#
        );
        warnings(&parse("lb.json", &text).unwrap())
    };
    let expected = "routes.web.sni: \"*.a.b\" matches one label more only, so \"x.y.a.b\" goes to \"rest\" by its \"*\"; write \"**.a.b\" \
                    for all names below, in the route that they are meant for";
    assert_eq!(said(r#"["*.a.b"]"#, r#"["*"]"#), [expected]);
    for (web, rest) in [
        (r#"["*.a.b"]"#, r#"["c.b"]"#),
        (r#"["*.a.b", "**.a.b"]"#, r#"["*"]"#),
        (r#"["*.a.b", "*"]"#, r#"["c.b"]"#),
        (r#"["*.a.b"]"#, r#"["**.a.b", "*"]"#),
        (r#"["*.a.b"]"#, r#"["**.b", "*"]"#),
    ] {
        assert_eq!(said(web, rest), Vec::<String>::new(), "{web} {rest}");
    }
}

/// Without this, a setting that does not do what it seems to do has no warning.
#[test]
fn warnings_of_what_is_hardly_meant() {
    let odd = r#"{
      "listen": ["[::]:443"],
      "redirect": { "listen": ["0.0.0.0:0", "[::]:80"] },
      "admin": { "listen": ["0.0.0.0:8404"] },
      "health_check": { "interval": "1ms" },
      "routes": {
        "alpn": { "sni": ["a.example"], "alpn": ["http/2", "http/1", "http/3", "H3", "h2"], "servers": ["172.24.0.3:443", "172.24.0.4:443"] },
        "http": { "sni": ["b.example"], "servers": ["172.24.0.3:443"],
                  "health_check": { "type": "http", "interval": "1s" } },
        "port": { "sni": ["c.example", "_"], "servers": ["172.24.0.3:443"], "health_check": { "type": "http", "port": 80,
                                                                                       "interval": "1s" } }
      }
    }"#;
    let odd = parse("lb.json", odd).unwrap();
    assert_eq!(
        warnings(&odd),
        [
            "redirect.listen[0]: port 0 lets the kernel choose a port, a different one at each start",
            "admin.listen: \"0.0.0.0:8404\" lets every host that reaches this one see the metrics; write an address of the \
             inner network",
            "health_check.interval: causes 2002 probes a second; write a longer interval",
            "routes.alpn: alpn: clients offer \"h2\", not \"http/2\"",
            "routes.alpn: alpn: clients offer \"http/1.1\", not \"http/1\"",
            "routes.alpn: alpn: clients offer \"h3\", not \"http/3\"",
            "routes.alpn: alpn: clients offer \"h3\", not \"H3\"",
            "routes.http: health_check: \"http\" without \"port\" speaks plain HTTP to the port for TLS, which answers 400; \
             write the port for it",
            "routes.port: sni: \"_\" is taken as a literal name; write \"*\" for every name that no other route takes",
        ]
    );
    assert_eq!(ipv6_only(&odd), ["listen[0]: \"[::]:443\" takes IPv6 only; write \"0.0.0.0:443\" too for IPv4"]);
}

/// Without this, what is well is warned of, or a file whose addresses no route serves is not.
#[test]
fn warnings_begin_past_what_is_well() {
    let file = |listen: &str, keys: &str| {
        let text = format!(
            r#"{{ "listen": ["{listen}"], "health_check": {{ "interval": "1ms" }},
                "routes": {{ "a": {{ "servers": ["172.24.0.3:443"], "sni": ["a.example"]{keys} }} }} }}"#
        );
        parse("lb.json", &text).unwrap()
    };
    let well = file("[::1]:443", "");
    assert_eq!((warnings(&well), ipv6_only(&well)), Default::default(), "1,000 probes a second are fine");
    assert_eq!(
        warnings(&file("0.0.0.0:443", r#", "listen": ["0.0.0.0:8443"]"#)),
        ["listen: every route has a \"listen\" of its own, so no route serves these addresses"]
    );
}

/// Without this, an error points at the place where the parser stopped, not at the fault.
#[test]
fn faults_are_shown_where_they_are() {
    let shown = |text: &str| format!("{:#}", parse("f", text).unwrap_err()[0]);
    let object = "{\n  \"listen\": [\"0.0.0.0:443\"]\n  \"routes\": {}\n}";
    assert_eq!(
        shown(object),
        "f: line 2: a comma is missing after this\n      \"listen\": [\"0.0.0.0:443\"]\n                              ^"
    );
    let open = "{\n  \"routes\": {\n    \"r\": { \"sni\": [],\n  }\n}";
    assert!(
        shown(&open.replace("[],", "[]"))
            .starts_with("f: line 3: this '{' is not closed; write '}'\n        \"r\": { \"sni\": []\n")
    );
    assert!(shown(r#"{ "x": 1, }"#).ends_with("\n    { \"x\": 1, }\n            ^"));
    assert!(shown(r#"{ "x": 1, "a": }"#).ends_with("\n    { \"x\": 1, \"a\": }\n                   ^"));
    let closed = "{\n  \"a\": {\n    \"b\": [\n      1\n    ]\n  },\n  \"c\": {\n    \"d\": 1\n";
    assert!(shown(closed).starts_with("f: line 7: this '{' is not closed"), "{}", shown(closed));
    let long = format!("{{ \"a\": [oops{}] }}", ", 1".repeat(1000));
    assert!(shown(&long).lines().all(|line| line.len() <= 104));
    let long = format!("{{ \"a\": [{}oops] }}", "1, ".repeat(1000));
    let lines: Vec<usize> = shown(&long).lines().map(str::len).collect();
    assert!(lines.len() == 3 && lines[1] <= 104 && lines[2] == 4 + 50 + 1, "{lines:?}");
    let lines = "\n    { \"é\": é }\n           ^";
    assert!(shown("{\t\"é\": é }").ends_with(lines));
}

/// Without this, the remedy for a fault that no screen shows is that of another one.
#[test]
fn faults_that_are_hard_to_see_are_named() {
    let said = |inside: &str| parse("f", &format!("{{ \"a\": {inside}")).unwrap_err()[0].to_string();
    for (inside, what) in [
        ("\"b\n\" }", "this string is not closed; write \" after it"),
        ("\"b\r\" }", "this string is not closed; write \" after it"),
        ("\"b\t\" }", "a tab stands in this string; write \\t, or leave it out"),
        ("\"b\u{1}\" }", "'\\u{1}' stands in this string; leave it out"),
        ("\u{a0}5 }", "'\\u{a0}' is not a space in JSON; write a plain one"),
        ("\u{feff}5 }", "'\\u{feff}' is not a space in JSON; write a plain one"),
        ("\u{200b}5 }", "'\\u{200b}' is not a space in JSON; write a plain one"),
    ] {
        assert_eq!(said(inside), format!("f: line 1: {what}"));
    }
    let yaml = parse("f", "# ours\n; too\n\nlisten:\n  - x\n").unwrap_err()[0].to_string();
    assert_eq!(yaml, "f: looks like YAML; write it as JSON", "behind comments and empty lines");
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!([deep(127), deep(128)].map(|text| syntax::fault(&text).is_none()), [true, false]);
}

/// Without this, an operator has to search for the first of two duplicates.
#[test]
fn duplicates_name_the_first_line() {
    let text = EXAMPLE.replace("\n}", ",\n  \"retries\": 1,\n  \"listen\": [\"[::]:444\"]\n}");
    let errors = parse("f", &text).unwrap_err();
    assert_eq!(errors[0].to_string(), "f: listen: is written twice, first in line 2; keep one");
}

/// Without this, a fault in the JSON is described in the parser's words, or a good file is refused.
#[test]
fn faults_are_found_in_all_that_is_no_json() {
    let text = EXAMPLE.replace("30m", "\\u00e9 \\\\");
    for (at, _) in text.char_indices() {
        let (before, after) = text.split_at(at);
        for put in
            ["", "{", "}", "[", "]", ",", ":", "\"", "'", "\t", "\n", "\\", "#", "//", "1", "-", "x", "é", "\u{0}", " "]
        {
            for rest in [after, after.get(1..).unwrap_or(after)] {
                let changed = format!("{before}{put}{rest}");
                let is_json = serde_json::from_str::<serde_json::Value>(&changed).is_ok();
                let fault = syntax::fault(&changed);
                assert_eq!(fault.is_none(), is_json, "{changed}\n{fault:?}");
                if let Err(errors) = parse("f", &changed) {
                    assert!(errors.iter().all(|error| format!("{error:#}").starts_with("f: ")));
                }
            }
        }
        assert!(syntax::fault(before).is_some(), "{before}");
    }
}

/// Without this, a client can claim any address, or no balancer may tell one.
#[test]
fn balancers_are_those_of_the_networks() {
    let text = EXAMPLE.replacen('{', r#"{ "accept_proxy": { "from": ["192.0.2.0/24", "2001:db8::/32"] },"#, 1);
    let config = parse("lb.json", &text).unwrap();
    assert!(["192.0.2.255", "2001:db8::1"].iter().all(|ip| config.is_balancer(ip.parse().unwrap())));
    assert!(["192.0.3.0", "2001:db9::1"].iter().all(|ip| !config.is_balancer(ip.parse().unwrap())));
}

/// Without this, a route is open to all networks, or closed to its own.
#[test]
fn a_route_allows_its_networks() {
    let text = EXAMPLE.replacen(r#""timeouts""#, r#""allow_from": ["192.0.2.0/24", "198.51.100.7/32"], "timeouts""#, 1);
    let config = parse("lb.json", &text).unwrap();
    let allows = |route: usize, ip: &str| config.routes[route].allows(ip.parse().unwrap());
    let demo = config.routes.iter().position(|route| &*route.name == "demo").unwrap();
    assert!(allows(demo, "192.0.2.9") && allows(demo, "198.51.100.7") && !allows(demo, "198.51.100.8"));
    assert!(allows(1 - demo, "198.51.100.8"), "no list: all may come");
}

/// Without this, a link-local `source` has no zone, so its server is never connected to.
#[test]
fn a_source_is_meant_in_the_zone_of_the_server() {
    let from = |source: Option<&str>, address: &str| {
        let mut server = Server::gone("s", address.parse().unwrap());
        server.source = source.map(|source| source.parse().unwrap());
        server.from_address().map(|from| from.to_string())
    };
    assert_eq!(from(None, "192.0.2.1:443"), None);
    assert_eq!(from(Some("192.0.2.2"), "192.0.2.1:443").as_deref(), Some("192.0.2.2:0"));
    assert_eq!(from(Some("fe80::2"), "[fe80::1%3]:443").as_deref(), Some("[fe80::2%3]:0"));
}

/// Without this, the longest name that TLS can carry is refused, or one is taken that no hello can carry.
#[test]
fn names_are_as_long_as_dns_allows() {
    let name = |first: usize| format!("{}.{2}.{2}.{1}", "a".repeat(first), "b".repeat(61), "c".repeat(63));
    for (name, is_good) in [(name(63), true), (name(64), false), (format!("a{}", name(63)), false)] {
        assert_eq!(
            parse(
                "lb.json",
                &EXAMPLE.replace(
                    "fiscalismia.com\"], \"servers\": [\"172.24",
                    &format!("{name}\"], \"servers\": [\"172.24")
                )
            )
            .is_ok(),
            is_good,
            "{name}"
        );
    }
}

/// Without this, the remedy for a URL names a port on which no server listens.
#[test]
fn a_url_has_the_port_of_its_scheme() {
    for (url, remedy) in [("http://192.0.2.1/", "192.0.2.1:80"), ("https://192.0.2.1/", "192.0.2.1:443")] {
        for key in ["redirect", "admin"] {
            let text = EXAMPLE.replacen('{', &format!(r#"{{ "{key}": {{ "listen": ["{url}"] }},"#), 1);
            let errors = parse("lb.json", &text).unwrap_err();
            assert!(errors[0].to_string().contains(&format!("write \"{remedy}\"")), "{}", errors[0]);
        }
    }
}

/// Without this, a value at the edge of what is good is refused.
#[test]
fn edges_are_good() {
    for (key, value) in [
        ("health_check", r#"{ "type": "http", "port": 80, "expect": [204, 204] }"#.to_owned()),
        ("health_check", format!(r#"{{ "type": "http", "port": 80, "path": "/{}" }}"#, "a".repeat(1023))),
        ("timeouts", r#"{ "tunnel": "30days" }"#.to_owned()),
        ("servers", r#"[{ "address": "192.0.2.1:443", "interface": "a23456789012345" }]"#.to_owned()),
    ] {
        let text = EXAMPLE.replace(
            r#""frontend": {"#,
            &format!(
                r#""edge": {{ "sni": ["b.test"], "servers": ["192.0.2.1:443"], "{key}": {value} }}, "frontend": {{"#
            ),
        );
        let text = if key == "servers" {
            text.replace(r#""servers": ["192.0.2.1:443"], "servers""#, r#""servers""#)
        } else {
            text
        };
        assert!(parse("lb.json", &text).is_ok(), "{value}: {:?}", parse("lb.json", &text).err());
    }
}

/// Without this, a server has a device name that the kernel cannot have, and every connect fails.
#[test]
fn devices_are_named_as_the_kernel_has_them() {
    for name in ["", ".", "..", "a b", "a/b", "a:b", "a2345678901234567", "a\u{b}b"] {
        let name = serde_json::to_string(name).unwrap();
        let text = EXAMPLE
            .replace(r#""address": "172.20.0.2:443""#, &format!(r#""address": "172.20.0.2:443", "interface": {name}"#));
        assert!(parse("lb.json", &text).is_err(), "{name}");
    }
}
