//! The last hour, drawn. The drawing stretches to whatever room it has, so that words and figures stand beside it, not in
//! it.
use std::fmt::Write as _;
use std::iter;
use std::time::Duration;

use maud::{Markup, html};

use super::format;
use crate::metrics::{Snapshot, Step};

/// How much time a chart shows.
const SPAN: Duration = Duration::from_hours(1);
/// Width and height of the drawing, in units of its own.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 100.0;
/// Where each hour's quarter ends.
const QUARTERS: [f64; 3] = [0.25, 0.5, 0.75];

/// One line of a chart.
struct Series {
    /// Its class in the style sheet, whose colour the legend has too.
    class: &'static str,
    name: &'static str,
    of: fn(&Step) -> f64,
}

/// The three charts.
pub(super) fn charts(snapshot: &Snapshot) -> Markup {
    let connections = [Series { class: "c-conn", name: "let in", of: |step| step.accepted }];
    let bytes = [
        Series { class: "c-down", name: "to clients", of: |step| step.bytes_down },
        Series { class: "c-up", name: "from clients", of: |step| step.bytes_up },
    ];
    let drops = [Series { class: "c-drop", name: "dropped", of: |step| step.dropped }];
    html! {
        section.charts aria-label="The last hour" {
            (chart(snapshot, "Connections a second", &connections, format::rate))
            (chart(snapshot, "Bytes a second", &bytes, format::bytes))
            (chart(snapshot, "Drops a second", &drops, format::rate))
        }
    }
}

fn chart(snapshot: &Snapshot, title: &str, all: &[Series], figure: fn(f64) -> String) -> Markup {
    let steps: Vec<Step> = snapshot.history.steps().collect();
    let peak = all.iter().flat_map(|series| steps.iter().map(series.of)).fold(0.0, f64::max);
    let top = ceiling(peak);
    html! {
        figure.card {
            figcaption {
                h2 { (title) span.peak { "peak " b { (figure(peak)) } } }
                p.legend {
                    @for series in all {
                        span class=(series.class) { i {} (series.name) " " b { (figure(steps.last().map_or(0.0, series.of))) } }
                    }
                }
            }
            p.top { "up to " (figure(top)) }
            div.plot {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                    aria-label={ (title) ", the last hour: peak " (figure(peak)) } {
                    @for place in QUARTERS {
                        line.grid x1=(WIDTH * place) x2=(WIDTH * place) y1="0" y2=(HEIGHT) {}
                    }
                    line.grid x1="0" x2=(WIDTH) y1=(HEIGHT / 2.0) y2=(HEIGHT / 2.0) {}
                    @for series in all {
                        @let line = points(snapshot, &steps, series.of, top);
                        @if !line.is_empty() {
                            path class={ "area " (series.class) } d=(area(&line)) {}
                            path class={ "line " (series.class) } d=(outline(&line)) {}
                        }
                    }
                }
            }
            div.axis aria-hidden="true" { span { "1 h ago" } span { "45 min" } span { "30 min" } span { "15 min" } span { "now" } }
        }
    }
}

/// The positions of the steps in the drawing.
fn points(snapshot: &Snapshot, steps: &[Step], of: fn(&Step) -> f64, top: f64) -> Vec<(f64, f64)> {
    let place = |step: &Step| {
        let age = snapshot.now.since(step.at).as_secs_f64() / SPAN.as_secs_f64();
        (WIDTH * (1.0 - age), HEIGHT * (1.0 - of(step) / top))
    };
    steps.iter().map(place).filter(|(x, _)| *x >= 0.0).collect()
}

/// Whole pixels, each relative to the one before, and one segment for a level stretch: a third of the bytes for an hour
/// of steps.
fn outline(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut pixels = points.iter().map(|(x, y)| (x.round() as i64, y.round() as i64)).peekable();
    let Some((mut x, mut y)) = pixels.next() else { return path };
    let _ = write!(path, "M{x} {y}");
    while let Some((to, level)) = pixels.next() {
        if level == y && pixels.peek().is_some_and(|(_, next)| *next == y) {
            continue;
        }
        let _ = write!(path, "l{} {}", to - x, level - y);
        (x, y) = (to, level);
    }
    path
}

fn area(points: &[(f64, f64)]) -> String {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return String::new() };
    format!("{}L{last:.0} {HEIGHT}L{first:.0} {HEIGHT}Z", outline(points))
}

/// The smallest of 1, 2, 5, 10, 20, … that is at least `peak`.
fn ceiling(peak: f64) -> f64 {
    if peak <= 1.0 {
        return 1.0;
    }
    let power = iter::successors(Some(1.0), |power| Some(power * 10.0)).take_while(|power| *power <= peak).last();
    let power = power.unwrap_or(1.0);
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= peak).unwrap_or(peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a line leaves its chart, or a quiet hour looks like a busy one.
    #[test]
    fn the_scale_is_round_and_high_enough() {
        let tops = [0.0, 0.3, 1.0, 1.1, 2.0, 4.9, 73.0, 1001.0].map(|peak| ceiling(peak).to_string());
        assert_eq!(tops, ["1", "1", "1", "2", "2", "5", "100", "2000"]);
    }

    /// Without this, browsers draw nothing at all.
    #[test]
    fn paths_are_well_formed() {
        let points = [(0.0, 100.0), (2.0, 50.25), (4.0, 0.0)];
        assert_eq!(outline(&points), "M0 100l2 -50l2 -50");
        assert_eq!(area(&points), "M0 100l2 -50l2 -50L4 100L0 100Z");
        let level = [(0.0, 9.0), (2.0, 9.0), (4.0, 9.0), (6.0, 5.0), (8.0, 5.0)];
        assert_eq!(outline(&level), "M0 9l4 0l2 -4l2 0");
        assert_eq!(area(&[]), "");
    }
}
