//! `redirect`.
use std::net::SocketAddr;

use super::Absent::Means;
use super::{Key, Object};
use crate::config::addresses::{ADDRESS_PATTERN, http_address};
use crate::config::kinds::{List, Text};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of redirect", place: "redirect", keys: &[&LISTEN] };

pub(in crate::config) static LISTEN: Key<List<Text<SocketAddr>>> = Key::new(
    "listen",
    "Addresses for plain HTTP, usually with port 80. The answer is a 301 to https, at most 128 times a second.",
    List { of: Text { read: http_address, pattern: ADDRESS_PATTERN }, least: 0 },
    Means("none"),
);
