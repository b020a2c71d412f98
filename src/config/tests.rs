use super::*;

const CONTRACT_EXAMPLE: &str = r#"{
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

/// Every default is the one that users are told of.
#[test]
fn defaults_are_as_promised() {
    let config = parse("lb.json", CONTRACT_EXAMPLE).unwrap();
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
        sni: vec![SniPattern::Exact("fiscalismia.com".into())],
        alpn: Vec::new(),
        servers: vec![server("172.24.0.3:443", "172.24.0.3:443", false)],
        balance: Balance::RoundRobin,
        proxy_protocol: ProxyProtocol::V2,
        proxy_tlvs: ProxyTlvs::default(),
        on_down: OnDown::Keep,
        timeouts: RouteTimeouts {
            connect: Duration::from_secs(5),
            tunnel: Duration::from_mins(5),
            half_closed: Duration::from_secs(30),
        },
        health_check: HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            fall: 3,
            rise: 2,
            port: None,
            proxy_header: true,
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
        routes: vec![Rc::new(frontend), Rc::new(demo)],
        timeouts: Timeouts { client_hello: Duration::from_secs(5), drain: Duration::from_secs(30) },
        retries: 3,
        limits: Limits { connections: 4096, per_source: None },
        reject: Reject::Drop,
        redirect: Vec::new(),
        admin: Admin::default(),
        log: Log { format: LogFormat::Haproxy, connections: LogConnections::All },
        zero_copy: ZeroCopy::Auto,
    };
    assert_eq!(config, expected);
}
