//! Frontends: `https_ingress`, and `http_ingress` where there is a redirect.
use super::super::FrontendNow;
use super::super::exposition::{Family, counter, gauge};

pub(in super::super) const FRONTEND: &[Family<FrontendNow>] = &[
    gauge("haproxy_frontend_status", "1 for the state that it is in, else 0.", |f, line| {
        line.labelled("state", "DOWN", (!f.is_open).into());
        line.labelled("state", "UP", f.is_open.into());
    }),
    gauge("haproxy_frontend_current_sessions", "Clients now.", |f, line| line.number(f.sessions)),
    gauge("haproxy_frontend_max_sessions", "Most clients at once so far.", |f, line| {
        line.number(f.counters.most_sessions);
    }),
    gauge("haproxy_frontend_limit_sessions", "Clients that there may be at once.", |f, line| line.number(f.limit)),
    counter("haproxy_frontend_sessions_total", "Clients whose address might have another connection.", |f, line| {
        line.number(f.sessions_total());
    }),
    counter("haproxy_frontend_connections_total", "Clients let in from the backlog.", |f, line| {
        line.number(f.counters.accepted.total());
    }),
    gauge("haproxy_frontend_max_session_rate", "Most clients let in in a second so far.", |f, line| {
        line.number(f.counters.accepted.most().into());
    }),
    counter("haproxy_frontend_bytes_in_total", "Bytes from clients.", |f, line| line.number(f.counters.bytes_up)),
    counter("haproxy_frontend_bytes_out_total", "Bytes to clients.", |f, line| line.number(f.counters.bytes_down)),
    counter("haproxy_frontend_requests_denied_total", "Clients dropped, for whatever reason.", |f, line| {
        line.number(f.denied);
    }),
    counter(
        "haproxy_frontend_denied_connections_total",
        "Of the dropped, those that came too often or had too many connections.",
        |f, line| line.number(f.denied_connections),
    ),
    counter(
        "haproxy_frontend_request_errors_total",
        "Of the dropped, those that sent no TLS, a broken hello or none; of the redirect, requests that were none.",
        |f, line| line.number(f.errors),
    ),
];
