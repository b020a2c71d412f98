//! Routes: HAProxy's backends.
use super::super::RouteNow;
use super::super::exposition::{Family, counter, gauge};

pub(in super::super) const BACKEND: &[Family<RouteNow>] = &[
    gauge(
        "haproxy_backend_status",
        "1 for the state that it is in, else 0: UP with a server in service.",
        |r, line| {
            line.labelled("state", "DOWN", (!r.standing.is_up).into());
            line.labelled("state", "UP", r.standing.is_up.into());
        },
    ),
    gauge("haproxy_backend_current_queue", "Connections that wait for a server to have room.", |r, line| {
        line.number(r.queued as u64);
    }),
    gauge("haproxy_backend_max_queue", "Most of them at once so far.", |r, line| line.number(r.most_queued as u64)),
    gauge("haproxy_backend_current_sessions", "Connections now.", |r, line| line.number(r.open)),
    gauge("haproxy_backend_max_sessions", "Most connections at once so far.", |r, line| {
        line.number(r.usage.most_sessions);
    }),
    counter("haproxy_backend_sessions_total", "Connections that got this route.", |r, line| {
        line.number(r.usage.sessions.total());
    }),
    gauge("haproxy_backend_max_session_rate", "Most connections begun in a second so far.", |r, line| {
        line.number(r.usage.sessions.most().into());
    }),
    counter("haproxy_backend_bytes_in_total", "Bytes from clients.", |r, line| line.number(r.traffic.bytes_up)),
    counter("haproxy_backend_bytes_out_total", "Bytes to clients.", |r, line| line.number(r.traffic.bytes_down)),
    counter("haproxy_backend_connection_attempts_total", "Tries to connect to a server.", |r, line| {
        line.number(r.traffic.connects);
    }),
    counter(
        "haproxy_backend_connection_errors_total",
        "Connections given up: the last try failed, or no server would take them.",
        |r, line| line.number(r.traffic.connect_errors),
    ),
    counter(
        "haproxy_backend_response_errors_total",
        "Connections that the server broke off or let go silent.",
        |r, line| line.number(r.traffic.response_errors),
    ),
    counter("haproxy_backend_retry_warnings_total", "Failed tries that were tried there again.", |r, line| {
        line.number(r.traffic.retries);
    }),
    counter("haproxy_backend_redispatch_warnings_total", "Failed tries after which another was tried.", |r, line| {
        line.number(r.traffic.redispatches);
    }),
    counter("haproxy_backend_client_aborts_total", "Connections that the client broke off.", |r, line| {
        line.number(r.traffic.client_aborts);
    }),
    counter("haproxy_backend_server_aborts_total", "Connections that the server broke off.", |r, line| {
        line.number(r.traffic.server_aborts);
    }),
    gauge("haproxy_backend_weight", "The sum of the weights of the servers in service.", |r, line| {
        line.number(r.weight);
    }),
    gauge("haproxy_backend_active_servers", "Servers that take connections, backups apart.", |r, line| {
        line.number(r.active as u64);
    }),
    gauge("haproxy_backend_backup_servers", "Backups that would take connections.", |r, line| {
        line.number(r.backup as u64);
    }),
    counter("haproxy_backend_check_up_down_total", "How often it lost its last server.", |r, line| {
        line.number(r.standing.downs);
    }),
    gauge("haproxy_backend_check_last_change_seconds", "How long it is in its state.", |r, line| {
        line.duration(Some(r.standing.age));
    }),
    counter("haproxy_backend_downtime_seconds_total", "How long it had no server, in all.", |r, line| {
        line.duration(Some(r.standing.downtime));
    }),
    counter("haproxy_backend_loadbalanced_total", "How often a server was picked.", |r, line| {
        line.number(r.traffic.balanced);
    }),
    gauge("haproxy_backend_last_session_seconds", "How long ago a connection got this route.", |r, line| {
        line.duration(r.last_session);
    }),
    gauge("haproxy_backend_queue_time_average_seconds", "Average wait of the last 1,024.", |r, line| {
        line.maybe(r.usage.queue_time.average());
    }),
    gauge("haproxy_backend_connect_time_average_seconds", "Average connect time of the last 1,024.", |r, line| {
        line.maybe(r.usage.connect_time.average());
    }),
    gauge("haproxy_backend_total_time_average_seconds", "Average life of the last 1,024.", |r, line| {
        line.maybe(r.usage.total_time.average());
    }),
    gauge("haproxy_backend_max_queue_time_seconds", "Longest wait so far.", |r, line| {
        line.duration(r.usage.queue_time.longest());
    }),
    gauge("haproxy_backend_max_connect_time_seconds", "Longest connect time so far.", |r, line| {
        line.duration(r.usage.connect_time.longest());
    }),
    gauge("haproxy_backend_max_total_time_seconds", "Longest life so far.", |r, line| {
        line.duration(r.usage.total_time.longest());
    }),
];
