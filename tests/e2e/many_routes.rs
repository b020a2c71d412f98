//! Ten thousand routes load fast and cost a connection no more than five do.
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::origin::Origin;
use crate::kit::proxy::Proxy;

const CONNECTIONS: usize = 300;
const ROUNDS: usize = 7;

#[test]
fn ten_thousand_routes() {
    let origin = Origin::echo("a");
    let many = Proxy::start(routes(&origin, 10_000));
    let loaded = many.cpu_time();
    assert!(loaded < Duration::from_millis(200), "{loaded:?} of CPU to load");
    let few = Proxy::start(routes(&origin, 5));
    // In turn, and the least of each: what else the machine does only adds.
    let rounds: Vec<[Duration; 2]> = (0..ROUNDS).map(|_| [cost(&few, 5), cost(&many, 10_000)]).collect();
    let least = |which: usize| rounds.iter().map(|round| round[which]).min().unwrap();
    assert!(least(1) < least(0).mul_f64(1.5), "{:?} for 10,000 routes, {:?} for 5", least(1), least(0));
}

/// CPU time of connections to routes all over the list.
fn cost(proxy: &Proxy, routes: usize) -> Duration {
    let before = proxy.cpu_time();
    for n in 0..CONNECTIONS {
        let mut client = proxy.connect();
        assert_eq!(client.hello(&format!("name-{}.test", n * 7919 % routes)).greeting(), "a");
        client.reset();
    }
    proxy.cpu_time().saturating_sub(before)
}

fn routes(origin: &Origin, count: usize) -> Value {
    let route = |n| (format!("route-{n}"), json!({ "sni": [format!("name-{n}.test")], "servers": [origin.address] }));
    json!({
        "routes": (0..count).map(route).collect::<serde_json::Map<_, _>>(),
        "health_check": { "type": "off" }
    })
}
