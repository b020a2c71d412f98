//! `health_check`, the file's own and a route's.
use super::Absent::{Is, Means};
use super::{Key, Object};
use crate::config::check::Kind;
use crate::config::defaults;
use crate::config::kinds::{Boolean, Choice, Integer, Pair, Span, Text};
use crate::config::values::{PATH_PATTERN, http_path};

pub(in crate::config) static OBJECT: Object = Object {
    keys_are: "a key of health_check",
    place: "health_check",
    keys: &[&TYPE, &INTERVAL, &FAST_INTERVAL, &TIMEOUT, &FALL, &RISE, &PORT, &PATH, &EXPECT, &PROXY_HEADER],
};

pub(in crate::config) static TYPE: Key<Choice<Kind>> = Key::new(
    "type",
    "What passes a probe: `tcp` a connection; `tls` a ServerHello to a hello for the route's first exact name; `http` \
     an answer to a GET. With `off`, servers are not probed and count as up.",
    Choice(&[("tcp", Kind::Tcp), ("tls", Kind::Tls), ("http", Kind::Http), ("off", Kind::Off)]),
    Is(defaults::CHECK_TYPE),
);
pub(in crate::config) static INTERVAL: Key<Span> = Key::new(
    "interval",
    "Time from one probe's start to the next.",
    Span(defaults::DURATIONS),
    Is(defaults::CHECK_INTERVAL),
);
pub(in crate::config) static FAST_INTERVAL: Key<Span> = Key::new(
    "fast_interval",
    "Time from one probe's start to the next while a verdict is pending: while fewer probes in a row have failed or \
     passed than `fall` or `rise` ask for.",
    Span(defaults::DURATIONS),
    Means("`interval`"),
);
pub(in crate::config) static TIMEOUT: Key<Span> = Key::new(
    "timeout",
    "Time for one probe, from connect to verdict.",
    Span(defaults::DURATIONS),
    Is(defaults::CHECK_TIMEOUT),
);
pub(in crate::config) static FALL: Key<Integer<u32>> = Key::new(
    "fall",
    "Failed probes in a row that take a server down.",
    Integer(defaults::CHECK_COUNTS),
    Is(defaults::CHECK_FALL),
);
pub(in crate::config) static RISE: Key<Integer<u32>> = Key::new(
    "rise",
    "Passed probes in a row that bring a server up again.",
    Integer(defaults::CHECK_COUNTS),
    Is(defaults::CHECK_RISE),
);
pub(in crate::config) static PORT: Key<Integer<u16>> =
    Key::new("port", "The port to probe.", Integer(defaults::PORTS), Means("the server's"));
pub(in crate::config) static PATH: Key<Text<Box<str>>> = Key::new(
    "path",
    "The path that a probe of type `http` asks for.",
    Text { read: http_path, pattern: PATH_PATTERN },
    Is(defaults::CHECK_PATH),
);
pub(in crate::config) static EXPECT: Key<Pair> = Key::new(
    "expect",
    "The lowest and the highest status that pass a probe of type `http`.",
    Pair(defaults::STATUSES),
    Is(defaults::CHECK_EXPECT),
);
pub(in crate::config) static PROXY_HEADER: Key<Boolean> = Key::new(
    "proxy_header",
    "Whether a probe sends a PROXY header first, on routes that have one.",
    Boolean,
    Is(defaults::CHECK_PROXY_HEADER),
);
