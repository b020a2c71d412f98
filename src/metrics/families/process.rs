//! Series of the process.
use super::super::Snapshot;
use super::super::exposition::{Family, counter, gauge, untyped};
use super::super::snapshot::Phase;
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(in super::super) const PROCESS: &[Family<Snapshot>] = &[
    gauge(
        "haproxy_process_start_time_seconds",
        "When the service started, in seconds since 1970. A hand-over to the next process does not count as a start.",
        |s, line| {
            line.float(s.started.as_secs_f64());
        },
    ),
    gauge("haproxy_process_uptime_seconds", "Seconds since the service started.", |s, line| {
        line.duration(Some(s.now.since(Time::ZERO)));
    }),
    gauge("haproxy_process_nbthread", "Number of threads that carry traffic.", |_, line| line.number(1)),
    gauge(
        "haproxy_process_current_connections",
        "Current number of clients, without those of the admin endpoints.",
        |s, line| {
            line.number(s.connections);
        },
    ),
    gauge("haproxy_process_max_connections", "Highest number of TLS clients allowed at once.", |s, line| {
        line.number(s.capacity);
    }),
    gauge("haproxy_process_max_fds", "Highest number of file descriptors that the process may open.", |s, line| {
        line.number(s.most_fds);
    }),
    counter(
        "haproxy_process_connections_total",
        "Total number of accepted clients, without those of the admin endpoints.",
        |s, line| {
            line.number(
                s.process.https.accepted.total() + s.process.owned.accepted.total() + s.process.http.accepted.total(),
            );
        },
    ),
    counter(
        "haproxy_process_bytes_out_total",
        "Total bytes sent to clients and servers, without plain HTTP requests to servers.",
        |s, line| {
            let [https, owned, http] = [&s.process.https, &s.process.owned, &s.process.http];
            line.number(https.bytes_up + https.bytes_down + owned.bytes_up + owned.bytes_down + http.bytes_down);
        },
    ),
    counter(
        "haproxy_process_spliced_bytes_out_total",
        "Total bytes moved by splice, which never left the kernel.",
        |s, line| {
            line.number(s.process.bytes_spliced);
        },
    ),
    gauge("haproxy_process_max_pipes", "Highest number of pipes for splice, 0 if zero_copy is off.", |s, line| {
        line.number(s.pipes.most as u64);
    }),
    // HAProxy calls these two counters, but they go down.
    untyped("haproxy_process_pipes_used_total", "Current number of pipes that hold bytes.", |s, line| {
        line.number(s.pipes.used as u64);
    }),
    untyped(
        "haproxy_process_pipes_free_total",
        "Current number of idle pipes kept for the next transfer.",
        |s, line| {
            line.number(s.pipes.free as u64);
        },
    ),
    counter(
        "haproxy_process_dropped_logs_total",
        "Total log lines lost because standard output was not read in time, or because too many came at once.",
        |s, line| {
            line.number(s.lost_lines);
        },
    ),
    gauge(
        "haproxy_process_stopping",
        "1 if the process is draining or stopping, 0 if it accepts clients.",
        |s, line| {
            line.number(s.is_draining.into());
        },
    ),
    gauge("haproxy_process_build_info", "Always 1; the label is the version.", |_, line| {
        line.labelled("version", VERSION, 1);
    }),
    gauge("fiscalismia_lb_build_info", "Always 1; the label is the version.", |_, line| {
        line.labelled("version", VERSION, 1);
    }),
    counter("fiscalismia_lb_drops_total", "Total clients dropped before they had a route, by reason.", |s, line| {
        for (reason, count) in s.drops() {
            line.labelled("reason", reason.name(), count);
        }
    }),
    counter("fiscalismia_lb_closes_total", "Total TLS connections that ended, by reason.", |s, line| {
        for (reason, count) in CloseReason::ALL.map(CloseReason::name).into_iter().zip(s.process.closes) {
            line.labelled("reason", reason, count);
        }
    }),
    gauge("fiscalismia_lb_connections", "Current number of TLS connections by phase.", |s, line| {
        for (phase, count) in Phase::ALL.into_iter().zip(s.phases) {
            line.labelled("phase", phase.name(), count);
        }
    }),
    gauge(
        "fiscalismia_lb_half_closed_connections",
        "Current number of connections of which one side has sent FIN.",
        |s, line| {
            line.number(s.half_closed);
        },
    ),
    counter(
        "fiscalismia_lb_accept_pauses_total",
        "How often accepting paused: at the connection limit, or out of file descriptors or memory.",
        |s, line| {
            line.number(s.process.accept_pauses);
        },
    ),
    counter(
        "fiscalismia_lb_ports_short_total",
        "Total attempts to connect for which no local port was free.",
        |s, line| {
            line.number(s.process.ports_short);
        },
    ),
    counter(
        "fiscalismia_lb_log_lines_lost_total",
        "Total log lines lost because standard output was not read in time, or because too many came at once.",
        |s, line| {
            line.number(s.lost_lines);
        },
    ),
    gauge(
        "fiscalismia_lb_rate_limit_sources",
        "Current number of client addresses whose connection rate is remembered.",
        |s, line| {
            line.number(s.sources.remembered as u64);
        },
    ),
    counter(
        "fiscalismia_lb_rate_limit_evicted_total",
        "Total client addresses forgotten early because the table was full.",
        |s, line| {
            line.number(s.sources.evicted);
        },
    ),
    gauge(
        "fiscalismia_lb_last_probe_timestamp_seconds",
        "Unix time at which a probe of any server last finished.",
        |s, line| {
            line.maybe(s.process.last_probe.map(|time| s.unix(time)));
        },
    ),
    gauge("fiscalismia_lb_probe_interval_seconds", "Shortest probe interval of all routes.", |s, line| {
        line.duration(s.probe_interval());
    }),
    gauge("fiscalismia_lb_config_generation", "1 at start, plus 1 for each successful reload.", |s, line| {
        line.number(1 + s.process.reloads.succeeded);
    }),
    counter("fiscalismia_lb_config_reloads_total", "Total reloads, by result.", |s, line| {
        line.labelled("result", "success", s.process.reloads.succeeded);
        line.labelled("result", "failure", s.process.reloads.failed);
    }),
    gauge(
        "fiscalismia_lb_config_last_reload_timestamp_seconds",
        "Unix time at which the configuration file was last read.",
        |s, line| {
            line.float(s.process.reloads.last.as_secs_f64());
        },
    ),
    gauge("fiscalismia_lb_config_last_reload_success", "1 if the last reload succeeded, 0 if it failed.", |s, line| {
        line.number(s.process.reloads.last_succeeded.into());
    }),
    counter("process_cpu_seconds_total", "Total CPU time of the process, user and system, in seconds.", |s, line| {
        line.float(s.usage.cpu);
    }),
    gauge("process_resident_memory_bytes", "Resident memory of the process in bytes.", |s, line| {
        line.count(s.usage.resident);
    }),
    gauge("process_open_fds", "Current number of open file descriptors of the process.", |s, line| {
        line.count(s.usage.open_fds);
    }),
    gauge("process_max_fds", "Highest number of file descriptors that the process may open.", |s, line| {
        line.number(s.most_fds);
    }),
    gauge(
        "fiscalismia_lb_conntrack_entries",
        "Current number of connections that the host's kernel tracks, NaN if it does not tell.",
        |s, line| line.count(s.usage.conntrack_entries),
    ),
    gauge(
        "fiscalismia_lb_conntrack_max",
        "Highest number of connections that the host's kernel can track, NaN if it does not tell.",
        |s, line| line.count(s.usage.conntrack_max),
    ),
];
