//! Routes and their servers, in a table; on a narrow screen each line is a block.
use std::time::Duration;

use maud::{Markup, html};

use super::super::report::View;
use super::format;
use crate::config;
use crate::metrics::{RouteNow, ServerNow, Snapshot, StandingNow, State, Summary, Traffic, Usage};
use crate::policy::servers::Mode;

/// The header of the columns.
pub(super) fn head() -> Markup {
    html! {
        thead {
            tr {
                th scope="col" { "Route, server" }
                th scope="col" { "State" }
                th.n scope="col" { "Now" }
                th.n scope="col" { "Peak" }
                th.n scope="col" { "Total" }
                th.n scope="col" { "A second" }
                th.n scope="col" { "Bytes" }
                th.n scope="col" { "Connect" }
                th scope="col" { "Limit, errors" }
                th scope="col" { "Last probe" }
                th.n scope="col" { "Weight" }
            }
        }
    }
}

/// The most routes that are all shown in full.
const MAX_UNFOLDED: usize = 12;
/// With more routes, the most unhealthy ones that are shown in full.
const MAX_TROUBLED: usize = 5;
/// The time after which a server's last answer without TLS counts as old.
const LATELY: Duration = Duration::from_mins(5);
/// The most names of a route that are shown.
const MAX_NAMES: usize = 3;

/// The routes that are shown in a line each. Computed once a page, as a computation for each route would be quadratic.
#[derive(Clone, Copy)]
pub(in crate::admin) struct Folds {
    /// Of a few routes, none is.
    are_many: bool,
    /// From this place on all are; before it, those that are well.
    from: usize,
    /// Routes in a line.
    pub(super) count: usize,
    /// Routes that are not well, however they are shown.
    pub(super) troubled: usize,
}

impl Folds {
    pub(in crate::admin) fn of(snapshot: &Snapshot) -> Folds {
        let all = snapshot.routes.len();
        let troubled = || {
            let routes = snapshot.routes.iter().enumerate();
            routes.filter(|(_, route)| !is_well(route, snapshot)).map(|(place, _)| place)
        };
        let (count, are_many) = (troubled().count(), all > MAX_UNFOLDED);
        let folded = if are_many { all - count.min(MAX_TROUBLED) } else { 0 };
        Folds { are_many, from: troubled().nth(MAX_TROUBLED).unwrap_or(all), count: folded, troubled: count }
    }

    /// Whether the route with this index is shown in a line.
    pub(super) fn have(self, place: usize, snapshot: &Snapshot) -> bool {
        let is_well = |route| is_well(route, snapshot);
        self.are_many && (place >= self.from || snapshot.routes.get(place).is_some_and(is_well))
    }
}

fn is_well(route: &RouteNow, snapshot: &Snapshot) -> bool {
    route.standing.is_up && route.queued == 0 && snapshot.servers_of(route).iter().all(is_settled)
}

fn is_settled(server: &ServerNow) -> bool {
    server.state() != State::Down && server.pending().is_none() && !server.set.is_set() && !speaks_no_tls(server)
}

/// Whether a server recently answered hellos with bytes that are not TLS.
pub(super) fn speaks_no_tls(server: &ServerNow) -> bool {
    server.last_not_tls.is_some_and(|ago| ago < LATELY)
}

/// The header of the columns of routes in a line.
pub(super) fn folded_head() -> Markup {
    html! {
        thead { tr { th scope="col" { "Route" } th scope="col" { "Names" } th.n scope="col" { "Servers" } th.n scope="col" { "Now" } th.n scope="col" { "Total" } } }
    }
}

/// A route in a line.
pub(super) fn folded(route: &RouteNow, snapshot: &Snapshot) -> Markup {
    html! {
        tr {
            th scope="row" {
                (route.name)
                @for server in snapshot.servers_of(route).iter().filter(|server| !is_settled(server)) {
                    " " span class={ "state " (class(server)) } id={ (route.name) "/" (server.name) } { (server.name) " " (server.status()) }
                }
            }
            td { (names(route, 1)) }
            td { (snapshot.servers_of(route).len()) }
            td { (format::count(route.open)) }
            td { (format::count(route.usage.sessions.total())) }
        }
    }
}

/// The first names of a route.
fn names(route: &RouteNow, most: usize) -> String {
    let sni = &route.config.sni;
    let mut names: Vec<String> = sni.iter().take(most).map(ToString::to_string).collect();
    if let more @ 1.. = sni.len().saturating_sub(most) {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// A route and its servers.
pub(super) fn route(route: &RouteNow, view: View, snapshot: &Snapshot) -> Markup {
    let servers = snapshot.servers_of(route);
    let up = servers.iter().filter(|server| server.state() == State::Up).count();
    let (class, word) = match route.standing.is_up {
        false => ("bad", "DOWN".to_owned()),
        true if up < servers.len() => ("warn", format!("UP {up}/{}", servers.len())),
        true => ("good", "UP".to_owned()),
    };
    html! {
        // With one server, its figures are those of the route; a narrow screen leaves the route's out.
        tbody.single[servers.len() == 1] data-route=(route.name) {
            tr.route {
                th scope="rowgroup" { (route.name) " " small.names { (names(route, MAX_NAMES)) } }
                td data-of="State" { span class={ "state " (class) } { (word) } (since(snapshot, route.standing.since)) }
                (figures(route.open, &route.usage, route.traffic.bytes_up, route.traffic.bytes_down, snapshot))
                td data-of="Limit, errors" { (notes(&route.traffic, &route.standing, None)) }
                td data-of="Servers" {
                    (in_service(route))
                    @if route.queued > 0 { ", " b { (route.queued) " waiting" } }
                    @else if route.most_queued > 0 { ", at most " (route.most_queued) " waited" }
                }
                td.n data-of="Weight" { (route.weight) }
            }
            @for server in servers.iter().filter(|server| view.shows(server)) { (line(server, snapshot)) }
        }
    }
}

fn line(server: &ServerNow, snapshot: &Snapshot) -> Markup {
    html! {
        tr data-server=(server.name) id={ (server.route) "/" (server.name) } {
            th scope="row" {
                (server.name)
                @if *server.name != *server.address.to_string() { " " small { (server.address) } }
                @if server.is_backup { " " small.tag { "backup" } }
                @if server.set.is_set() { " " small.remark { (remark(server, snapshot)) } }
            }
            td data-of="State" { (state(server)) (since(snapshot, server.standing.since)) }
            (figures(server.open.into(), &server.usage, server.traffic.bytes_up, server.traffic.bytes_down, snapshot))
            td data-of="Limit, errors" { (notes(&server.traffic, &server.standing, server.limit)) }
            td data-of="Last probe" { (found(server)) }
            td.n data-of="Weight" { (server.weight) }
        }
    }
}

/// The operator's setting beside the file's: `the file says weight 2; drained since 10:02 UTC by uid 1000`.
fn remark(server: &ServerNow, snapshot: &Snapshot) -> String {
    let set = &server.set;
    let clock = |time| format::clock(snapshot.wall(time), snapshot.wall(snapshot.now));
    let done = match set.mode {
        Mode::Drain => "drained",
        Mode::Maint => "in maintenance",
        Mode::Ready => "weight set",
    };
    let until = set.until.map(|until| format!(", until {}", clock(until))).unwrap_or_default();
    format!(
        "the file says weight {}; {done} since {} by uid {}{until}",
        server.weight_in_file,
        clock(set.since),
        set.uid
    )
}

/// The limit, and the errors so far.
fn notes(traffic: &Traffic, standing: &StandingNow, limit: Option<u32>) -> String {
    let count = |number: u64, noun: &str| (number > 0).then(|| config::count(number as usize, noun));
    let downtime = (!standing.downtime.is_zero()).then(|| format!("down {} in all", format::span(standing.downtime)));
    let notes: Vec<String> = [
        limit.map(|limit| format!("limit {limit}")),
        count(traffic.connect_errors, "connect error"),
        (traffic.response_errors > 0).then(|| format!("{} broken off", traffic.response_errors)),
        match traffic.retries + traffic.redispatches {
            0 => None,
            1 => Some("1 retry".to_owned()),
            more => Some(format!("{more} retries")),
        },
        match traffic.not_tls {
            0 => None,
            1 => Some("1 answer is not TLS".to_owned()),
            more => Some(format!("{more} answers are not TLS")),
        },
        count(standing.downs, "flap"),
        downtime,
    ]
    .into_iter()
    .flatten()
    .collect();
    if notes.is_empty() { "–".to_owned() } else { notes.join(", ") }
}

/// Columns that routes and servers share.
fn figures(open: u64, usage: &Usage, bytes_up: u64, bytes_down: u64, snapshot: &Snapshot) -> Markup {
    html! {
        td.n data-of="Now" { (format::count(open)) }
        td.n data-of="Peak" { (format::count(usage.most_sessions)) }
        td.n data-of="Total" { (format::count(usage.sessions.total())) }
        td.n data-of="A second" title={ "peak " (usage.sessions.most()) } { (usage.sessions.per_second(snapshot.now)) }
        td.n data-of="Bytes" { (arrows(bytes_up, bytes_down)) }
        td.n data-of="Connect" { (connect(&usage.connect_time)) }
    }
}

/// Bytes from clients, and bytes to clients.
pub(super) fn arrows(up: u64, down: u64) -> Markup {
    let title = |what: &str, bytes| format!("{} bytes {what}", format::count(bytes));
    html! {
        span.pair {
            span title=(title("from clients", up)) { "↑\u{a0}" (format::bytes(up as f64)) }
            " "
            span title=(title("to clients", down)) { "↓\u{a0}" (format::bytes(down as f64)) }
        }
    }
}

fn connect(time: &Summary) -> Markup {
    html! {
        @match (time.average(), time.longest()) {
            (Some(average), Some(longest)) => {
                span title={ "average of the last 1,024; longest " (format::seconds(longest.as_secs_f64())) } { (format::seconds(average)) }
            }
            _ => "–",
        }
    }
}

fn in_service(route: &RouteNow) -> String {
    let backups = match route.backup {
        0 => String::new(),
        backups => format!(" + {backups} backup"),
    };
    format!("{}{backups} in service", route.active)
}

/// In HAProxy's words: with how firmly it stands, where it could change.
fn state(server: &ServerNow) -> Markup {
    html! {
        span class={ "state " (class(server)) } { (server.status()) }
    }
}

fn class(server: &ServerNow) -> &'static str {
    match (server.state(), server.pending()) {
        (State::Up, None) => "good",
        (State::Down, _) => "bad",
        _ => "warn",
    }
}

fn since(snapshot: &Snapshot, time: crate::policy::time::Time) -> Markup {
    html! {
        " " small title={ "since " (format::moment(snapshot.wall(time))) } { (format::span(snapshot.now.since(time))) }
    }
}

/// What the last probe found, why it failed, and how long it took.
fn found(server: &ServerNow) -> Markup {
    html! {
        (verdict(server))
        @if let Some(last) = server.probes.as_ref().and_then(|probes| probes.last.as_ref()) {
            " " small { (format::seconds(last.took.as_secs_f64())) }
        }
    }
}

/// What the last probe found, and why it failed.
pub(super) fn verdict(server: &ServerNow) -> Markup {
    let last = server.probes.as_ref().map(|probes| probes.last.as_ref());
    html! {
        @match last {
            None => "not probed",
            Some(None) => "not yet",
            Some(Some(last)) => {
                span title=(last.result.code()) { (last.result.describe()) }
                @if !last.info.is_empty() { ": " (last.info) }
            }
        }
    }
}
