//! The process.
use super::super::Snapshot;
use super::super::exposition::{Family, counter, gauge, untyped};
use super::super::snapshot::Phase;
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(in super::super) const PROCESS: &[Family<Snapshot>] = &[
    gauge(
        "haproxy_process_start_time_seconds",
        "When the service started, in seconds since 1970. A hand-over to another process is no new start.",
        |s, line| {
            line.float(s.started as f64 / 1e6);
        },
    ),
    gauge("haproxy_process_uptime_seconds", "How long ago the service started, in seconds.", |s, line| {
        line.duration(Some(s.now.since(Time::ZERO)));
    }),
    gauge("haproxy_process_nbthread", "Threads that carry traffic.", |_, line| line.number(1)),
    gauge("haproxy_process_current_connections", "Clients now, those of the admin endpoints apart.", |s, line| {
        line.number(s.connections);
    }),
    gauge("haproxy_process_max_connections", "TLS clients that there may be at once.", |s, line| {
        line.number(s.capacity);
    }),
    gauge("haproxy_process_max_fds", "File descriptors that there may be.", |s, line| line.number(s.most_fds)),
    counter("haproxy_process_connections_total", "Clients let in, those of the admin endpoints apart.", |s, line| {
        line.number(
            s.process.https.accepted.total() + s.process.owned.accepted.total() + s.process.http.accepted.total(),
        );
    }),
    counter("haproxy_process_bytes_out_total", "Bytes sent to clients and servers.", |s, line| {
        let [https, owned, http] = [&s.process.https, &s.process.owned, &s.process.http];
        line.number(https.bytes_up + https.bytes_down + owned.bytes_up + owned.bytes_down + http.bytes_down);
    }),
    counter("haproxy_process_spliced_bytes_out_total", "Of these, bytes that never left the kernel.", |s, line| {
        line.number(s.process.bytes_spliced);
    }),
    gauge("haproxy_process_max_pipes", "Pipes for splicing that there may be, 0 where it is off.", |s, line| {
        line.number(s.pipes.most as u64);
    }),
    // HAProxy calls these two counters. They go down.
    untyped("haproxy_process_pipes_used_total", "Pipes that hold bytes now.", |s, line| {
        line.number(s.pipes.used as u64);
    }),
    untyped("haproxy_process_pipes_free_total", "Pipes that are kept for the next transfer.", |s, line| {
        line.number(s.pipes.free as u64);
    }),
    counter("haproxy_process_dropped_logs_total", "Log lines lost to a reader that stalled.", |s, line| {
        line.number(s.lost_lines);
    }),
    gauge("haproxy_process_stopping", "1 when no one is let in any more, else 0.", |s, line| {
        line.number(s.is_draining.into());
    }),
    gauge("haproxy_process_build_info", "1, with the version.", |_, line| line.labelled("version", VERSION, 1)),
    gauge("fiscalismia_lb_build_info", "1, with the version.", |_, line| line.labelled("version", VERSION, 1)),
    counter("fiscalismia_lb_drops_total", "Clients dropped before they had a route, by reason.", |s, line| {
        for (reason, count) in s.drops() {
            line.labelled("reason", reason.name(), count);
        }
    }),
    counter("fiscalismia_lb_closes_total", "TLS connections that ended, by reason.", |s, line| {
        for (reason, count) in CloseReason::ALL.map(CloseReason::name).into_iter().zip(s.process.closes) {
            line.labelled("reason", reason, count);
        }
    }),
    gauge("fiscalismia_lb_connections", "TLS connections now, by what they are about.", |s, line| {
        for (phase, count) in Phase::ALL.into_iter().zip(s.phases) {
            line.labelled("phase", phase.name(), count);
        }
    }),
    gauge("fiscalismia_lb_half_closed_connections", "Connections now of which one side has ended.", |s, line| {
        line.number(s.half_closed);
    }),
    counter("fiscalismia_lb_accept_pauses_total", "How often clients were left in the backlog.", |s, line| {
        line.number(s.process.accept_pauses);
    }),
    counter("fiscalismia_lb_ports_short_total", "Tries to connect for which no local port was free.", |s, line| {
        line.number(s.process.ports_short);
    }),
    counter("fiscalismia_lb_log_lines_lost_total", "Log lines lost to a reader that stalled.", |s, line| {
        line.number(s.lost_lines);
    }),
    gauge("fiscalismia_lb_rate_limit_sources", "Addresses whose rate is remembered now.", |s, line| {
        line.number(s.sources.remembered as u64);
    }),
    counter("fiscalismia_lb_rate_limit_evicted_total", "Addresses forgotten early, for want of room.", |s, line| {
        line.number(s.sources.evicted);
    }),
    gauge("fiscalismia_lb_last_probe_timestamp_seconds", "When a probe of any server finished last.", |s, line| {
        line.maybe(s.process.last_probe.map(|time| s.unix(time)));
    }),
    gauge("fiscalismia_lb_probe_interval_seconds", "The shortest interval of probes in force.", |s, line| {
        line.duration(s.probe_interval());
    }),
    gauge("fiscalismia_lb_config_generation", "1, and 1 more for each reload that worked.", |s, line| {
        line.number(1 + s.process.reloads);
    }),
    counter("fiscalismia_lb_config_reloads_total", "Reloads, by whether they worked.", |s, line| {
        line.labelled("result", "success", s.process.reloads);
        line.labelled("result", "failure", s.process.failed_reloads);
    }),
    gauge("fiscalismia_lb_config_last_reload_timestamp_seconds", "When the file was read last.", |s, line| {
        line.float(s.process.last_reload as f64 / 1e6);
    }),
    gauge("fiscalismia_lb_config_last_reload_success", "1 if that worked, else 0.", |s, line| {
        line.number(s.process.last_reload_worked.into());
    }),
];
