//! 5. An IPv4 client of an IPv6 socket is an IPv4 client.
use std::net::SocketAddr;

use serde_json::json;

use crate::kit::client::Client;
use crate::kit::namespace::{add_ipv6, in_namespace};
use crate::kit::origin::{Expect, Origin, echo};
use crate::kit::places::{free_address, free_address_of};
use crate::kit::proxy::{Launch, Proxy};

/// Without this, an IPv4 client of a socket for both families has a `::ffff:a.b.c.d` address in header and log.
#[test]
fn v4_mapped_clients_are_ipv4_in_header_and_log() {
    let origin = Origin::echo("a");
    let address = free_address_of("::".parse().unwrap());
    let proxy = Proxy::launch(
        json!({
            "listen": [address],
            "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } }
        }),
        Launch::with_socket(address),
    );
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], address.port())));
    assert_eq!(client.hello("a.test").greeting(), "a");
    assert!(client.address.is_ipv4());
    assert_eq!(proxy.entry(client.address, "ACCEPT").client, client.address);
    let header = origin.header_of(client.address);
    assert_eq!(header.destination, Some(client.stream.peer_addr().unwrap()));
}

/// Without this, an IPv6 client has another address in header or log.
#[test]
fn ipv6_clients_are_ipv6_in_header_and_log() {
    in_namespace(concat!(module_path!(), "::ipv6_clients_are_ipv6_in_header_and_log"), || {
        add_ipv6(&["2001:db8::1", "2001:db8::7"]);
        let over_v4 = Origin::echo("over IPv4");
        let over_v6 = Origin::serve_at(free_address_of("::1".parse().unwrap()), Expect::Header, echo("over IPv6"));
        let address = free_address_of("2001:db8::1".parse().unwrap());
        let proxy = Proxy::start(json!({
            "listen": [address, free_address()],
            "routes": {
                "four": { "sni": ["four.test"], "servers": [over_v4.server()] },
                "six": { "sni": ["six.test"], "servers": [over_v6.server()] }
            }
        }));
        for (sni, origin, greeting) in [("four.test", &over_v4, "over IPv4"), ("six.test", &over_v6, "over IPv6")] {
            let mut client = Client::connect_from("2001:db8::7".parse().unwrap(), address);
            assert_eq!(client.hello(sni).greeting(), greeting);
            assert_eq!(origin.header_of(client.address).destination, Some(address));
            assert_eq!(proxy.entry(client.address, "ACCEPT").client, client.address);
        }
    });
}
