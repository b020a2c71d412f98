//! Counters over reloads.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::http::{get, json as stats, start};
use crate::kit::client::End;
use crate::kit::load::under_load;
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::wait_until;
use crate::prometheus::Exposition;

/// Without this, Prometheus takes a counter that goes down for a restart, and computes a wrong rate.
#[test]
fn no_counter_goes_down_over_twenty_reloads() {
    let (here, there) = (Origin::echo("here"), Origin::echo("there"));
    let admin_config = |config: &mut Value, admin| config["admin"]["listen"] = json!([admin]);
    // Each reload brings and takes servers and routes, in turn under the same names.
    let config = |turn: u32| {
        let colour = if turn.is_multiple_of(2) { "blue" } else { "green" };
        let mut servers = vec![here.server_with(json!({ "name": "stays" }))];
        servers.push(there.server_with(json!({ "name": colour, "weight": 1 + turn % 3 })));
        let mut routes = json!({ "main": { "sni": ["main.test"], "servers": servers, "balance": "round_robin" } });
        routes[format!("{colour}-route")] = json!({ "sni": ["side.test"], "servers": [there.server()] });
        json!({ "health_check": { "interval": "50ms" }, "retries": turn % 2, "routes": routes, "limits": { "connections": 500 + turn } })
    };
    let (proxy, admin) = start(config(0));
    let mut highest: BTreeMap<String, f64> = BTreeMap::new();
    let connections = || {
        for name in ["main.test", "side.test", "unknown.test"] {
            let mut client = proxy.connect();
            client.hello(name);
            if name != "unknown.test" {
                client.greeting();
                client.finish();
            }
            assert_ne!(client.end(), End::Silence);
        }
    };
    under_load(2, connections, |load| {
        for turn in 1..=20 {
            let mut next = config(turn);
            admin_config(&mut next, admin);
            if turn == 7 {
                proxy.reload_text("{ \"listen\": [");
            }
            proxy.reload(next);
            // Round robin gives each server one of so many.
            load.wait_for(6);
            let metrics = Exposition::parse(&get(admin, "/metrics").body);
            assert_eq!(metrics.value("fiscalismia_lb_config_generation").to_string(), (turn + 1).to_string());
            for (series, value) in metrics.counters() {
                let before = highest.get(series).copied().unwrap_or(0.0);
                // What does not exist is NaN, and compares to nothing.
                assert!(value.is_nan() || value >= before, "{series} went from {before} to {value} in reload {turn}");
                highest.insert(series.clone(), value);
            }
        }
    });
    wait_until("all have gone", || stats(admin)["connections"] == 0);
    let metrics = Exposition::parse(&get(admin, "/metrics").body);
    let reloads = |result: &str| metrics.value(&format!("fiscalismia_lb_config_reloads_total{{result=\"{result}\"}}"));
    assert_eq!((reloads("success").to_string(), reloads("failure").to_string()), ("20".into(), "1".into()));
    // A route's counters hold those of servers that are gone.
    let main = |name: &str| metrics.value(&format!("haproxy_backend_{name}{{proxy=\"main\"}}"));
    assert!(main("sessions_total") >= 20.0, "{}", main("sessions_total"));
    assert_eq!(main("sessions_total").to_string(), main("loadbalanced_total").to_string());
    let gone: f64 = ["blue", "green"]
        .map(|name| highest[&format!("haproxy_server_sessions_total{{proxy=\"main\",server=\"{name}\"}}")])
        .iter()
        .sum();
    assert!(gone > 0.0);
}

/// Without this, an operator takes a refused file for one that is in force.
#[test]
fn a_refused_reload_shows() {
    let config = json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } });
    let (proxy, admin) = start(config.clone());
    let metric =
        |name: &str| Exposition::parse(&get(admin, "/metrics").body).value(&format!("fiscalismia_lb_config_{name}"));
    let started = metric("last_reload_timestamp_seconds");
    assert_eq!(metric("last_reload_success").to_string(), "1");
    proxy.reload_text("{}");
    assert_eq!((metric("last_reload_success").to_string(), metric("generation").to_string()), ("0".into(), "1".into()));
    assert!(metric("last_reload_timestamp_seconds") > started);
    assert!(get(admin, "/stats").body.contains("The last reload was refused"));
    let mut again = config;
    again["admin"]["listen"] = json!([admin]);
    proxy.reload(again);
    assert_eq!((metric("last_reload_success").to_string(), metric("generation").to_string()), ("1".into(), "2".into()));
}

/// Without this, a client that is refused after its hello is first counted in and then out, so a counter goes down.
#[test]
fn a_client_that_is_refused_late_is_counted_once() {
    let (proxy, admin) = start(json!({
        "limits": { "per_source": { "rate": 1, "period": "1h" } },
        "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let count = || {
        let metrics = Exposition::parse(&get(admin, "/metrics").body);
        ["connections", "sessions", "denied_connections", "requests_denied"]
            .map(|name| metrics.value(&format!("haproxy_frontend_{name}_total{{proxy=\"https_ingress\"}}")) as u64)
    };
    let (first, mut second) = (proxy.connect(), proxy.connect());
    wait_until("both are in", || stats(admin)["connections"] == 2);
    assert_eq!(count(), [2, 1, 0, 0]);
    second.hello("a.test");
    wait_until("one is dropped", || stats(admin)["connections"] == 1);
    assert_eq!(count(), [2, 1, 1, 1]);
    drop(first);
}
