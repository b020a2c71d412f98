//! The admin endpoints: paths, methods, statuses, and access.
use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::http::{PASSWORD, USER, answer, ask, connect, get, json as stats, start};
use crate::kit::lines::From;
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::program::program;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

/// Without this, a load balancer or container engine in front acts on a wrong status.
#[test]
fn health_and_readiness() {
    let mut origin = Origin::echo("up");
    let (proxy, admin) = start(json!({
        "health_check": { "interval": "100ms", "fall": 1 },
        "routes": { "good": { "sni": ["good.test"], "servers": [origin.server()] },
                    "bad": { "sni": ["bad.test"], "servers": [free_address()] },
                    "empty": { "sni": ["empty.test"], "servers": [{ "address": origin.address, "weight": 0 }] } } }));
    assert_eq!((get(admin, "/health").status, &*get(admin, "/health").body), (200, "ok\n"));
    wait_until("bad is down", || get(admin, "/ready").body == "no server up: bad, empty\n");
    assert_eq!(get(admin, "/ready").status, 503);

    let routes = json!({ "good": { "sni": ["good.test"], "servers": [origin.server()] } });
    proxy.reload(
        json!({ "admin": { "listen": [admin] }, "health_check": { "interval": "100ms", "fall": 1 }, "routes": routes }),
    );
    assert_eq!((get(admin, "/ready").status, &*get(admin, "/ready").body), (200, "ready\n"));
    origin.stop_listening();
    wait_until("good is down", || get(admin, "/ready").status == 503);
    assert_eq!(get(admin, "/health").status, 200, "the proxy is well, whatever its servers are");
}

/// Without this, a load balancer in front goes on sending clients while the program drains.
#[test]
fn draining_is_told_until_the_end() {
    let origin = Origin::echo("up");
    let (proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [origin.server()] } } }));
    let mut client = proxy.connect();
    client.hello("a.test");
    assert_eq!(client.greeting(), "up");
    proxy.signal(Signal::TERM);
    wait_until("it drains", || get(admin, "/health").status == 503);
    assert_eq!(get(admin, "/health").body, "draining\n");
    assert_eq!(get(admin, "/ready").status, 503);
    assert_eq!(stats(admin)["draining"], true);
    assert_eq!(stats(admin)["frontends"][0]["state"], "DOWN");
    assert_eq!(stats(admin)["phases"]["relay"], 1);
    drop(client);
    assert!(proxy.wait_for_exit().0.success());
}

/// Without this, `fiscalismia-lb health` calls a dead proxy healthy, or a healthy one dead.
#[test]
fn the_health_command_agrees() {
    let (proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let health = || {
        let url = format!("http://{admin}/health");
        Command::new(program()).args(["health", &url]).output().unwrap()
    };
    assert_eq!(health().status.code(), Some(0));
    let mut client = proxy.connect();
    client.send(b"\x16");
    wait_until("the client is in", || stats(admin)["connections"] == 1);
    proxy.signal(Signal::TERM);
    wait_until("draining shows", || health().status.code() == Some(1));
    drop(client);
    proxy.wait_for_exit();
    assert_eq!(health().status.code(), Some(1));
}

/// Without this, a request that no endpoint serves gets a wrong status or a partial answer.
#[test]
fn other_requests_are_refused() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let status = |request: &str| ask(admin, request).status;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let refused =
            ask(admin, &format!("{method} /health HTTP/1.1\r\nHost: lb\r\nContent-Length: 9\r\n\r\nsome body"));
        assert_eq!((refused.status, refused.field("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in [
        "/",
        "/nothing",
        "/health/",
        "/stats;json",
        "/statsx",
        "/stats/x",
        "/METRICS",
        "//stats",
        "/../stats",
        "http://lb/x",
    ] {
        assert_eq!(status(&format!("GET {path} HTTP/1.1\r\nHost: lb\r\n\r\n")), 404, "{path}");
    }
    for malformed in [
        "GET /health\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "GET /health HTTP/2.0\r\n\r\n",
    ] {
        assert_eq!(status(malformed), 400, "{malformed:?}");
    }
    let long = ask(admin, &format!("GET /health HTTP/1.1\r\nHost: lb\r\nX: {}\r\n\r\n", "x".repeat(9000)));
    assert_eq!((long.status, &*long.body), (431, "the request's head is longer than 8 KiB\n"));
    let many = ask(admin, &format!("GET /health HTTP/1.1\r\nHost: lb\r\n{}\r\n", "X: y\r\n".repeat(70)));
    assert_eq!((many.status, &*many.body), (431, "the request's head has more than 64 fields\n"));
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: lb\r\n\r\n", "x".repeat(100_000))), 431);
    assert_eq!(status(&format!("GET /health?{} HTTP/1.1\r\nHost: lb\r\n\r\n", "x".repeat(8000))), 200);
    assert_eq!(status("GET http://elsewhere/health?a=b HTTP/1.1\r\nHost: lb\r\n\r\n"), 200);
}

/// Without this, a scraper with HTTP/1.0, HEAD or pipelined requests gets an answer that it cannot read.
#[test]
fn head_and_old_http() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    for path in ["/health", "/ready", "/metrics", "/nothing"] {
        let (head, get) = (ask(admin, &format!("HEAD {path} HTTP/1.1\r\nHost: lb\r\n\r\n")), get(admin, path));
        assert_eq!(head.head, get.head, "{path}");
        let old = ask(admin, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!((old.status, old.field("Transfer-Encoding")), (get.status, None));
        assert_eq!(old.body.is_empty(), get.body.is_empty());
    }
    assert_eq!(get(admin, "/metrics").field("Transfer-Encoding"), Some("chunked"));
    let two = "GET /health HTTP/1.1\r\nHost: lb\r\n\r\nGET /health HTTP/1.1\r\nHost: lb\r\n\r\n";
    assert_eq!(ask(admin, two).body, "ok\n");
    let mut slowly = connect(admin);
    for byte in "GET /health HTTP/1.1\r\nHost: lb\r\n\r\n".bytes() {
        slowly.write_all(&[byte]).unwrap();
    }
    assert_eq!(answer(&mut slowly, false).body, "ok\n");
}

/// Without this, /stats opens to a wrong, missing or unset password, or one of its three forms stays closed to the
/// right one.
#[test]
fn stats_want_the_password() {
    let routes = json!({ "r": { "sni": ["*"], "servers": [free_address()] } });
    let (proxy, admin) = start(json!({ "routes": routes }));
    let closed = free_address();
    let _closed = Proxy::start(json!({ "admin": { "listen": [closed] }, "routes": routes }));
    for path in ["/stats", "/stats;csv", "/stats.json"] {
        assert_eq!(get(admin, path).status, 200, "{path}");
        for authorization in ["", "Authorization: Basic Z3JldGU6Z3JldGU=\r\n", "Authorization: Bearer x\r\n"] {
            let denied = ask(admin, &format!("GET {path} HTTP/1.1\r\nHost: lb\r\n{authorization}\r\n"));
            assert_eq!(denied.status, 401, "{path} {authorization}");
            assert!(denied.field("WWW-Authenticate").unwrap().starts_with("Basic realm="));
            assert!(!denied.body.contains("r/"), "{}", denied.body);
        }
        let forbidden = get(closed, path);
        assert_eq!(forbidden.status, 403, "{path}");
        assert!(forbidden.body.contains("admin.stats_credentials") && forbidden.body.contains("STATS_PASSWORD"));
    }
    proxy.wait_for_notice("/stats is refused to 127.0.0.1:");
    assert_eq!(ask(admin, "GET /metrics HTTP/1.1\r\nHost: lb\r\n\r\n").status, 200, "Prometheus has no password");
}

/// Without this, a changed password is not in force after a reload, an unreadable one changes something, or a missing
/// one closes more than the page.
#[test]
fn credentials_are_read_again() {
    let (folder, admin) = (Folder::new(), free_address());
    let (name, password) = (folder.write("name", "grete\n"), folder.write("password", "first\n"));
    let config = json!({
        "admin": { "listen": [admin], "stats_credentials": { "username_file": name, "password_file": password } },
        "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } });
    fs::rename(&password, folder.path().join("later")).unwrap();
    let proxy = Proxy::start(config.clone());
    proxy.wait_for_notice("password is missing or empty, so that /stats answers 403");
    fs::rename(folder.path().join("later"), &password).unwrap();
    let status = |pair: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        ask(admin, &format!("GET /stats.json HTTP/1.1\r\nHost: lb\r\nAuthorization: Basic {pair}\r\n\r\n")).status
    };
    assert_eq!(status("grete:first"), 403);
    proxy.reload(config.clone());
    assert_eq!((status("grete:first"), status("grete:first\n"), status("grete:second")), (200, 401, 401));
    folder.write("password", "second");
    proxy.reload(config.clone());
    assert_eq!((status("grete:first"), status("grete:second")), (401, 200));
    folder.write("password", "third\nline");
    proxy.reload(config.clone());
    assert_eq!((status("grete:third"), status("grete:second")), (401, 200));
    proxy.wait_for_notice("has more than one line");
    fs::remove_file(&password).unwrap();
    proxy.reload(config);
    assert_eq!((status("grete:third"), status("grete:second")), (403, 403));
    assert!(!proxy.lines.of(From::Stdout).iter().any(|line| line.contains("second")));
}

/// Without this, secrets end up in screenshots, tickets and log archives.
#[test]
fn no_secret_is_shown() {
    let (proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let pages: String = ["/stats", "/stats;csv", "/stats.json", "/metrics"].map(|path| get(admin, path).body).concat();
    assert!(pages.len() > 10_000);
    for secret in [USER, PASSWORD, "Z3JldG"] {
        assert!(!pages.contains(secret), "{secret} is in a page");
        assert!(!format!("{:?}", proxy.lines).contains(secret), "{secret} is in the log");
    }
    let notices = proxy.other_lines();
    assert!(!notices.iter().any(|line| line.contains("/health") || line.contains("/stats")), "{notices:?}");
}

/// Without this, a client that never finishes its request keeps its connection, or is not told why it ends.
#[test]
fn a_request_takes_five_seconds_at_most() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let (mut stream, started) = (connect(admin), Instant::now());
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: l").unwrap();
    let late = answer(&mut stream, false);
    assert_eq!(late.status, 408);
    // The clock is read once a turn: on a busy machine the turn may have begun well before the client came.
    assert!(started.elapsed() > Duration::from_secs(3), "{:?}", started.elapsed());
}

/// Without this, collectors written for HAProxy get no CSV or page from their URLs.
#[test]
fn haproxys_ways_to_ask_for_the_statistics_work() {
    let mut origin = Origin::echo("up");
    origin.stop_listening();
    let (_proxy, admin) = start(json!({
        "health_check": { "interval": "100ms", "fall": 1 },
        "routes": { "r": { "sni": ["*"], "servers": [{ "name": "gone", "address": origin.address }] } } }));
    wait_until("the server is down", || get(admin, "/stats;csv").body.contains("r,gone,"));
    wait_until("the server is down", || get(admin, "/ready").status == 503);
    for path in ["/stats;csv;norefresh", "/stats;norefresh;csv", "/stats/;csv", "/stats;csv;up", "/stats;csv?x=y"] {
        let answer = get(admin, path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.starts_with("# pxname,"), "{path}");
        assert_eq!(answer.body.contains("r,gone,"), !path.contains("up"), "`up` hides servers that are down: {path}");
        assert!(answer.body.contains("r,BACKEND,"), "{path}");
    }
    for path in ["/stats", "/stats/", "/stats;up", "/stats;norefresh", "/stats;norefresh;up", "/stats;no-maint"] {
        let answer = get(admin, path);
        assert_eq!((answer.status, answer.field("Content-Type")), (200, Some("text/html; charset=utf-8")), "{path}");
        let refreshes = answer.field("Refresh") == Some("10");
        assert_eq!(refreshes, answer.body.contains("<meta http-equiv=\"refresh\" content=\"10\">"), "{path}");
        assert_eq!(refreshes, !path.contains("norefresh"), "{path}");
        assert_eq!(answer.body.contains("data-server=\"gone\""), !path.contains("up"), "{path}");
    }
}

/// Without this, a password is guessed as fast as the proxy answers, and each guess is a line of the log.
#[test]
fn wrong_passwords_are_few_and_summed_up() {
    let (proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let wrong = "GET /stats HTTP/1.1\r\nHost: lb\r\nAuthorization: Basic Z3JldGU6Z3JldGU=\r\n\r\n";
    let (mut denied, started) = (0, Instant::now());
    while started.elapsed() < Duration::from_secs(2) {
        match ask(admin, wrong).status {
            401 => denied += 1,
            status => assert_eq!(status, 429),
        }
    }
    // More than two seconds may have gone by.
    let seconds = started.elapsed().as_secs() + 1;
    assert!((10..=10 * seconds).contains(&denied), "{denied} passwords were looked at in {seconds} s");
    assert_eq!(ask(admin, "GET /health HTTP/1.1\r\nHost: lb\r\n\r\n").status, 200);
    proxy.wait_for_notice("/stats was refused ");
    let told = proxy.other_lines().iter().filter(|line| line.contains("/stats")).count();
    assert_eq!(told, 2);
    assert_eq!(get(admin, "/stats").status, 200, "the right one works again");
}
