//! `admin` and `admin.stats_credentials`.
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Absent::{Means, Required};
use super::{Key, Object};
use crate::config::addresses::{ADDRESS_PATTERN, admin_address};
use crate::config::kinds::{Group, List, Text};
use crate::config::values::file;

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of admin", place: "admin", keys: &[&LISTEN, &STATS_CREDENTIALS] };

pub(in crate::config) static LISTEN: Key<List<Text<SocketAddr>>> = Key::new(
    "listen",
    "Addresses for /health, /ready, /metrics and /stats.",
    List { of: Text { read: admin_address, pattern: ADDRESS_PATTERN }, least: 0 },
    Means("none"),
);
pub(in crate::config) static STATS_CREDENTIALS: Key<Group> = Key::new(
    "stats_credentials",
    "The files with user name and password for /stats.",
    Group(&CREDENTIALS_OBJECT),
    Means("STATS_USERNAME and STATS_PASSWORD of the environment; with neither, /stats answers 403"),
);

static CREDENTIALS_OBJECT: Object = Object {
    keys_are: "a key of admin.stats_credentials",
    place: "admin.stats_credentials",
    keys: &[&USERNAME_FILE, &PASSWORD_FILE],
};

pub(in crate::config) static USERNAME_FILE: Key<Text<PathBuf>> = Key::new(
    "username_file",
    "The path of a file with the user name; a newline at its end is ignored.",
    Text { read: file, pattern: "." },
    Required,
);
pub(in crate::config) static PASSWORD_FILE: Key<Text<PathBuf>> = Key::new(
    "password_file",
    "The path of a file with the password; a newline at its end is ignored.",
    Text { read: file, pattern: "." },
    Required,
);
