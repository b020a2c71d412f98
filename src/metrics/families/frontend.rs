//! Series of the frontends: `https_ingress`, and `http_ingress` if there is a redirect.
use super::super::FrontendNow;
use super::super::exposition::{Family, counter, gauge};

pub(in super::super) const FRONTEND: &[Family<FrontendNow>] = &[
    gauge("haproxy_frontend_status", "1 for the current state of the frontend, 0 for the other.", |f, line| {
        line.labelled("state", "DOWN", (!f.is_open).into());
        line.labelled("state", "UP", f.is_open.into());
    }),
    gauge("haproxy_frontend_current_sessions", "Current number of clients.", |f, line| line.number(f.sessions)),
    gauge("haproxy_frontend_max_sessions", "Highest number of clients at once.", |f, line| {
        line.number(f.counters.most_sessions);
    }),
    gauge("haproxy_frontend_limit_sessions", "Highest number of clients allowed at once.", |f, line| {
        line.number(f.limit);
    }),
    counter(
        "haproxy_frontend_sessions_total",
        "Total clients that were within the limits of their address.",
        |f, line| {
            line.number(f.sessions_total());
        },
    ),
    counter("haproxy_frontend_connections_total", "Total clients accepted from the backlog.", |f, line| {
        line.number(f.counters.accepted.total());
    }),
    gauge("haproxy_frontend_max_session_rate", "Highest number of clients accepted in one second.", |f, line| {
        line.number(f.counters.accepted.most().into());
    }),
    counter("haproxy_frontend_bytes_in_total", "Total bytes received from clients.", |f, line| {
        line.number(f.counters.bytes_up);
    }),
    counter("haproxy_frontend_bytes_out_total", "Total bytes sent to clients.", |f, line| {
        line.number(f.counters.bytes_down);
    }),
    counter(
        "haproxy_frontend_requests_denied_total",
        "Total clients dropped before they were given a server, but for those that left before their first byte.",
        |f, line| {
            line.number(f.denied);
        },
    ),
    counter(
        "haproxy_frontend_denied_connections_total",
        "Total clients dropped because their address exceeded its limits.",
        |f, line| line.number(f.denied_connections),
    ),
    counter(
        "haproxy_frontend_request_errors_total",
        "Total clients that sent no TLS or no whole hello; for the redirect, requests that cannot be redirected.",
        |f, line| line.number(f.errors),
    ),
];
