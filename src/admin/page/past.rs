//! Events since the start: drops, ends of connections, and changes of servers.
use maud::{Markup, html};

use super::format;
use crate::metrics::Snapshot;
use crate::vocabulary::CloseReason;

/// Clients that were dropped before they had a route.
pub(super) fn drops(snapshot: &Snapshot) -> Markup {
    let all: u64 = snapshot.process.drops.iter().sum();
    html! {
        section.card.drops {
            h2 { "Dropped, by reason" }
            (bars(snapshot.drops().map(|(reason, count)| (reason.explained(), reason.name(), count)), all))
        }
    }
}

/// Why connections ended.
pub(super) fn ends(snapshot: &Snapshot) -> Markup {
    let all: u64 = snapshot.process.closes.iter().sum();
    let closes = CloseReason::ALL.into_iter().zip(snapshot.process.closes);
    // Clients of the redirect are none of these.
    let closes = closes.filter(|(reason, _)| *reason != CloseReason::Answered);
    html! {
        section.card.ends {
            h2 { "How connections ended" }
            (bars(closes.map(|(reason, count)| (reason.explained(), reason.name(), count)), all))
        }
    }
}

/// A line for each with its share of all as a bar.
fn bars<'a>(counts: impl Iterator<Item = (&'a str, &'a str, u64)>, all: u64) -> Markup {
    html! {
        dl.bars {
            @for (words, name, count) in counts {
                div.none[count == 0] title=(name) {
                    dt { (words) }
                    dd { b { (format::count(count)) } i style={ "width:" (share(count, all)) "%" } {} }
                }
            }
        }
    }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1}", part as f64 * 100.0 / whole.max(1) as f64)
}

/// The last changes of servers.
pub(super) fn changes(snapshot: &Snapshot) -> Markup {
    html! {
        section.card.changes {
            h2 { "Last changes of servers" }
            @if snapshot.process.changes.latest().next().is_none() { p.sub { "None since the start." } }
            ol {
                @for change in snapshot.process.changes.latest() {
                    @let (class, word) = if change.is_up { ("good", "UP") } else { ("bad", "DOWN") };
                    li {
                        small { (format::moment(snapshot.wall(change.at))) } " "
                        span class={ "state " (class) } { (word) } " "
                        b { (change.route) "/" (change.server) } " " (change.why)
                    }
                }
            }
        }
    }
}
