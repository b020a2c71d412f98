//! Series of the routes, which HAProxy calls backends.
use super::super::RouteNow;
use super::super::exposition::{Family, counter, gauge};

pub(in super::super) const BACKEND: &[Family<RouteNow>] = &[
    gauge(
        "haproxy_backend_status",
        "1 for the current state of the route, 0 for the other; UP if any server takes connections.",
        |r, line| {
            line.labelled("state", "DOWN", (!r.standing.is_up).into());
            line.labelled("state", "UP", r.standing.is_up.into());
        },
    ),
    gauge("haproxy_backend_current_queue", "Current number of connections that wait for a server.", |r, line| {
        line.number(r.queued as u64);
    }),
    gauge("haproxy_backend_max_queue", "Highest number of queued connections.", |r, line| {
        line.number(r.most_queued as u64);
    }),
    gauge("haproxy_backend_current_sessions", "Current number of connections.", |r, line| line.number(r.open)),
    gauge("haproxy_backend_max_sessions", "Highest number of connections at once.", |r, line| {
        line.number(r.usage.most_sessions);
    }),
    counter("haproxy_backend_sessions_total", "Total connections that got the route.", |r, line| {
        line.number(r.usage.sessions.total());
    }),
    gauge("haproxy_backend_max_session_rate", "Highest number of connections assigned in one second.", |r, line| {
        line.number(r.usage.sessions.most().into());
    }),
    counter("haproxy_backend_bytes_in_total", "Total bytes received from clients.", |r, line| {
        line.number(r.traffic.bytes_up);
    }),
    counter("haproxy_backend_bytes_out_total", "Total bytes sent to clients.", |r, line| {
        line.number(r.traffic.bytes_down);
    }),
    counter("haproxy_backend_connection_attempts_total", "Total attempts to connect to a server.", |r, line| {
        line.number(r.traffic.connects);
    }),
    counter(
        "haproxy_backend_connection_errors_total",
        "Total connections given up because the last attempt failed or no server was available.",
        |r, line| line.number(r.traffic.connect_errors),
    ),
    counter(
        "haproxy_backend_response_errors_total",
        "Total connections that the server reset or left idle too long.",
        |r, line| line.number(r.traffic.response_errors),
    ),
    counter(
        "haproxy_backend_retry_warnings_total",
        "Total failed attempts that were repeated on the same server.",
        |r, line| {
            line.number(r.traffic.retries);
        },
    ),
    counter(
        "haproxy_backend_redispatch_warnings_total",
        "Total failed attempts that were followed by one to another server.",
        |r, line| {
            line.number(r.traffic.redispatches);
        },
    ),
    counter(
        "haproxy_backend_client_aborts_total",
        "Total connections that the client reset, left, or left idle too long.",
        |r, line| {
            line.number(r.traffic.client_aborts);
        },
    ),
    counter(
        "haproxy_backend_server_aborts_total",
        "Total connections that the server reset or left idle too long.",
        |r, line| {
            line.number(r.traffic.server_aborts);
        },
    ),
    gauge("haproxy_backend_weight", "Sum of the weights of the servers that take connections.", |r, line| {
        line.number(r.weight);
    }),
    gauge("haproxy_backend_active_servers", "Number of servers that take connections, without backups.", |r, line| {
        line.number(r.active as u64);
    }),
    gauge("haproxy_backend_backup_servers", "Number of backup servers that can take connections.", |r, line| {
        line.number(r.backup as u64);
    }),
    counter("haproxy_backend_check_up_down_total", "How often the route lost its last server.", |r, line| {
        line.number(r.standing.downs);
    }),
    gauge(
        "haproxy_backend_check_last_change_seconds",
        "Seconds since the last change between UP and DOWN.",
        |r, line| {
            line.duration(Some(r.standing.age));
        },
    ),
    counter("haproxy_backend_downtime_seconds_total", "Total seconds without any server.", |r, line| {
        line.duration(Some(r.standing.downtime));
    }),
    counter("haproxy_backend_loadbalanced_total", "How often a server of the route was picked.", |r, line| {
        line.number(r.traffic.balanced);
    }),
    gauge("haproxy_backend_last_session_seconds", "Seconds since the last connection was assigned.", |r, line| {
        line.duration(r.last_session);
    }),
    gauge(
        "haproxy_backend_queue_time_average_seconds",
        "Average time in the queue over the last 1,024 connections.",
        |r, line| {
            line.maybe(r.usage.queue_time.average());
        },
    ),
    gauge(
        "haproxy_backend_connect_time_average_seconds",
        "Average connect time over the last 1,024 connections.",
        |r, line| {
            line.maybe(r.usage.connect_time.average());
        },
    ),
    gauge(
        "haproxy_backend_total_time_average_seconds",
        "Average duration over the last 1,024 connections.",
        |r, line| {
            line.maybe(r.usage.total_time.average());
        },
    ),
    gauge("haproxy_backend_max_queue_time_seconds", "Longest time in the queue.", |r, line| {
        line.duration(r.usage.queue_time.longest());
    }),
    gauge("haproxy_backend_max_connect_time_seconds", "Longest connect time.", |r, line| {
        line.duration(r.usage.connect_time.longest());
    }),
    gauge("haproxy_backend_max_total_time_seconds", "Longest duration of a connection.", |r, line| {
        line.duration(r.usage.total_time.longest());
    }),
];
