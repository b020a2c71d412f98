//! `control`.
use std::path::PathBuf;

use super::Absent::Means;
use super::{Key, Object};
use crate::config::kinds::Text;
use crate::config::values::{SOCKET_PATTERN, socket};

pub(in crate::config) static OBJECT: Object =
    Object { keys_are: "a key of control", place: "control", keys: &[&SOCKET] };

pub(in crate::config) static SOCKET: Key<Text<PathBuf>> = Key::new(
    "socket",
    "The path of a unix socket for the commands server, drain, diff, connections and top. Its mode is 0660.",
    Text { read: socket, pattern: SOCKET_PATTERN },
    Means("none"),
);
