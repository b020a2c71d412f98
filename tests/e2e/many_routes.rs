//! Ten thousand routes load fast and cost a connection no more than five do.
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::origin::Origin;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

const CONNECTIONS: usize = 300;

/// Without this, many routes make a reload stop the loop, or a connection cost more.
#[test]
fn ten_thousand_routes() {
    let origin = Origin::echo("a");
    // In turn, and the least of each, until it is seen: what else the machine does only adds.
    let (mut some, mut all) = (Duration::MAX, Duration::MAX);
    wait_until("ten times as many routes take at most twenty times as long to load", || {
        some = some.min(Proxy::start(routes(&origin, 1_000)).cpu_time());
        all = all.min(Proxy::start(routes(&origin, 10_000)).cpu_time());
        println!("{some:?} of CPU to load 1,000, {all:?} to load 10,000");
        all < some * 20
    });
    let (few, many) = (Proxy::start(routes(&origin, 5)), Proxy::start(routes(&origin, 10_000)));
    (some, all) = (Duration::MAX, Duration::MAX);
    wait_until("a connection costs no more", || {
        some = some.min(cost(&few, 5));
        all = all.min(cost(&many, 10_000));
        println!("{all:?} for 10,000 routes, {some:?} for 5");
        all < some.mul_f64(1.5)
    });
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
