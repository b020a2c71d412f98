//! The whole file.
use std::net::SocketAddr;

use super::Absent::{Is, Means, Required};
use super::{Key, Object, accept_proxy, admin, control, health_check, limits, logging, redirect, route, timeouts};
use crate::config::addresses::{ADDRESS_PATTERN, tls_address};
use crate::config::kinds::{Choice, Group, Integer, List, Named, Text};
use crate::config::values::any_text;
use crate::config::{Reject, ZeroCopy, defaults};

pub(in crate::config) static OBJECT: Object = Object {
    keys_are: "a key of the file itself",
    place: "the outermost object",
    keys: &[
        &SCHEMA,
        &LISTEN,
        &ROUTES,
        &TIMEOUTS,
        &RETRIES,
        &HEALTH_CHECK,
        &LIMITS,
        &REJECT,
        &ACCEPT_PROXY,
        &REDIRECT,
        &ADMIN,
        &LOG,
        &CONTROL,
        &ZERO_COPY,
    ],
};

pub(in crate::config) static SCHEMA: Key<Text<()>> = Key::new(
    "$schema",
    "The location of the schema, for an editor; the program ignores it.",
    Text { read: any_text, pattern: "" },
    Means("none"),
);
pub(in crate::config) static LISTEN: Key<List<Text<SocketAddr>>> = Key::new(
    "listen",
    "Addresses for TLS. `[::]:443` takes IPv6 only, so each family needs its own entry. Required unless every route \
     has its own `listen`.",
    List { of: Text { read: tls_address, pattern: ADDRESS_PATTERN }, least: 1 },
    Means("none"),
);
pub(in crate::config) static ROUTES: Key<Named> = Key::new(
    "routes",
    "Where connections go: one object per route, under the route's name.",
    Named(&route::OBJECT),
    Required,
);
pub(in crate::config) static TIMEOUTS: Key<Group> = Key::new(
    "timeouts",
    "How long each step may take. A route's own `timeouts` override them, key by key.",
    Group(&timeouts::OBJECT),
    Means("see its keys"),
);
pub(in crate::config) static RETRIES: Key<Integer<u32>> = Key::new(
    "retries",
    "Further attempts after a failed connect. Each goes to another server if there is one; else to the same, after \
     the shorter of `timeouts.connect` and 1s.",
    Integer(defaults::RETRIES_RANGE),
    Is(defaults::RETRIES),
);
pub(in crate::config) static HEALTH_CHECK: Key<Group> = Key::new(
    "health_check",
    "How servers are probed. A route's own `health_check` overrides it, key by key.",
    Group(&health_check::OBJECT),
    Means("see its keys"),
);
pub(in crate::config) static LIMITS: Key<Group> =
    Key::new("limits", "Limits on clients.", Group(&limits::OBJECT), Means("see its keys"));
pub(in crate::config) static REJECT: Key<Choice<Reject>> = Key::new(
    "reject",
    "What a refused client sees: with `drop` nothing, not even a FIN or RST; with `alert` a fatal TLS alert; with \
     `close` the end of the connection.",
    Choice(Reject::CHOICES),
    Is(defaults::REJECT),
);
pub(in crate::config) static ACCEPT_PROXY: Key<Group> = Key::new(
    "accept_proxy",
    "Balancers in front of this program, which send a PROXY header first.",
    Group(&accept_proxy::OBJECT),
    Means("none"),
);
pub(in crate::config) static REDIRECT: Key<Group> = Key::new(
    "redirect",
    "Listeners for plain HTTP that redirect clients to https.",
    Group(&redirect::OBJECT),
    Means("none"),
);
pub(in crate::config) static ADMIN: Key<Group> =
    Key::new("admin", "The endpoints for operators: health, metrics, stats.", Group(&admin::OBJECT), Means("none"));
pub(in crate::config) static LOG: Key<Group> =
    Key::new("log", "What is logged, and how.", Group(&logging::OBJECT), Means("see its keys"));
pub(in crate::config) static CONTROL: Key<Group> =
    Key::new("control", "The socket for commands to the running program.", Group(&control::OBJECT), Means("none"));
pub(in crate::config) static ZERO_COPY: Key<Choice<ZeroCopy>> = Key::new(
    "zero_copy",
    "With `auto`, the kernel moves the bytes (splice) once a direction proves to be bulk; with `off`, it never does.",
    Choice(&[("auto", ZeroCopy::Auto), ("off", ZeroCopy::Off)]),
    Is(defaults::ZERO_COPY),
);
