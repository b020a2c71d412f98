//! `limits` and `limits.per_source`.
use ipnet::IpNet;

use super::Absent::{Is, Means};
use super::{Key, Object};
use crate::config::addresses::{NETWORK_PATTERN, network};
use crate::config::defaults;
use crate::config::kinds::{Group, Integer, List, Span, Text};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of limits", place: "limits", keys: &[&CONNECTIONS, &PER_SOURCE] };

pub(in crate::config) static CONNECTIONS: Key<Integer<u32>> = Key::new(
    "connections",
    "Maximum of open client connections, on all listeners together; further clients wait in the backlog.",
    Integer(defaults::COUNTS),
    Is(defaults::CONNECTIONS),
);
pub(in crate::config) static PER_SOURCE: Key<Group> =
    Key::new("per_source", "Limits for each source address.", Group(&PER_SOURCE_OBJECT), Means("off"));

static PER_SOURCE_OBJECT: Object = Object {
    keys_are: "a key of limits.per_source",
    place: "limits.per_source",
    keys: &[&RATE, &PERIOD, &CONCURRENT, &IPV6_PREFIX, &EXEMPT],
};

pub(in crate::config) static RATE: Key<Integer<u32>> = Key::new(
    "rate",
    "Maximum of new connections from one source in a `period`.",
    Integer(defaults::COUNTS),
    Means("no limit"),
);
pub(in crate::config) static PERIOD: Key<Span> =
    Key::new("period", "The time over which `rate` counts.", Span(defaults::DURATIONS), Is(defaults::PERIOD));
pub(in crate::config) static CONCURRENT: Key<Integer<u32>> = Key::new(
    "concurrent",
    "Maximum of open connections from one source.",
    Integer(defaults::COUNTS),
    Means("no limit"),
);
pub(in crate::config) static IPV6_PREFIX: Key<Integer<u8>> = Key::new(
    "ipv6_prefix",
    "The number of leading bits of an IPv6 address that make one source.",
    Integer(defaults::IPV6_PREFIXES),
    Is(defaults::IPV6_PREFIX),
);
pub(in crate::config) static EXEMPT: Key<List<Text<IpNet>>> = Key::new(
    "exempt",
    "Networks whose clients have no limits.",
    List { of: Text { read: network, pattern: NETWORK_PATTERN }, least: 0 },
    Means("none"),
);
