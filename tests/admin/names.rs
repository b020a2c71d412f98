//! The metric names that dashboards and alerts for HAProxy use.
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::http::{get, json as stats, start};
use crate::kit::client::End;
use crate::kit::namespace::skip;
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::wait_until;
use crate::prometheus::Exposition;

const PROCESS: &str = "start_time_seconds uptime_seconds current_connections max_connections max_fds connections_total
    bytes_out_total spliced_bytes_out_total max_pipes pipes_used_total pipes_free_total dropped_logs_total stopping nbthread
    build_info";
const FRONTEND: &str =
    "status current_sessions max_sessions limit_sessions sessions_total connections_total bytes_in_total
    bytes_out_total requests_denied_total denied_connections_total request_errors_total";
const BACKEND: &str = "active_servers backup_servers";
const BACKEND_AND_SERVER: &str = "status current_sessions max_sessions sessions_total bytes_in_total bytes_out_total
    connection_attempts_total connection_errors_total response_errors_total retry_warnings_total redispatch_warnings_total
    client_aborts_total server_aborts_total check_up_down_total check_last_change_seconds downtime_seconds_total
    loadbalanced_total connect_time_average_seconds total_time_average_seconds max_connect_time_seconds
    max_total_time_seconds";
const SERVER: &str = "weight check_failures_total check_status check_duration_seconds";

/// Without this, a panel of an existing HAProxy dashboard stays blank.
#[test]
fn every_name_of_haproxys_is_there() {
    let origin = Origin::echo("here");
    let (proxy, admin) = start(json!({
        "redirect": { "listen": [free_address()] },
        "routes": { "r": { "sni": ["a.test"], "servers": [origin.server_with(json!({ "name": "s" }))] } } }));
    wait_until("a probe has passed", || stats(admin)["routes"][0]["servers"][0]["check"]["passed"] == true);
    let quiet = Exposition::parse(&get(admin, "/metrics").body);
    let mut client = proxy.connect();
    client.hello("a.test");
    assert_eq!(client.greeting(), "here");
    client.finish();
    assert_eq!(client.end(), End::Fin);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let before = now();
    let metrics = Exposition::parse(&get(admin, "/metrics").body);

    let exists = |kind: &str, name: &str, labels: &str| {
        let series = format!("haproxy_{kind}_{name}");
        let of_state = name == "status" || name == "check_status";
        let state = if name == "check_status" { "L4OK" } else { "UP" };
        let labels = match (labels, of_state) {
            (labels, true) => format!("{{{labels},state=\"{state}\"}}"),
            ("", false) if name == "build_info" => format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
            ("", false) => String::new(),
            (labels, false) => format!("{{{labels}}}"),
        };
        assert!(!metrics.value(&format!("{series}{labels}")).is_nan(), "{series}{labels} is NaN");
        let is_total = name.ends_with("_total") && !name.starts_with("pipes_");
        assert_eq!(metrics.kinds[&series] == "counter", is_total, "{series}");
    };
    PROCESS.split_whitespace().for_each(|name| exists("process", name, ""));
    for proxy in ["https_ingress", "http_ingress"] {
        FRONTEND.split_whitespace().for_each(|name| exists("frontend", name, &format!("proxy=\"{proxy}\"")));
    }
    for name in BACKEND.split_whitespace().chain(BACKEND_AND_SERVER.split_whitespace()) {
        exists("backend", name, "proxy=\"r\"");
    }
    for name in SERVER.split_whitespace().chain(BACKEND_AND_SERVER.split_whitespace()) {
        exists("server", name, "proxy=\"r\",server=\"s\"");
    }
    // Before the first connection there is no average, which is not 0.
    for name in ["connect_time_average_seconds", "total_time_average_seconds", "max_total_time_seconds"] {
        assert!(quiet.value(&format!("haproxy_backend_{name}{{proxy=\"r\"}}")).is_nan(), "{name}");
    }
    assert!(metrics.value("haproxy_server_limit_sessions{proxy=\"r\",server=\"s\"}").is_nan(), "it has no limit");
    let started = metrics.value("haproxy_process_start_time_seconds");
    let then = started + metrics.value("haproxy_process_uptime_seconds");
    assert!((before - 2.0..now() + 2.0).contains(&then), "{then} is no time of this test, which began at {before}");
}

/// Without this, a client fills Prometheus' memory with labels, or breaks the format.
#[test]
fn no_label_comes_from_a_client() {
    let (proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*.test"], "servers": [free_address()] } } }));
    let before = Exposition::parse(&get(admin, "/metrics").body);
    for name in ["evil-client.test", "evil-client.example", "evil\"}\nclient 1"] {
        let mut client = proxy.connect();
        client.hello(name);
        client.end_within(std::time::Duration::from_millis(50));
    }
    let text = get(admin, "/metrics").body;
    assert!(!text.contains("evil"));
    let after = Exposition::parse(&text);
    assert_eq!(
        after.values.keys().collect::<Vec<_>>(),
        before.values.keys().collect::<Vec<_>>(),
        "a series more or less"
    );
}

/// Without this, mistakes stay that Prometheus' linter knows and a parser does not.
#[test]
fn promtool_finds_nothing_wrong() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else { return skip("promtool check metrics", "there is no promtool") };
    promtool.stdin.take().unwrap().write_all(get(admin, "/metrics").body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
