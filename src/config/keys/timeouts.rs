//! `timeouts`, the file's own and a route's.
use super::Absent::Is;
use super::{Key, Object};
use crate::config::defaults;
use crate::config::kinds::Span;

pub(in crate::config) static OBJECT: Object = Object {
    keys_are: "a key of the file's own timeouts, for all routes alike",
    place: "timeouts",
    keys: &[&CLIENT_HELLO, &CONNECT, &TUNNEL, &HALF_CLOSED, &DRAIN, &KEEPALIVE],
};

/// A route's.
pub(in crate::config) static ROUTE: Object =
    Object { keys_are: "a key of timeouts", place: "routes.NAME.timeouts", keys: &[&CONNECT, &TUNNEL, &HALF_CLOSED] };

pub(in crate::config) static CLIENT_HELLO: Key<Span> = Key::new(
    "client_hello",
    "Time from accept to a whole ClientHello.",
    Span(defaults::DURATIONS),
    Is(defaults::CLIENT_HELLO),
);
pub(in crate::config) static CONNECT: Key<Span> = Key::new(
    "connect",
    "Time for one attempt to connect to a server.",
    Span(defaults::DURATIONS),
    Is(defaults::CONNECT),
);
pub(in crate::config) static TUNNEL: Key<Span> = Key::new(
    "tunnel",
    "Time without a byte in either direction after which a connection ends.",
    Span(defaults::DURATIONS),
    Is(defaults::TUNNEL),
);
pub(in crate::config) static HALF_CLOSED: Key<Span> = Key::new(
    "half_closed",
    "Time without a byte after which a connection ends, once one side has closed its direction (half-close).",
    Span(defaults::DURATIONS),
    Is(defaults::HALF_CLOSED),
);
pub(in crate::config) static DRAIN: Key<Span> = Key::new(
    "drain",
    "Time in which open connections may finish after the program is told to stop; 0s: none.",
    Span(defaults::DURATIONS_OR_ZERO),
    Is(defaults::DRAIN),
);
pub(in crate::config) static KEEPALIVE: Key<Span> = Key::new(
    "keepalive",
    "Silence after which the kernel asks a peer whether it is there; a connection ends after four such probes without \
     an answer, in 1m. 0s: never.",
    Span(defaults::KEEPALIVES),
    Is(defaults::KEEPALIVE),
);
