//! Routes and their servers, in a table; on a narrow screen each line is a block of its own.
use maud::{Markup, html};

use super::super::report::View;
use super::format;
use crate::metrics::{RouteNow, ServerNow, Snapshot, State, Summary, Usage};

/// Names the columns.
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
                th scope="col" { "Last probe" }
                th.n scope="col" { "Weight" }
            }
        }
    }
}

/// A route and its servers.
pub(super) fn route(route: &RouteNow, view: View, snapshot: &Snapshot) -> Markup {
    let (class, word) = if route.standing.is_up { ("good", "UP") } else { ("bad", "DOWN") };
    html! {
        // With one server, its figures are those of the route; a narrow screen leaves the route's out.
        tbody.single[route.servers.len() == 1] data-route=(route.name) {
            tr.route {
                th scope="rowgroup" { (route.name) }
                td data-of="State" { span class={ "state " (class) } { (word) } (since(snapshot, route.standing.since)) }
                (figures(route.open, &route.usage, route.traffic.bytes_up, route.traffic.bytes_down, snapshot))
                td data-of="Servers" { (in_service(route)) @if route.queued > 0 { ", " b { (route.queued) " waiting" } } }
                td.n data-of="Weight" { (route.weight) }
            }
            @for server in snapshot.servers_of(route).iter().filter(|server| view.shows(server)) { (line(server, snapshot)) }
        }
    }
}

fn line(server: &ServerNow, snapshot: &Snapshot) -> Markup {
    html! {
        tr data-server=(server.name) {
            th scope="row" {
                (server.name)
                @if *server.name != *server.address.to_string() { " " small { (server.address) } }
                @if server.is_backup { " " small.tag { "backup" } }
            }
            td data-of="State" { (state(server)) (since(snapshot, server.standing.since)) }
            (figures(server.open.into(), &server.usage, server.traffic.bytes_up, server.traffic.bytes_down, snapshot))
            td data-of="Last probe" { (found(server)) }
            td.n data-of="Weight" { (server.weight) }
        }
    }
}

/// What routes and servers have in common.
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

/// Bytes from clients and to them.
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
    let class = match (server.state(), server.unsettled()) {
        (State::Up, None) => "good",
        (State::Down, _) => "bad",
        _ => "warn",
    };
    html! {
        span class={ "state " (class) } { (server.status()) }
    }
}

fn since(snapshot: &Snapshot, time: crate::policy::time::Time) -> Markup {
    html! {
        " " small title={ "since " (format::moment(snapshot.unix_micros(time))) } { (format::span(snapshot.now.since(time))) }
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
