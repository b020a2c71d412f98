//! `routes.NAME.http`.
use super::Absent::{Is, Required};
use super::{Key, Object};
use crate::config::defaults;
use crate::config::kinds::{Integer, List, Text};
use crate::config::values::{PATH_PATTERN, http_path};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of http", place: "routes.NAME.http", keys: &[&PORT, &PATHS] };

pub(in crate::config) static PORT: Key<Integer<u16>> = Key::new(
    "port",
    "The port of the route's servers that gets requests over plain HTTP.",
    Integer(defaults::PORTS),
    Is(defaults::HTTP_PORT),
);
pub(in crate::config) static PATHS: Key<List<Text<Box<str>>>> = Key::new(
    "paths",
    "How the paths of requests for the servers begin, like `/.well-known/acme-challenge/`. Later requests on the same \
     connection go to the same server, whatever their path.",
    List { of: Text { read: http_path, pattern: PATH_PATTERN }, least: 1 },
    Required,
);
