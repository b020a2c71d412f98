//! `/stats;csv`: the columns of HAProxy 3.2, in its order, with its meaning (management guide, section 9.1; the columns
//! after `uweight` are those that 3.2 writes). A column without a value is empty.
use std::io::Write as _;
use std::time::Duration;

use super::report::View;
use crate::metrics::{FrontendNow, ProbesNow, RouteNow, ServerNow, Snapshot, Summary};
use crate::policy::health::Checked;

/// Appends the header (0), a frontend's line, or the lines of a route; `false`: there are no more.
pub(super) fn piece(snapshot: &Snapshot, view: View, index: usize, out: &mut Vec<u8>) -> bool {
    let Some(index) = index.checked_sub(1) else {
        out.extend_from_slice(b"# ");
        for column in COLUMNS {
            let _ = write!(out, "{},", column.name);
        }
        out.extend_from_slice(b"-,\n");
        return true;
    };
    // HAProxy numbers its proxies from 1, in the order of the file.
    let proxy = index as u64 + 1;
    if let Some(frontend) = snapshot.frontends.get(index) {
        write(&Front { frontend, snapshot, proxy }, |column| column.frontend, out);
        return true;
    }
    let Some(route) = snapshot.routes.get(index - snapshot.frontends.len()) else { return false };
    for (number, now) in (1..).zip(snapshot.servers_of(route)).filter(|(_, now)| view.shows(now)) {
        write(&Server { route, now, snapshot, proxy, number }, |column| column.server, out);
    }
    write(&Back { route, snapshot, proxy }, |column| column.backend, out);
    true
}

struct Front<'a> {
    frontend: &'a FrontendNow,
    snapshot: &'a Snapshot,
    proxy: u64,
}

struct Back<'a> {
    route: &'a RouteNow,
    snapshot: &'a Snapshot,
    proxy: u64,
}

struct Server<'a> {
    route: &'a RouteNow,
    now: &'a ServerNow,
    snapshot: &'a Snapshot,
    proxy: u64,
    number: u64,
}

struct Column {
    name: &'static str,
    frontend: fn(&Front<'_>, &mut Field<'_>),
    backend: fn(&Back<'_>, &mut Field<'_>),
    server: fn(&Server<'_>, &mut Field<'_>),
}

const COLUMNS: &[Column] = &[
    all("pxname", |f, c| c.text(&f.frontend.name), |b, c| c.text(&b.route.name), |s, c| c.text(&s.route.name)),
    all("svname", |_, c| c.text("FRONTEND"), |_, c| c.text("BACKEND"), |s, c| c.text(&s.now.name)),
    back("qcur", |b, c| c.number(b.route.queued as u64), |_, c| c.number(0)),
    back("qmax", |b, c| c.number(b.route.most_queued as u64), |_, c| c.number(0)),
    all(
        "scur",
        |f, c| c.number(f.frontend.sessions),
        |b, c| c.number(b.route.open),
        |s, c| c.number(s.now.open.into()),
    ),
    all(
        "smax",
        |f, c| c.number(f.frontend.counters.most_sessions),
        |b, c| c.number(b.route.usage.most_sessions),
        |s, c| c.number(s.now.usage.most_sessions),
    ),
    all("slim", |f, c| c.number(f.frontend.limit), |_, _| {}, |s, c| c.maybe(s.now.limit.map(u64::from))),
    all(
        "stot",
        |f, c| c.number(f.frontend.sessions_total()),
        |b, c| c.number(b.route.usage.sessions.total()),
        |s, c| c.number(s.now.usage.sessions.total()),
    ),
    all(
        "bin",
        |f, c| c.number(f.frontend.counters.bytes_up),
        |b, c| c.number(b.route.traffic.bytes_up),
        |s, c| c.number(s.now.traffic.bytes_up),
    ),
    all(
        "bout",
        |f, c| c.number(f.frontend.counters.bytes_down),
        |b, c| c.number(b.route.traffic.bytes_down),
        |s, c| c.number(s.now.traffic.bytes_down),
    ),
    all("dreq", |f, c| c.number(f.frontend.denied), |_, c| c.number(0), |_, _| {}),
    all("dresp", |_, c| c.number(0), |_, c| c.number(0), |_, c| c.number(0)),
    front("ereq", |f, c| c.number(f.frontend.errors)),
    back("econ", |b, c| c.number(b.route.traffic.connect_errors), |s, c| c.number(s.now.traffic.connect_errors)),
    back("eresp", |b, c| c.number(b.route.traffic.response_errors), |s, c| c.number(s.now.traffic.response_errors)),
    back("wretr", |b, c| c.number(b.route.traffic.retries), |s, c| c.number(s.now.traffic.retries)),
    back("wredis", |b, c| c.number(b.route.traffic.redispatches), |s, c| c.number(s.now.traffic.redispatches)),
    all(
        "status",
        |f, c| c.text(if f.frontend.is_open { "OPEN" } else { "STOP" }),
        |b, c| c.text(if b.route.standing.is_up { "UP" } else { "DOWN" }),
        |s, c| c.text(&s.now.status()),
    ),
    back("weight", |b, c| c.number(b.route.weight), |s, c| c.number(s.now.weight.into())),
    back("act", |b, c| c.number(b.route.active as u64), |s, c| c.number((!s.now.is_backup).into())),
    back("bck", |b, c| c.number(b.route.backup as u64), |s, c| c.number(s.now.is_backup.into())),
    probed("chkfail", |s, c| c.maybe(probes(s).map(|probes| probes.failures))),
    back(
        "chkdown",
        |b, c| c.number(b.route.standing.downs),
        |s, c| {
            c.maybe(probes(s).map(|_| s.now.standing.downs));
        },
    ),
    back("lastchg", |b, c| c.seconds(b.route.standing.age), |s, c| c.seconds(s.now.standing.age)),
    back(
        "downtime",
        |b, c| c.seconds(b.route.standing.downtime),
        |s, c| {
            c.maybe(probes(s).map(|_| s.now.standing.downtime.as_secs()));
        },
    ),
    empty("qlimit"),
    all("pid", |_, c| c.number(1), |_, c| c.number(1), |_, c| c.number(1)),
    all("iid", |f, c| c.number(f.proxy), |b, c| c.number(b.proxy), |s, c| c.number(s.proxy)),
    all("sid", |_, c| c.number(0), |_, c| c.number(0), |s, c| c.number(s.number)),
    empty("throttle"),
    back("lbtot", |b, c| c.number(b.route.traffic.balanced), |s, c| c.number(s.now.traffic.balanced)),
    empty("tracked"),
    all("type", |_, c| c.number(0), |_, c| c.number(1), |_, c| c.number(2)),
    all(
        "rate",
        |f, c| c.number(f.frontend.counters.accepted.per_second(f.snapshot.now).into()),
        |b, c| c.number(b.route.usage.sessions.per_second(b.snapshot.now).into()),
        |s, c| c.number(s.now.usage.sessions.per_second(s.snapshot.now).into()),
    ),
    front("rate_lim", |_, c| c.number(0)),
    all(
        "rate_max",
        |f, c| c.number(f.frontend.counters.accepted.most().into()),
        |b, c| c.number(b.route.usage.sessions.most().into()),
        |s, c| c.number(s.now.usage.sessions.most().into()),
    ),
    probed("check_status", |s, c| c.text(&check_status(s))),
    probed("check_code", |s, c| c.maybe(last(s).and_then(|checked| checked.status).map(u64::from))),
    probed("check_duration", |s, c| c.maybe(last(s).map(|checked| checked.took.as_millis() as u64))),
    empty("hrsp_1xx"),
    empty("hrsp_2xx"),
    empty("hrsp_3xx"),
    empty("hrsp_4xx"),
    empty("hrsp_5xx"),
    empty("hrsp_other"),
    empty("hanafail"),
    empty("req_rate"),
    empty("req_rate_max"),
    empty("req_tot"),
    back("cli_abrt", |b, c| c.number(b.route.traffic.client_aborts), |s, c| c.number(s.now.traffic.client_aborts)),
    back("srv_abrt", |b, c| c.number(b.route.traffic.server_aborts), |s, c| c.number(s.now.traffic.server_aborts)),
    empty("comp_in"),
    empty("comp_out"),
    empty("comp_byp"),
    empty("comp_rsp"),
    back("lastsess", |b, c| c.age(b.route.last_session), |s, c| c.age(s.now.last_session)),
    probed("last_chk", |s, c| c.text(last(s).map_or("", |checked| &checked.info))),
    empty("last_agt"),
    back("qtime", |b, c| c.average(&b.route.usage.queue_time), |s, c| c.average(&s.now.usage.queue_time)),
    back("ctime", |b, c| c.average(&b.route.usage.connect_time), |s, c| c.average(&s.now.usage.connect_time)),
    back("rtime", |_, c| c.number(0), |_, c| c.number(0)),
    back("ttime", |b, c| c.average(&b.route.usage.total_time), |s, c| c.average(&s.now.usage.total_time)),
    empty("agent_status"),
    empty("agent_code"),
    empty("agent_duration"),
    probed("check_desc", |s, c| c.text(s.now.result().map_or("", |result| result.describe()))),
    empty("agent_desc"),
    probed("check_rise", |s, c| c.maybe(probes(s).map(|probes| probes.rise.into()))),
    probed("check_fall", |s, c| c.maybe(probes(s).map(|probes| probes.fall.into()))),
    probed("check_health", |s, c| c.maybe(probes(s).map(|probes| health(s.now, probes)))),
    empty("agent_rise"),
    empty("agent_fall"),
    empty("agent_health"),
    back("addr", |_, _| {}, |s, c| c.text(&s.now.address.to_string())),
    empty("cookie"),
    all(
        "mode",
        |f, c| c.text(if f.frontend.is_http { "http" } else { "tcp" }),
        |_, c| c.text("tcp"),
        |_, c| c.text("tcp"),
    ),
    back("algo", |b, c| c.text(b.route.config.balance.haproxy()), |_, _| {}),
    front("conn_rate", |f, c| c.number(f.frontend.counters.accepted.per_second(f.snapshot.now).into())),
    front("conn_rate_max", |f, c| c.number(f.frontend.counters.accepted.most().into())),
    front("conn_tot", |f, c| c.number(f.frontend.counters.accepted.total())),
    empty("intercepted"),
    front("dcon", |f, c| c.number(f.frontend.denied_connections)),
    front("dses", |_, c| c.number(0)),
    empty("wrew"),
    back("connect", |b, c| c.number(b.route.traffic.connects), |s, c| c.number(s.now.traffic.connects)),
    back("reuse", |_, c| c.number(0), |_, c| c.number(0)),
    empty("cache_lookups"),
    empty("cache_hits"),
    back("srv_icur", |_, _| {}, |_, c| c.number(0)),
    empty("src_ilim"),
    back("qtime_max", |b, c| c.longest(&b.route.usage.queue_time), |s, c| c.longest(&s.now.usage.queue_time)),
    back("ctime_max", |b, c| c.longest(&b.route.usage.connect_time), |s, c| c.longest(&s.now.usage.connect_time)),
    back("rtime_max", |_, c| c.number(0), |_, c| c.number(0)),
    back("ttime_max", |b, c| c.longest(&b.route.usage.total_time), |s, c| c.longest(&s.now.usage.total_time)),
    all("eint", |_, c| c.number(0), |_, c| c.number(0), |_, c| c.number(0)),
    back("idle_conn_cur", |_, _| {}, |_, c| c.number(0)),
    back("safe_conn_cur", |_, _| {}, |_, c| c.number(0)),
    back("used_conn_cur", |_, _| {}, |s, c| c.number(s.now.open.into())),
    empty("need_conn_est"),
    back("uweight", |b, c| c.number(b.route.weight), |s, c| c.number(s.now.weight.into())),
    empty("agg_server_status"),
    empty("agg_server_check_status"),
    empty("agg_check_status"),
    empty("srid"),
    empty("sess_other"),
    empty("h1sess"),
    empty("h2sess"),
    empty("h3sess"),
    empty("req_other"),
    empty("h1req"),
    empty("h2req"),
    empty("h3req"),
    empty("proto"),
];

const fn all(
    name: &'static str,
    frontend: fn(&Front<'_>, &mut Field<'_>),
    backend: fn(&Back<'_>, &mut Field<'_>),
    server: fn(&Server<'_>, &mut Field<'_>),
) -> Column {
    Column { name, frontend, backend, server }
}

const fn front(name: &'static str, frontend: fn(&Front<'_>, &mut Field<'_>)) -> Column {
    all(name, frontend, |_, _| {}, |_, _| {})
}

const fn back(
    name: &'static str,
    backend: fn(&Back<'_>, &mut Field<'_>),
    server: fn(&Server<'_>, &mut Field<'_>),
) -> Column {
    all(name, |_, _| {}, backend, server)
}

/// A column of servers with probes.
const fn probed(name: &'static str, server: fn(&Server<'_>, &mut Field<'_>)) -> Column {
    all(name, |_, _| {}, |_, _| {}, server)
}

const fn empty(name: &'static str) -> Column {
    all(name, |_, _| {}, |_, _| {}, |_, _| {})
}

fn write<T>(row: &T, cell: impl Fn(&Column) -> fn(&T, &mut Field<'_>), out: &mut Vec<u8>) {
    for column in COLUMNS {
        cell(column)(row, &mut Field { out });
        out.push(b',');
    }
    out.extend_from_slice(b"-,\n");
}

/// Writes one field.
struct Field<'a> {
    out: &'a mut Vec<u8>,
}

impl Field<'_> {
    fn number(&mut self, value: u64) {
        let _ = write!(self.out, "{value}");
    }

    fn maybe(&mut self, value: Option<u64>) {
        if let Some(value) = value {
            self.number(value);
        }
    }

    fn seconds(&mut self, value: Duration) {
        self.number(value.as_secs());
    }

    /// HAProxy's -1: never.
    fn age(&mut self, value: Option<Duration>) {
        match value {
            Some(value) => self.seconds(value),
            None => self.text("-1"),
        }
    }

    /// In milliseconds; 0 for an average of nothing.
    fn average(&mut self, value: &Summary) {
        self.number((value.average().unwrap_or_default() * 1000.0).round() as u64);
    }

    /// In milliseconds.
    fn longest(&mut self, value: &Summary) {
        self.number(value.longest().unwrap_or_default().as_millis() as u64);
    }

    /// Quoted if it has a comma or a quote.
    fn text(&mut self, text: &str) {
        if text.contains([',', '"', '\n']) {
            let _ = write!(self.out, "\"{}\"", text.replace('"', "\"\""));
        } else {
            self.out.extend_from_slice(text.as_bytes());
        }
    }
}

/// From 0 to rise + fall - 1; up from rise on.
fn health(server: &ServerNow, probes: &ProbesNow) -> u64 {
    let so_far = probes.tally.count;
    u64::from(if server.standing.is_up { probes.rise + so_far - 1 } else { so_far })
}

/// With an asterisk while a probe is running.
fn check_status(row: &Server<'_>) -> String {
    let is_running = probes(row).is_some_and(|probes| probes.is_running);
    let code = row.now.result().map_or("", |result| result.code());
    format!("{}{code}", if is_running { "* " } else { "" })
}

fn probes<'a>(row: &Server<'a>) -> Option<&'a ProbesNow> {
    row.now.probes.as_ref()
}

fn last<'a>(row: &Server<'a>) -> Option<&'a Checked> {
    probes(row)?.last.as_ref()
}
