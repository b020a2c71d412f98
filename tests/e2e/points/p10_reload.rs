//! 10. A reload that fails changes nothing; one that succeeds loses no connection, open or new.
use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::load::under_load;
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::sockets;
use crate::kit::wait_until;

/// Without this, a reload under load drops a connection, open or new, or a broken file changes something.
#[test]
fn a_hundred_reloads_under_load_good_and_broken_in_turn() {
    let (one, two) = (Origin::echo("one"), Origin::echo("two"));
    let proxy = Proxy::start(routes(&one));
    let mut old = proxy.connect();
    assert_eq!(old.hello("a.test").greeting(), "one");
    old.expect(&hello("a.test"));
    let short_connection = || {
        let mut client = proxy.connect();
        let name = client.hello("a.test").greeting();
        assert!(name == "one" || name == "two");
        client.expect(&hello("a.test"));
    };
    under_load(2, short_connection, |load| {
        for round in 0..100 {
            match round % 4 {
                0 => proxy.reload(routes(&two)),
                1 => proxy.reload_text("{ \"listen\": "),
                2 => proxy.reload(routes(&one)),
                _ => proxy.reload(json!({ "routes": { "a": { "sni": ["a.test"], "servers": ["127.0.0.1"] } } })),
            }
            let wanted = if round % 4 < 2 { "two" } else { "one" };
            assert_eq!(proxy.connect().hello("a.test").greeting(), wanted, "after reload {round}");
            load.wait_for(2);
        }
    });
    old.send(b"as before").expect(b"as before");
    let bad = proxy.entries().into_iter().find(|e| e.step == "CLOSE" && e.ts() != "--" && e.ts() != "CD");
    assert!(bad.is_none(), "{bad:?}");
}

/// Without this, a broken file takes effect, or the log has other errors than `check`.
#[test]
fn a_broken_file_is_refused_with_its_errors() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(routes(&origin));
    proxy.reload(json!({ "routes": { "a": { "sni": ["a.test"], "servers": ["172.24.0.3"] } } }));
    proxy.wait_for_notice("lb.json: routes.a.servers[0]: \"172.24.0.3\" has no port; write \"172.24.0.3:443\"");
}

/// Without this, a reload closes a listener that stays, leaves one open that goes, or does not open a new one.
#[test]
fn listeners_come_and_go() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(routes(&origin));
    let (stays, comes) = (proxy.address, free_address());
    let socket = sockets::listening(stays);
    let mut waiting = proxy.connect();
    let with = |listen: Value| {
        let mut config = routes(&origin);
        config["listen"] = listen;
        config
    };
    proxy.reload(with(json!([stays, comes])));
    assert_eq!(Client::connect(comes).hello("a.test").greeting(), "a");
    let mut open = Client::connect(comes);
    assert_eq!(open.hello("a.test").greeting(), "a");
    proxy.reload(with(json!([stays])));
    wait_until("the listener is gone", || std::net::TcpStream::connect(comes).is_err());
    open.expect(&hello("a.test")).send(b"open").expect(b"open");
    assert_eq!(waiting.hello("a.test").greeting(), "a");
    assert_eq!(sockets::listening(stays), socket, "the socket was replaced by another one");
}

/// Without this, a file with an address that is taken applies in part.
#[test]
fn a_listener_that_cannot_be_bound_changes_nothing() {
    let (one, two) = (Origin::echo("one"), Origin::echo("two"));
    let proxy = Proxy::start(routes(&one));
    let mut config = routes(&two);
    config["listen"] = json!([proxy.address, two.address]);
    proxy.reload(config);
    assert_eq!(proxy.connect().hello("a.test").greeting(), "one");
}

/// Without this, a reload sends clients to a server that is known to be down.
#[test]
fn health_outlives_a_reload() {
    let (up, down) = (Origin::echo("up"), free_address());
    let config = |weight: u16| {
        json!({
            "routes": { "a": { "sni": ["a.test"], "servers": [
                up.server(),
                { "address": down, "weight": weight }
            ] } },
            "health_check": { "interval": "60s" },
            "retries": 0
        })
    };
    let proxy = Proxy::start(config(1));
    // The first probe takes it down; the next is a minute away.
    wait_until("the first probe", || up.probes() == 1);
    wait_until("every client gets the server that is up", || (0..8).all(|_| greets(&proxy)));
    for weight in 2..10 {
        proxy.reload(config(weight));
        assert!((0..10).all(|_| greets(&proxy)), "after reload to weight {weight}");
    }
}

fn greets(proxy: &Proxy) -> bool {
    let mut client = proxy.connect();
    client.hello("a.test").try_greeting().is_ok_and(|name| name == "up")
}

/// Without this, a removed route's connections are cut off, or new clients still get it.
#[test]
fn a_route_that_is_gone_keeps_its_connections() {
    let origin = Origin::echo("a");
    let proxy = Proxy::start(routes(&origin));
    let mut old = proxy.connect();
    assert_eq!(old.hello("a.test").greeting(), "a");
    old.expect(&hello("a.test"));
    proxy.reload(json!({
        "routes": { "b": { "sni": ["b.test"], "servers": [origin.server()] } },
        "reject": "close"
    }));
    assert_eq!(proxy.connect().hello("a.test").end(), End::Fin);
    assert_eq!(proxy.connect().hello("b.test").greeting(), "a");
    old.send(b"as before").expect(b"as before").finish();
    assert_eq!(old.end(), End::Fin);
    assert_eq!(proxy.close_of(old.address).backend(), "a");
}

fn routes(origin: &Origin) -> Value {
    json!({ "routes": { "a": { "sni": ["a.test"], "servers": [origin.server_with(json!({ "name": "s" }))] } } })
}

/// Without this, the error says to stop another program, although the process's own listener holds the address.
#[test]
fn a_listener_of_its_own_in_the_way_is_named() {
    let origin = Origin::echo("a");
    let mut config = routes(&origin);
    let port = free_address().port();
    config["listen"] = json!([format!("0.0.0.0:{port}")]);
    let proxy = Proxy::start(config.clone());
    config["listen"] = json!([format!("127.0.0.1:{port}")]);
    proxy.reload(config);
    proxy.wait_for_notice(&format!(
        "listen: cannot listen on 127.0.0.1:{port}: Address already in use; this process listens on 0.0.0.0:{port}, and a \
         reload cannot replace that by this address, so restart it"
    ));
}

/// Without this, a reload that is asked for during another is lost, or a large file stops the loop.
#[test]
fn a_reload_during_a_reload_comes_after_it() {
    let origin = Origin::echo("a");
    let config = |last: &str| {
        let name = |n| if n == 4999 { last.to_owned() } else { format!("r{n}") };
        let route = |name: &str| json!({ "sni": [format!("{name}.test")], "servers": [origin.server()] });
        let routes: serde_json::Map<_, _> = (0..5000).map(|n| (name(n), route(&name(n)))).collect();
        json!({ "routes": routes, "health_check": { "type": "off" } })
    };
    let proxy = Proxy::start(config("first"));
    let mut open = proxy.connect();
    assert_eq!(open.hello("first.test").greeting(), "a");
    open.expect(&hello("first.test"));
    let mut second = config("second");
    second["listen"] = json!([proxy.address]);
    proxy.reload_again(&second.to_string());
    let mut third = config("third");
    third["listen"] = json!([proxy.address]);
    let start = proxy.lines.len();
    proxy.reload_again(&third.to_string());
    open.send(b"served meanwhile").expect(b"served meanwhile");
    proxy.lines.wait(start, |_, line| line.contains("Reloaded ").then_some(()));
    wait_until("the last file is in force", || {
        let mut client = proxy.connect();
        client.hello("third.test").try_greeting().is_ok_and(|greeting| greeting == "a")
    });
    let mut gone = proxy.connect();
    assert!(gone.hello("first.test").try_greeting().is_err());
}
