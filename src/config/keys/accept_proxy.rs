//! `accept_proxy`.
use ipnet::IpNet;

use super::Absent::Required;
use super::{Key, Object};
use crate::config::addresses::{NETWORK_PATTERN, network};
use crate::config::kinds::{List, Text};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of accept_proxy", place: "accept_proxy", keys: &[&FROM] };

pub(in crate::config) static FROM: Key<List<Text<IpNet>>> = Key::new(
    "from",
    "Networks of balancers in front. A connection from there must begin with a PROXY header, version 1 or 2, within \
     `timeouts.client_hello`; the address in it counts as the client's from then on. From elsewhere, no header is \
     read.",
    List { of: Text { read: network, pattern: NETWORK_PATTERN }, least: 1 },
    Required,
);
