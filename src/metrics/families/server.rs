//! Servers.
use super::super::exposition::{Family, counter, gauge};
use super::super::snapshot::State;
use super::super::{ServerNow, snapshot::ProbesNow};
use crate::policy::health::Checked;
use crate::vocabulary::CheckResult;

pub(in super::super) const SERVER: &[Family<ServerNow>] = &[
    gauge(
        "haproxy_server_status",
        "1 for the state that it is in, else 0; DRAIN: it finishes what it has; MAINT: an operator has taken it out.",
        |s, line| {
            let state = s.state();
            line.labelled("state", "DOWN", (state == State::Down).into());
            line.labelled("state", "UP", (state == State::Up).into());
            line.labelled("state", "MAINT", (state == State::Maint).into());
            line.labelled("state", "DRAIN", (state == State::Drain).into());
        },
    ),
    gauge("haproxy_server_current_sessions", "Connections now.", |s, line| line.number(s.open.into())),
    gauge("haproxy_server_max_sessions", "Most connections at once so far.", |s, line| {
        line.number(s.usage.most_sessions);
    }),
    gauge("haproxy_server_limit_sessions", "Connections that there may be at once.", |s, line| {
        line.maybe(s.limit.map(f64::from));
    }),
    counter("haproxy_server_sessions_total", "Connections given to it, tries again included.", |s, line| {
        line.number(s.usage.sessions.total());
    }),
    gauge("haproxy_server_max_session_rate", "Most connections given to it in a second so far.", |s, line| {
        line.number(s.usage.sessions.most().into());
    }),
    counter("haproxy_server_bytes_in_total", "Bytes from clients.", |s, line| line.number(s.traffic.bytes_up)),
    counter("haproxy_server_bytes_out_total", "Bytes to clients.", |s, line| line.number(s.traffic.bytes_down)),
    counter("haproxy_server_connection_attempts_total", "Tries to connect.", |s, line| {
        line.number(s.traffic.connects);
    }),
    counter("haproxy_server_connection_errors_total", "Connections given up after the last try here.", |s, line| {
        line.number(s.traffic.connect_errors);
    }),
    counter("haproxy_server_response_errors_total", "Connections that it broke off or let go silent.", |s, line| {
        line.number(s.traffic.response_errors);
    }),
    counter("haproxy_server_retry_warnings_total", "Failed tries that were tried here again.", |s, line| {
        line.number(s.traffic.retries);
    }),
    counter("haproxy_server_redispatch_warnings_total", "Failed tries after which another was tried.", |s, line| {
        line.number(s.traffic.redispatches);
    }),
    counter("haproxy_server_client_aborts_total", "Connections that the client broke off.", |s, line| {
        line.number(s.traffic.client_aborts);
    }),
    counter("haproxy_server_server_aborts_total", "Connections that the server broke off.", |s, line| {
        line.number(s.traffic.server_aborts);
    }),
    gauge("haproxy_server_weight", "Its share of new connections.", |s, line| line.number(s.weight.into())),
    gauge("haproxy_server_active", "1 unless it is a backup.", |s, line| line.number((!s.is_backup).into())),
    gauge("haproxy_server_backup", "1 if it is a backup.", |s, line| line.number(s.is_backup.into())),
    counter("haproxy_server_check_failures_total", "Probes that failed while it was up.", |s, line| {
        line.maybe(probes(s).map(|probes| probes.failures as f64));
    }),
    counter("haproxy_server_check_up_down_total", "How often it went down.", |s, line| {
        line.maybe(probes(s).map(|_| s.standing.downs as f64));
    }),
    gauge("haproxy_server_check_last_change_seconds", "How long it is in its state.", |s, line| {
        line.duration(Some(s.standing.age));
    }),
    gauge("haproxy_server_check_status", "1 for what the last probe found, else 0.", |s, line| {
        if let Some(found) = s.result() {
            for result in CheckResult::ALL {
                line.labelled("state", result.code(), (result == found).into());
            }
        }
    }),
    gauge("haproxy_server_check_code", "The HTTP status that the last probe found.", |s, line| {
        line.maybe(last(s).and_then(|checked| checked.status).map(f64::from));
    }),
    gauge("haproxy_server_check_duration_seconds", "How long the last probe took.", |s, line| {
        line.duration(last(s).map(|checked| checked.took));
    }),
    counter("haproxy_server_downtime_seconds_total", "How long it was down, in all.", |s, line| {
        line.duration(probes(s).map(|_| s.standing.downtime));
    }),
    counter("haproxy_server_loadbalanced_total", "How often it was picked.", |s, line| {
        line.number(s.traffic.balanced);
    }),
    gauge("haproxy_server_last_session_seconds", "How long ago it was given a connection.", |s, line| {
        line.duration(s.last_session);
    }),
    gauge("haproxy_server_queue_time_average_seconds", "Average wait of the last 1,024.", |s, line| {
        line.maybe(s.usage.queue_time.average());
    }),
    gauge("haproxy_server_connect_time_average_seconds", "Average connect time of the last 1,024.", |s, line| {
        line.maybe(s.usage.connect_time.average());
    }),
    gauge("haproxy_server_total_time_average_seconds", "Average life of the last 1,024.", |s, line| {
        line.maybe(s.usage.total_time.average());
    }),
    gauge("haproxy_server_max_queue_time_seconds", "Longest wait so far.", |s, line| {
        line.duration(s.usage.queue_time.longest());
    }),
    gauge("haproxy_server_max_connect_time_seconds", "Longest connect time so far.", |s, line| {
        line.duration(s.usage.connect_time.longest());
    }),
    gauge("haproxy_server_max_total_time_seconds", "Longest life so far.", |s, line| {
        line.duration(s.usage.total_time.longest());
    }),
];

fn probes(server: &ServerNow) -> Option<&ProbesNow> {
    server.probes.as_ref()
}

fn last(server: &ServerNow) -> Option<&Checked> {
    probes(server)?.last.as_ref()
}
