//! Series of the servers.
use super::super::exposition::{Family, counter, gauge};
use super::super::snapshot::State;
use super::super::{ServerNow, snapshot::ProbesNow};
use crate::policy::health::Checked;
use crate::vocabulary::CheckResult;

pub(in super::super) const SERVER: &[Family<ServerNow>] = &[
    gauge(
        "haproxy_server_status",
        "1 for the current state of the server, 0 for the others. DRAIN takes no new connections; MAINT was set by an operator.",
        |s, line| {
            let state = s.state();
            line.labelled("state", "DOWN", (state == State::Down).into());
            line.labelled("state", "UP", (state == State::Up).into());
            line.labelled("state", "MAINT", (state == State::Maint).into());
            line.labelled("state", "DRAIN", (state == State::Drain).into());
        },
    ),
    gauge("haproxy_server_current_sessions", "Current number of connections.", |s, line| line.number(s.open.into())),
    gauge("haproxy_server_max_sessions", "Highest number of connections at once.", |s, line| {
        line.number(s.usage.most_sessions);
    }),
    gauge("haproxy_server_limit_sessions", "Highest number of connections allowed at once.", |s, line| {
        line.maybe(s.limit.map(f64::from));
    }),
    counter(
        "haproxy_server_sessions_total",
        "Total connections assigned to the server, retries included.",
        |s, line| {
            line.number(s.usage.sessions.total());
        },
    ),
    gauge("haproxy_server_max_session_rate", "Highest number of connections assigned in one second.", |s, line| {
        line.number(s.usage.sessions.most().into());
    }),
    counter("haproxy_server_bytes_in_total", "Total bytes received from clients.", |s, line| {
        line.number(s.traffic.bytes_up);
    }),
    counter("haproxy_server_bytes_out_total", "Total bytes sent to clients.", |s, line| {
        line.number(s.traffic.bytes_down);
    }),
    counter("haproxy_server_connection_attempts_total", "Total attempts to connect to the server.", |s, line| {
        line.number(s.traffic.connects);
    }),
    counter(
        "haproxy_server_connection_errors_total",
        "Total connections given up after the last attempt to connect to this server failed.",
        |s, line| {
            line.number(s.traffic.connect_errors);
        },
    ),
    counter(
        "haproxy_server_response_errors_total",
        "Total connections that the server reset or left idle too long.",
        |s, line| {
            line.number(s.traffic.response_errors);
        },
    ),
    counter(
        "haproxy_server_retry_warnings_total",
        "Total failed attempts that were repeated on the same server.",
        |s, line| {
            line.number(s.traffic.retries);
        },
    ),
    counter(
        "haproxy_server_redispatch_warnings_total",
        "Total failed attempts that were followed by one to another server.",
        |s, line| {
            line.number(s.traffic.redispatches);
        },
    ),
    counter(
        "haproxy_server_client_aborts_total",
        "Total connections that the client reset, left, or left idle too long.",
        |s, line| {
            line.number(s.traffic.client_aborts);
        },
    ),
    counter(
        "haproxy_server_server_aborts_total",
        "Total connections that the server reset or left idle too long.",
        |s, line| {
            line.number(s.traffic.server_aborts);
        },
    ),
    counter(
        "fiscalismia_lb_server_not_tls_total",
        "Total hellos that the server answered with bytes that are not TLS: it expects another PROXY header, or speaks plain HTTP.",
        |s, line| {
            line.number(s.traffic.not_tls);
        },
    ),
    gauge("haproxy_server_weight", "Weight of the server: its share of new connections.", |s, line| {
        line.number(s.weight.into());
    }),
    gauge("haproxy_server_active", "1 if the server is not a backup, 0 if it is one.", |s, line| {
        line.number((!s.is_backup).into());
    }),
    gauge("haproxy_server_backup", "1 if the server is a backup, 0 if it is not.", |s, line| {
        line.number(s.is_backup.into());
    }),
    counter("haproxy_server_check_failures_total", "Total probes that failed while the server was UP.", |s, line| {
        line.maybe(probes(s).map(|probes| probes.failures as f64));
    }),
    counter("haproxy_server_check_up_down_total", "How often the server went DOWN.", |s, line| {
        line.maybe(probes(s).map(|_| s.standing.downs as f64));
    }),
    gauge(
        "haproxy_server_check_last_change_seconds",
        "Seconds since the last change between UP and DOWN.",
        |s, line| {
            line.duration(Some(s.standing.age));
        },
    ),
    gauge("haproxy_server_check_status", "1 for the result of the last probe, 0 for the others.", |s, line| {
        if let Some(found) = s.result() {
            for result in CheckResult::ALL {
                line.labelled("state", result.code(), (result == found).into());
            }
        }
    }),
    gauge("haproxy_server_check_code", "HTTP status found by the last probe.", |s, line| {
        line.maybe(last(s).and_then(|checked| checked.status).map(f64::from));
    }),
    gauge("haproxy_server_check_duration_seconds", "Duration of the last probe.", |s, line| {
        line.duration(last(s).map(|checked| checked.took));
    }),
    counter("haproxy_server_downtime_seconds_total", "Total seconds in which the server was DOWN.", |s, line| {
        line.duration(probes(s).map(|_| s.standing.downtime));
    }),
    counter("haproxy_server_loadbalanced_total", "How often the server was picked.", |s, line| {
        line.number(s.traffic.balanced);
    }),
    gauge("haproxy_server_last_session_seconds", "Seconds since the last connection was assigned.", |s, line| {
        line.duration(s.last_session);
    }),
    gauge(
        "haproxy_server_queue_time_average_seconds",
        "Average time in the queue over the last 1,024 connections.",
        |s, line| {
            line.maybe(s.usage.queue_time.average());
        },
    ),
    gauge(
        "haproxy_server_connect_time_average_seconds",
        "Average connect time over the last 1,024 connections.",
        |s, line| {
            line.maybe(s.usage.connect_time.average());
        },
    ),
    gauge(
        "haproxy_server_total_time_average_seconds",
        "Average duration over the last 1,024 connections.",
        |s, line| {
            line.maybe(s.usage.total_time.average());
        },
    ),
    gauge("haproxy_server_max_queue_time_seconds", "Longest time in the queue.", |s, line| {
        line.duration(s.usage.queue_time.longest());
    }),
    gauge("haproxy_server_max_connect_time_seconds", "Longest connect time.", |s, line| {
        line.duration(s.usage.connect_time.longest());
    }),
    gauge("haproxy_server_max_total_time_seconds", "Longest duration of a connection.", |s, line| {
        line.duration(s.usage.total_time.longest());
    }),
];

fn probes(server: &ServerNow) -> Option<&ProbesNow> {
    server.probes.as_ref()
}

fn last(server: &ServerNow) -> Option<&Checked> {
    probes(server)?.last.as_ref()
}
