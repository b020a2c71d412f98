//! `routes.NAME.servers[]`, where a server is an object.
use std::net::{IpAddr, SocketAddr};

use super::Absent::{Is, Means, Required};
use super::{Key, Object};
use crate::config::addresses::{ADDRESS_PATTERN, ip, written_server_address};
use crate::config::defaults;
use crate::config::kinds::{Boolean, Integer, Text};
use crate::config::values::{INTERFACE_PATTERN, NAME_PATTERN, interface, server_name};

/// A server's address, and the text that the file has for it.
pub(in crate::config) type Address = (SocketAddr, Box<str>);

pub(in crate::config) static OBJECT: Object = Object {
    keys_are: "a server's key",
    place: "an object of routes.NAME.servers",
    keys: &[&ADDRESS, &NAME, &WEIGHT, &BACKUP, &MAX_CONNECTIONS, &SOURCE, &INTERFACE],
};

pub(in crate::config) static ADDRESS: Key<Text<Address>> = Key::new(
    "address",
    "The address and port to connect to.",
    Text { read: written_server_address, pattern: ADDRESS_PATTERN },
    Required,
);
pub(in crate::config) static NAME: Key<Text<Box<str>>> = Key::new(
    "name",
    "The server's name in log, metrics and /stats.",
    Text { read: server_name, pattern: NAME_PATTERN },
    Means("the address"),
);
pub(in crate::config) static WEIGHT: Key<Integer<u16>> = Key::new(
    "weight",
    "The server's share of new connections; with 0 it gets none.",
    Integer(defaults::WEIGHTS),
    Is(defaults::WEIGHT),
);
pub(in crate::config) static BACKUP: Key<Boolean> = Key::new(
    "backup",
    "Whether the server is used only while no other server of the route is up. Of several backups, the first that is \
     up is used.",
    Boolean,
    Is(defaults::BACKUP),
);
pub(in crate::config) static MAX_CONNECTIONS: Key<Integer<u32>> = Key::new(
    "max_connections",
    "Maximum of open connections to the server; further clients go to another server, or wait.",
    Integer(defaults::COUNTS),
    Means("no limit"),
);
pub(in crate::config) static SOURCE: Key<Text<IpAddr>> = Key::new(
    "source",
    "The local address to connect from.",
    Text { read: ip, pattern: "^[0-9A-Fa-f.:]+$" },
    Means("the kernel's choice"),
);
pub(in crate::config) static INTERFACE: Key<Text<Box<str>>> = Key::new(
    "interface",
    "The network device to connect through.",
    Text { read: interface, pattern: INTERFACE_PATTERN },
    Means("by the routing table"),
);
