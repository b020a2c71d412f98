//! Other forms of the log: JSON, colours on a terminal, and its first lines.
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::kit::client::Client;
use crate::kit::hello::hello;
use crate::kit::lines::{From, Lines};
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::program::program;
use crate::kit::proxy::Proxy;

/// Without this, a log line is not a JSON object, or lacks what happened to a connection.
#[test]
fn json() {
    let origin = Origin::echo("greeting");
    let http = free_address();
    let mut config = config(&origin, &http);
    config["log"] = json!({ "format": "json" });
    let proxy = Proxy::start(config.clone());
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "greeting");
    client.expect(&hello("a.test")).finish().end();
    let close = event(&proxy, client.address, "close");
    let (sent, got) = (hello("a.test").len(), hello("a.test").len() + "greeting\n".len());
    for (key, wanted) in [
        ("frontend", json!("https_ingress")),
        ("level", json!("info")),
        ("sni", json!("a.test")),
        ("route", json!("a")),
        ("server", json!("s")),
        ("close_reason", json!("done")),
        ("termination_state", json!("--")),
        ("bytes_up", json!(sent)),
        ("bytes_down", json!(got)),
        ("process_connections", json!(1)),
        ("queue_ms", json!(0)),
    ] {
        assert_eq!(close[key], wanted, "{key} of {close}");
    }
    assert!(close["connect_ms"].is_u64() && close["total_ms"].is_u64(), "{close}");
    assert_eq!(close["unique_id"].as_str().map(str::len), Some(32));
    let (accept, connect) = (event(&proxy, client.address, "accept"), event(&proxy, client.address, "connect"));
    assert_eq!((&accept["accepted"], &connect["accepted"]), (&close["accepted"], &close["accepted"]));
    assert!(close["time"].as_str() >= accept["time"].as_str());
    assert_eq!(connect["unique_id"], close["unique_id"]);

    let mut refused = proxy.connect();
    refused.hello("evil\"\n.test").end();
    assert_eq!(event(&proxy, refused.address, "hello_refused")["sni"], r#"evil\"\x0a.test"#);
    let close = event(&proxy, refused.address, "close");
    assert_eq!((&close["drop_reason"], &close["sni"]), (&json!("unknown_sni"), &json!(r#"evil\"\x0a.test"#)));
    let mut offers = proxy.connect();
    offers.send(&HelloBuilder::new().sni("A.test").alpn(&["h2", "http/1.1", "a,b"]).build()).greeting();
    let connect = event(&proxy, offers.address, "connect");
    assert_eq!((&connect["sni"], &connect["alpn"]), (&json!("A.test"), &json!(r"h2,http/1.1,a\x2cb")));

    let mut down = proxy.connect();
    down.hello("down.test").end();
    let failed = event(&proxy, down.address, "connect_failed");
    assert_eq!((&failed["retries_left"], &failed["reason"]), (&json!(0), &json!("Connection refused")));
    assert_eq!(event(&proxy, down.address, "close")["close_reason"], "server_refused");

    let mut plain = Client::connect(http);
    plain.send(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n").end();
    let address = plain.address;
    drop(plain);
    let close = event(&proxy, address, "close");
    assert_eq!((&close["frontend"], &close["termination_state"]), (&json!("http_ingress"), &json!("LR")));

    proxy.reload_text("{");
    proxy.wait_for_notice("Reload refused");
    let lines = proxy.lines.of(From::Stdout);
    let objects: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for object in &objects {
        let is_date = |key: &str| object[key].as_str().is_some_and(is_rfc3339);
        assert!(is_date("time") && (object["client_address"].is_null() || is_date("accepted")), "{object}");
    }
    let errors: Vec<&Value> = objects.iter().filter(|object| object["level"] == "error").collect();
    assert!(errors.iter().any(|error| error["message"] == "Reload refused: nothing has changed."), "{errors:?}");

    // The form changes with a reload.
    config["log"] = json!({});
    config["listen"] = json!([proxy.address]);
    proxy.reload(config);
    let mut client = proxy.connect();
    client.hello("a.test").greeting();
    assert_eq!(proxy.entry(client.address, "CONNECT").place, "a/s");
}

/// Without this, a terminal shows no colours, or shows them although the environment (`NO_COLOR`) forbids them.
#[test]
fn colours_on_a_terminal() {
    let origin = Origin::echo("a");
    for (variable, value, coloured) in
        [("A", "1", true), ("NO_COLOR", "", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)]
    {
        let (address, folder, lines) = (free_address(), Folder::new(), Lines::default());
        let mut config = config(&origin, &free_address());
        config["listen"] = json!([address]);
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let mut child = Command::new(program())
            .args(["run", "--config"])
            .arg(folder.write("lb.json", &config.to_string()))
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .env(variable, value)
            .stdout(Stdio::from(terminal))
            .spawn()
            .unwrap();
        lines.follow(From::Stdout, File::from(master));
        lines.wait(0, |_, line| line.contains("Limits:").then_some(()));
        Client::connect(address).hello("nobody.test").end();
        let close = lines.wait(0, |_, line| line.contains(" CLOSE ").then(|| line.to_owned()));
        child.kill().unwrap();
        child.wait().unwrap();
        let wanted = if coloured {
            ["drop=\x1b[33mSNI_REJECTED\x1b[0m Tw=", "ts=\x1b[33mPR\x1b[0m ac=", "sni=\"nobody.test\""]
        } else {
            ["drop=SNI_REJECTED Tw=", "ts=PR ac=", "sni=\"nobody.test\""]
        };
        assert!(wanted.iter().all(|wanted| close.contains(wanted)), "{variable}={value}: {close:?}");
        let escapes = lines.of(From::Stdout).iter().map(|line| line.matches('\x1b').count()).sum::<usize>();
        assert_eq!(escapes, if coloured { 6 } else { 0 }, "{lines:?}");
    }
}

/// Without this, the first lines do not show version, listeners, routes and limits.
#[test]
fn the_banner() {
    let origin = Origin::echo("a");
    let http = free_address();
    let proxy = Proxy::start(json!({
        "redirect": { "listen": [http] },
        "routes": { "demo": {
            "sni": ["demo.test", "*.demo.test"],
            "alpn": ["h2"],
            "servers": [
                { "name": "one", "address": "127.0.0.1:1", "weight": 3 },
                { "name": "two", "address": "127.0.0.1:2", "backup": true }
            ],
            "balance": "source",
            "proxy_protocol": "v1",
            "health_check": { "type": "off" }
        }, "plain": { "sni": ["plain.test"], "servers": [origin.address] } },
        "limits": {
            "connections": 100,
            "per_source": { "rate": 50, "period": "5s", "concurrent": 7, "exempt": ["10.0.0.0/8"] }
        },
        "reject": "alert"
    }));
    let told: Vec<String> = proxy.other_lines();
    let told: Vec<&str> = told.iter().map(|line| line.split_once("] ").unwrap().1).collect();
    let (version, listen) = (env!("CARGO_PKG_VERSION"), proxy.address);
    let server = origin.address;
    let wanted = [
        format!("Listening on {listen} for https."),
        format!("Listening on {http} for http."),
        "Route demo: demo.test, *.demo.test with h2 to one 127.0.0.1:1 weight 3, two 127.0.0.1:2 backup by source, PROXY v1."
            .to_owned(),
        format!("Route plain: plain.test to {server}, PROXY v2."),
    ];
    assert!(told[0].starts_with(&format!("fiscalismia-lb {version} serves ")), "{told:#?}");
    assert!(told[0].ends_with("/lb.json: 2 routes, 3 servers."), "{told:#?}");
    assert_eq!(&told[1..5], wanted, "{told:#?}");
    assert!(told[5].starts_with("Limits: 100 connections (of "), "{told:#?}");
    let limits = " fds); for each source address, 50 new connections in 5s, 7 open connections (IPv6 by /64, 1 network exempt); \
                  5s for a hello, 30s to drain; refused clients get: alert.";
    assert!(told[5].ends_with(limits), "{told:#?}");

    let routes = (0..100).map(|n| (format!("r{n}"), json!({ "sni": [format!("{n}.test")], "servers": [server] })));
    let proxy = Proxy::start(json!({ "routes": routes.collect::<serde_json::Map<_, _>>() }));
    let told = proxy.other_lines();
    assert_eq!(told.iter().filter(|line| line.contains("] Route ")).count(), 40);
    assert!(told.iter().any(|line| line.ends_with("And 60 more routes.")), "{told:#?}");
}

/// The first object about a step of the client at `client`, waiting for it.
fn event(proxy: &Proxy, client: SocketAddr, event: &str) -> Value {
    proxy.lines.wait(0, |from, line| {
        let object: Value = (from == From::Stdout).then(|| serde_json::from_str(line).ok())??;
        let is_it = object["client_address"] == client.ip().to_string()
            && object["client_port"] == client.port()
            && object["event"] == event;
        is_it.then_some(object)
    })
}

/// `yyyy-mm-ddTHH:MM:SS.mmmZ`
fn is_rfc3339(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

fn config(origin: &Origin, http: &SocketAddr) -> Value {
    json!({
        "redirect": { "listen": [http] },
        "routes": {
            "a": {
                "sni": ["a.test"],
                "servers": [{ "name": "s", "address": origin.address }],
                "proxy_tlvs": ["unique_id"]
            },
            "down": {
                "sni": ["down.test"], "servers": [free_address()], "health_check": { "type": "off" }
            }
        },
        "retries": 0,
        "reject": "close"
    })
}
