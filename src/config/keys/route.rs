//! `routes.NAME`: where connections for some names go.
use std::net::SocketAddr;

use ipnet::IpNet;

use super::Absent::{Is, Means, Required};
use super::{Key, Object, health_check, http, server, timeouts};
use crate::config::addresses::{ADDRESS_PATTERN, NETWORK_PATTERN, network, tls_address, written_server_address};
use crate::config::kinds::{Choice, Either, Group, List, Text};
use crate::config::sni::{PATTERN, Written, pattern};
use crate::config::values::{PROTOCOL_PATTERN, protocol};
use crate::config::{Balance, OnAllDown, OnDown, ProxyProtocol, Tlv, defaults};

pub(in crate::config) static OBJECT: Object = Object {
    keys_are: "a route's key",
    place: "routes.NAME",
    keys: &[
        &LISTEN,
        &SNI,
        &ALPN,
        &SERVERS,
        &BALANCE,
        &PROXY_PROTOCOL,
        &PROXY_TLVS,
        &ON_DOWN,
        &ON_ALL_DOWN,
        &ALLOW_FROM,
        &HTTP,
        &TIMEOUTS,
        &HEALTH_CHECK,
    ],
};

pub(in crate::config) static LISTEN: Key<List<Text<SocketAddr>>> = Key::new(
    "listen",
    "The route's own addresses; the file's `listen` then does not serve the route. With `sni`, the names apply at \
     these addresses; without `sni`, every client there gets the route at once, TLS or not, and the server may speak \
     first.",
    List { of: Text { read: tls_address, pattern: ADDRESS_PATTERN }, least: 1 },
    Means("the file's"),
);
pub(in crate::config) static SNI: Key<List<Text<Written>>> = Key::new(
    "sni",
    "Names that the route serves: `a.b` this name; `*.a.b` names with one label more; `**.a.b` names with one label \
     or more; `*` every name that no other route takes, and hellos without a name. Only a route with its own `listen` \
     may omit `sni`.",
    List { of: Text { read: pattern, pattern: PATTERN }, least: 1 },
    Means("every client of its `listen`"),
);
pub(in crate::config) static ALPN: Key<List<Text<Box<str>>>> = Key::new(
    "alpn",
    "Takes only hellos that offer one of these protocols. Such a route beats a route for the same name without \
     `alpn`.",
    List { of: Text { read: protocol, pattern: PROTOCOL_PATTERN }, least: 1 },
    Means("any hello"),
);
pub(in crate::config) static SERVERS: Key<List<Either<Text<server::Address>>>> = Key::new(
    "servers",
    "The route's servers: `\"ADDR:PORT\"`, or an object.",
    List { of: Either(Text { read: written_server_address, pattern: ADDRESS_PATTERN }, &server::OBJECT), least: 1 },
    Required,
);
pub(in crate::config) static BALANCE: Key<Choice<Balance>> = Key::new(
    "balance",
    "How a server is picked: `round_robin` in turn, smoothly and by weight; `least_connections` the one with the \
     fewest open connections for its weight; `source` always the same one for a client's address.",
    Choice(Balance::CHOICES),
    Is(defaults::BALANCE),
);
pub(in crate::config) static PROXY_PROTOCOL: Key<Choice<ProxyProtocol>> = Key::new(
    "proxy_protocol",
    "The PROXY header that a server gets before the client's first byte.",
    Choice(ProxyProtocol::CHOICES),
    Is(defaults::PROXY_PROTOCOL),
);
pub(in crate::config) static PROXY_TLVS: Key<List<Choice<Tlv>>> = Key::new(
    "proxy_tlvs",
    "What a PROXY v2 header carries besides addresses: `authority` the hello's name; `alpn` the client's first \
     protocol; `unique_id` 16 bytes, which the log has too; `crc32c` a checksum; `received` the TLVs from a balancer \
     in front, except its checksum.",
    List {
        of: Choice(&[
            ("authority", Tlv::Authority),
            ("alpn", Tlv::Alpn),
            ("unique_id", Tlv::UniqueId),
            ("crc32c", Tlv::Crc32c),
            ("received", Tlv::Received),
        ]),
        least: 0,
    },
    Means("none"),
);
pub(in crate::config) static ON_DOWN: Key<Choice<OnDown>> = Key::new(
    "on_down",
    "What happens to the open connections of a server that goes down: `keep` or `close` them.",
    Choice(&[("keep", OnDown::Keep), ("close", OnDown::Close)]),
    Is(defaults::ON_DOWN),
);
pub(in crate::config) static ON_ALL_DOWN: Key<Choice<OnAllDown>> = Key::new(
    "on_all_down",
    "What happens to new connections while no server is up: `refuse` them at once, or `try` a server all the same.",
    Choice(&[("refuse", OnAllDown::Refuse), ("try", OnAllDown::Try)]),
    Is(defaults::ON_ALL_DOWN),
);
pub(in crate::config) static ALLOW_FROM: Key<List<Text<IpNet>>> = Key::new(
    "allow_from",
    "The networks that clients may connect from; a client from elsewhere is refused.",
    List { of: Text { read: network, pattern: NETWORK_PATTERN }, least: 1 },
    Means("all"),
);
pub(in crate::config) static HTTP: Key<Group> = Key::new(
    "http",
    "Requests over plain HTTP that go to the route's servers: those on `redirect.listen` with one of the route's \
     names as Host and one of `paths`. All others are redirected.",
    Group(&http::OBJECT),
    Means("none"),
);
pub(in crate::config) static TIMEOUTS: Key<Group> =
    Key::new("timeouts", "The route's own timeouts.", Group(&timeouts::ROUTE), Means("the file's"));
pub(in crate::config) static HEALTH_CHECK: Key<Group> =
    Key::new("health_check", "How the route's servers are probed.", Group(&health_check::OBJECT), Means("the file's"));
