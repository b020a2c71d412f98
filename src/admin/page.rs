//! `/stats`: the page. One self-contained response that needs no script, and nothing from anywhere else.
mod chart;
mod format;
mod past;
mod routes;

pub(super) use routes::Folds;

use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

use super::report::View;
use crate::config;
use crate::metrics::{FrontendNow, Phase, ServerNow, Snapshot, State};

const STYLE: &str = include_str!("page/style.css");
/// Seconds after which the page reloads itself.
pub(super) const REFRESH: u32 = 10;
/// The most servers that are named at the top while they are down; of others, only the number.
const MAX_NAMED: usize = 6;

/// Appends what stands above the routes (0), each route in full, what stands between, each route in a line, and what
/// stands below; `false`: there is no more. A route is shown in one of both ways.
pub(super) fn piece(snapshot: &Snapshot, view: View, folds: Folds, index: usize, out: &mut Vec<u8>) -> bool {
    let all = snapshot.routes.len();
    let Some(place) = index.checked_sub(1) else {
        append(&above(snapshot, view, folds), out);
        return true;
    };
    if let Some(route) = snapshot.routes.get(place) {
        if !folds.have(place, snapshot) {
            append(&routes::route(route, view, snapshot), out);
        }
        return true;
    }
    match place - all {
        0 => append(&between(snapshot, folds), out),
        line if line <= all => {
            let route = snapshot.routes.get(line - 1).filter(|_| folds.have(line - 1, snapshot));
            if let Some(route) = route {
                append(&routes::folded(route, snapshot), out);
            }
        }
        after if after == all + 1 => append(&below(snapshot, view, folds), out),
        _ => return false,
    }
    true
}

fn append(markup: &Markup, out: &mut Vec<u8>) {
    out.extend_from_slice(markup.0.as_bytes());
}

/// An element's beginning or end alone: the table of routes is written a route at a time.
const fn tag(text: &'static str) -> PreEscaped<&'static str> {
    PreEscaped(text)
}

fn above(snapshot: &Snapshot, view: View, folds: Folds) -> Markup {
    let mood = Mood::of(snapshot);
    html! {
        (DOCTYPE)
        (tag("<html lang=\"en\">"))
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            // For text browsers, which heed no `Refresh` field.
            @if !view.is_still { noscript { meta http-equiv="refresh" content=(REFRESH); } }
            title { (mood.words) " – fiscalismia-lb" }
            link rel="icon" href=(icon(mood.class));
            style { (PreEscaped(STYLE)) }
        }
        (tag("<body>"))
        (header(snapshot, view, &mood))
        (tag("<main>"))
        (troubles(snapshot))
        (tiles(snapshot, mood.class))
        (chart::charts(snapshot))
        (tag("<section class=\"routes card\"><h2 id=\"routes\">Routes and servers</h2>"))
        @if folds.count == snapshot.routes.len() {
            p.sub { "Every route has all of its servers up." }
        }
        (tag("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"routes\"><table>"))
        (routes::head())
    }
}

/// Ends the table of routes in full, and begins that of routes in a line.
fn between(snapshot: &Snapshot, folds: Folds) -> Markup {
    let Folds { count: folded, troubled, .. } = folds;
    let shown = snapshot.routes.len() - folded;
    html! {
        (tag("</table></div>"))
        @if folded > 0 {
            (tag("<details>"))
            summary {
                @if troubled > shown { (config::count(folded, "more route")) ", " (troubled - shown) " of them without all servers up" }
                @else { (config::count(folded, "route")) " with all servers up" }
            }
            (tag("<table class=\"folded\">"))
            (routes::folded_head())
            (tag("<tbody>"))
        }
    }
}

fn below(snapshot: &Snapshot, view: View, folds: Folds) -> Markup {
    html! {
        @if folds.count > 0 {
            (tag("</tbody></table></details>"))
        }
        (tag("</section>"))
        (past::changes(snapshot))
        div.columns {
            (past::drops(snapshot))
            (past::ends(snapshot))
            (frontends(snapshot))
        }
        (tag("</main>"))
        (footer(snapshot, view))
        (tag("</body></html>"))
    }
}

/// The overall state, in a word and a colour.
struct Mood {
    class: &'static str,
    words: String,
}

impl Mood {
    fn of(snapshot: &Snapshot) -> Mood {
        let down = snapshot.servers.iter().filter(|server| server.state() == State::Down).count();
        let dead = snapshot.routes.iter().filter(|route| !route.standing.is_up).count();
        let (all, up) = (snapshot.servers.len(), count_up(snapshot));
        let (class, words) = match (snapshot.is_draining, dead, down) {
            (true, _, _) => ("warn", "Draining".to_owned()),
            (false, 0, 0) if up < all => ("good", format!("{up} of {all} servers up, {} drained", all - up)),
            (false, 0, 0) => {
                ("good", if all == 1 { "The server is up".to_owned() } else { format!("All {all} servers up") })
            }
            (false, 0, _) => ("warn", format!("{down} of {all} servers down")),
            (false, _, _) => ("bad", format!("{} without a server", config::count(dead, "route"))),
        };
        Mood { class, words }
    }
}

/// Servers that are up and take new connections.
fn count_up(snapshot: &Snapshot) -> usize {
    snapshot.servers.iter().filter(|server| server.state() == State::Up).count()
}

/// The icon of the browser's tab.
fn icon(class: &str) -> String {
    let colour = match class {
        "good" => "1a7f4b",
        "warn" => "b7791f",
        _ => "c53030",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Ccircle cx='8' cy='8' r='7' fill='%23{colour}'/%3E%3C/svg%3E"
    )
}

fn header(snapshot: &Snapshot, view: View, mood: &Mood) -> Markup {
    let now = format::moment(snapshot.wall(snapshot.now));
    let uptime = snapshot.now.since(crate::policy::time::Time::ZERO);
    let own_uptime = snapshot.wall(snapshot.now).since(snapshot.process_started);
    html! {
        header {
            div {
                h1 { (mark()) "fiscalismia-lb" span.version { (env!("CARGO_PKG_VERSION")) } }
                p.sub {
                    "up " span title={ "since " (format::moment(snapshot.started)) } { (format::span(uptime)) }
                    @if snapshot.process_started != snapshot.started {
                        ", this process "
                        span title={ "since " (format::moment(snapshot.process_started)) } { (format::span(own_uptime)) }
                    }
                    " · " (now) " · "
                    @if view.is_still { "paused, " a href="/stats" { "resume" } } @else { a href="/stats;norefresh" { "pause" } }
                }
            }
            p class={ "mood " (mood.class) } #mood { (mood.words) }
        }
    }
}

/// One line that becomes three.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" aria-hidden="true" {
            path d="M2 12h6M8 12c6 0 4-7 13-7M8 12h13M8 12c6 0 4 7 13 7" {}
        }
    }
}

/// The servers that are down, and why.
fn troubles(snapshot: &Snapshot) -> Markup {
    let down: Vec<(&str, &ServerNow)> = snapshot
        .routes
        .iter()
        .flat_map(|route| snapshot.servers_of(route).iter().map(|server| (&*route.name, server)))
        .filter(|(_, server)| server.state() == State::Down)
        .collect();
    let no_tls: Vec<&ServerNow> = snapshot.servers.iter().filter(|server| routes::speaks_no_tls(server)).collect();
    let reload_failed = !snapshot.process.reloads.last_succeeded;
    html! {
        @if !down.is_empty() || !no_tls.is_empty() || reload_failed {
            ul.troubles {
                @for (route, server) in down.iter().take(MAX_NAMED) {
                    li {
                        a href={ "#" (route) "/" (server.name) } { (route) "/" (server.name) }
                        " is down for " (format::span(server.standing.age)) ": " (routes::verdict(server))
                    }
                }
                @if down.len() > MAX_NAMED {
                    li { "… and " (config::count(down.len() - MAX_NAMED, "other server")) }
                }
                @for server in no_tls.iter().take(MAX_NAMED) {
                    li {
                        a href={ "#" (server.route) "/" (server.name) } { (server.route) "/" (server.name) }
                        " answers hellos with bytes that are not TLS: does it expect another PROXY header?"
                    }
                }
                @if reload_failed {
                    li { b { "The last reload was refused" } " at " (format::moment(snapshot.process.reloads.last)) "; the log says why." }
                }
            }
        }
    }
}

/// What there is now. `mood`: the colour of servers that are down.
fn tiles(snapshot: &Snapshot, mood: &str) -> Markup {
    let step = snapshot.history.steps().last();
    let [of_file, of_routes] = [&snapshot.process.https, &snapshot.process.owned];
    let let_in = of_file.accepted.total() + of_routes.accepted.total();
    let a_second = of_file.accepted.per_second(snapshot.now) + of_routes.accepted.per_second(snapshot.now);
    // Two peaks may be of different seconds.
    let peak = [of_file, of_routes].map(|all| all.accepted.most()).into_iter().max().unwrap_or_default();
    let is_peak_known = [of_file, of_routes].iter().any(|all| all.accepted.total() == 0);
    let all = snapshot.servers.len();
    let up = count_up(snapshot);
    let share = snapshot.phases.iter().sum::<u64>() as f64 / snapshot.capacity.max(1) as f64;
    let dropped: u64 = snapshot.process.drops.iter().sum();
    let phases: Vec<String> = Phase::ALL
        .iter()
        .zip(snapshot.phases)
        .filter(|(_, count)| *count > 0)
        .map(|(phase, count)| format!("{}\u{a0}{}", format::count(count), phase.name()))
        .collect();
    html! {
        section.tiles aria-label="Now" {
            (tile("Connections", "", &format::count(snapshot.phases.iter().sum()), html! {
                "of " (format::count(snapshot.capacity))
                span class={ "bar" @if share > 0.8 { " warn" } } { i style={ "width:" (format!("{:.1}", share * 100.0)) "%" } {} }
                @if phases.is_empty() { "no client" } @else { (phases.join(" · ")) }
                @if snapshot.half_closed > 0 { " · " (format::count(snapshot.half_closed)) "\u{a0}half closed" }
            }))
            (tile("New a second", "", &format::count(a_second.into()), html! {
                @if is_peak_known { "peak " (format::count(peak.into())) br; }
                (format::count(let_in)) " in all"
            }))
            (tile("Bytes a second", "", &format::bytes(step.map_or(0.0, |step| step.bytes_up + step.bytes_down)), html! {
                (routes::arrows(of_file.bytes_up + of_routes.bytes_up, of_file.bytes_down + of_routes.bytes_down)) br; (format::bytes(snapshot.process.bytes_spliced as f64)) " spliced"
            }))
            (tile("Dropped", "", &format::count(dropped), html! {
                (format::rate(step.map_or(0.0, |step| step.dropped))) " a second" br;
                (percent(dropped, let_in)) " of all"
            }))
            (tile("Servers up", if up < all { mood } else { "" }, &format!("{up} of {all}"), html! {
                (config::count(snapshot.routes.len(), "route")) br;
                @match snapshot.process.last_probe {
                    Some(time) => { "last probe " (format::span(snapshot.now.since(time))) " ago" }
                    None => "no probe yet",
                }
            }))
        }
    }
}

fn tile(name: &str, class: &str, figure: &str, more: impl Render) -> Markup {
    html! {
        div.card.tile { h2 { (name) } p.figure { span class=[(!class.is_empty()).then_some(class)] { (figure) } } p.sub { (more) } }
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.1}\u{a0}%", part as f64 * 100.0 / whole as f64) }
}

fn frontends(snapshot: &Snapshot) -> Markup {
    html! {
        section.card.frontends {
            h2 { "Frontends" }
            @for frontend in &snapshot.frontends { (frontend_list(frontend, snapshot)) }
        }
    }
}

fn frontend_list(frontend: &FrontendNow, snapshot: &Snapshot) -> Markup {
    let counters = &frontend.counters;
    let (class, word) = if frontend.is_open { ("good", "OPEN") } else { ("warn", "STOP") };
    html! {
        h3 { (frontend.name) " " span class={ "state " (class) } { (word) } }
        dl.pairs {
            dt { "clients now, peak, limit" }
            dd { b { (format::count(frontend.sessions)) } " · " (format::count(counters.most_sessions)) " · " (format::count(frontend.limit)) }
            dt { "let in, a second, peak" }
            dd {
                b { (format::count(counters.accepted.total())) } " · " (counters.accepted.per_second(snapshot.now)) " · " (counters.accepted.most())
            }
            dt { "bytes" }
            dd { (routes::arrows(counters.bytes_up, counters.bytes_down)) }
            dt { @if frontend.is_http { "no usable request" } @else { "dropped" } }
            dd { (format::count(if frontend.is_http { frontend.errors } else { frontend.denied })) }
        }
    }
}

fn footer(snapshot: &Snapshot, view: View) -> Markup {
    let process = &snapshot.process;
    let worked = if process.reloads.last_succeeded { "read" } else { "refused" };
    html! {
        footer {
            p {
                "Configuration " (1 + process.reloads.succeeded) ", " (worked) " " (format::moment(process.reloads.last)) ". "
                "Accepting " (paused(process.accept_pauses)) ". "
                "Log lines lost: " (format::count(snapshot.lost_lines)) ". "
                "Client addresses with a remembered rate: " (format::count(snapshot.sources.remembered as u64)) "."
            }
            p {
                "Also as " a href="/stats.json" { "JSON" } ", " a href="/stats;csv" { "CSV" } " and "
                a href="/metrics" { "metrics" } ". "
                @if view.is_still { "This page stays as it is; " a href="/stats" { "refresh it" } " every " (REFRESH) " seconds." }
                @else { "Refreshes every " (REFRESH) " seconds; " a href="/stats;norefresh" { "pause" } "." }
            }
        }
    }
}

fn paused(count: u64) -> String {
    match count {
        0 => "has never paused".into(),
        1 => "paused once".into(),
        _ => format!("paused {} times", format::count(count)),
    }
}
