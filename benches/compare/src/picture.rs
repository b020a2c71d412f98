//! The picture of a run: for each headline figure a bar for each proxy; shorter is better.
use std::fmt::Write as _;

use crate::results::{Results, Row};

struct Panel {
    title: &'static str,
    unit: &'static str,
    group: &'static str,
    case: &'static str,
    /// Parts of a bar, from the left.
    parts: &'static [&'static str],
    /// From the results' unit to the picture's.
    factor: f64,
    places: usize,
}

const PANELS: &[Panel] = &[
    Panel {
        title: "A short connection",
        unit: "thousand instructions, user and kernel",
        group: "short",
        case: "517 B hello, logs off",
        parts: &["user_k", "kernel_k"],
        factor: 1.0,
        places: 0,
    },
    Panel {
        title: "User part of it",
        unit: "thousand instructions",
        group: "short",
        case: "517 B hello, logs off",
        parts: &["user_k"],
        factor: 1.0,
        places: 1,
    },
    Panel {
        title: "A GiB from server to client",
        unit: "million instructions, user and kernel",
        group: "bulk",
        case: "down, 1 connection",
        parts: &["user_m", "kernel_m"],
        factor: 1.0,
        places: 0,
    },
    Panel {
        title: "A request and its response",
        unit: "thousand instructions, user and kernel",
        group: "ping",
        case: "1 connection",
        parts: &["user_k", "kernel_k"],
        factor: 1.0,
        places: 1,
    },
    Panel {
        title: "A short connection",
        unit: "microseconds of processor time",
        group: "short",
        case: "517 B hello, logs off",
        parts: &["cpu_us"],
        factor: 1.0,
        places: 0,
    },
    Panel {
        title: "System calls of it",
        unit: "with those that wait for events",
        group: "short",
        case: "517 B hello, logs off",
        parts: &["calls"],
        factor: 1.0,
        places: 1,
    },
    Panel {
        title: "A GiB from server to client",
        unit: "milliseconds of processor time",
        group: "bulk",
        case: "down, 4 connections",
        parts: &["cpu_ms"],
        factor: 1.0,
        places: 0,
    },
    Panel {
        title: "A request and its response",
        unit: "microseconds of processor time",
        group: "ping",
        case: "64 connections",
        parts: &["cpu_us"],
        factor: 1.0,
        places: 1,
    },
    Panel {
        title: "Memory of an idle connection",
        unit: "bytes in the process",
        group: "idle",
        case: "idle connections",
        parts: &["user_bytes"],
        factor: 1.0,
        places: 0,
    },
    Panel {
        title: "Resident memory at start",
        unit: "MB",
        group: "start",
        case: "from start to the first connection",
        parts: &["resident_kb"],
        factor: 1e-3,
        places: 1,
    },
];

const COLUMN: f64 = 450.0;
const NAMES: f64 = 195.0;
const BARS: f64 = 180.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 52.0;

const STYLE: &str = "text{font:12px system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif;fill:#1f2328}\
.t{font-size:14px;font-weight:600}.u{fill:#59636e;font-size:11px}.own{font-weight:600}\
.o0{fill:#8c959f}.o1{fill:#c4cad1}.m0{fill:#0a5cc4}.m1{fill:#5aa0f2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.u{fill:#9198a1}\
.o0{fill:#7d858e}.o1{fill:#4a525b}.m0{fill:#4c9bff}.m1{fill:#2664b5}}";

/// The run as SVG; figures that it has not measured are left out.
pub fn draw(results: &Results) -> String {
    let panels: Vec<(&Panel, Vec<&Row>)> = PANELS
        .iter()
        .map(|panel| (panel, results.rows.iter().filter(|row| panel.shows(row)).collect::<Vec<_>>()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let mut body = String::new();
    let mut top = 8.0;
    for pair in panels.chunks(2) {
        for ((panel, rows), left) in pair.iter().zip([0.0, COLUMN]) {
            panel.draw(rows, left, top, &mut body);
        }
        let most = pair.iter().map(|(_, rows)| rows.len()).max().unwrap_or(0);
        top += HEAD + most as f64 * ROW + 16.0;
    }
    let width = COLUMN * 2.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {top}\" width=\"{width}\" height=\"{top}\" \
         role=\"img\" aria-label=\"What a connection costs each proxy; shorter bars are better\">\
         <style>{STYLE}</style>\n{body}</svg>\n"
    )
}

impl Panel {
    fn shows(&self, row: &Row) -> bool {
        row.group == self.group && row.case == self.case && self.total(row).is_some()
    }

    fn total(&self, row: &Row) -> Option<f64> {
        self.parts.iter().map(|part| row.quoted(part)).sum::<Option<f64>>().map(|sum| sum * self.factor)
    }

    fn draw(&self, rows: &[&Row], left: f64, top: f64, out: &mut String) {
        let most = rows.iter().filter_map(|row| self.total(row)).fold(0.0, f64::max);
        let _ = writeln!(out, "<text class=\"t\" x=\"{}\" y=\"{}\">{}</text>", left + 8.0, top + 16.0, self.title);
        let _ = writeln!(out, "<text class=\"u\" x=\"{}\" y=\"{}\">{}</text>", left + 8.0, top + 34.0, self.unit);
        for (index, row) in rows.iter().enumerate() {
            let own = row.peer.starts_with("fiscalismia-lb");
            let (base, kind, name) = (top + HEAD + index as f64 * ROW, if own { "m" } else { "o" }, escape(&row.peer));
            let emphasis = if own { " class=\"own\"" } else { "" };
            let _ = writeln!(
                out,
                "<text{emphasis} x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
                left + NAMES,
                base + 4.0
            );
            let mut x = left + NAMES + 8.0;
            for (shade, part) in self.parts.iter().enumerate() {
                let share = row.quoted(part).unwrap_or(0.0).max(0.0) * self.factor / most.max(f64::MIN_POSITIVE);
                let _ = writeln!(
                    out,
                    "<rect class=\"{kind}{shade}\" x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"14\"/>",
                    base - 7.0,
                    share * BARS
                );
                x += share * BARS;
            }
            let places = self.places;
            let _ = writeln!(
                out,
                "<text{emphasis} x=\"{:.1}\" y=\"{}\">{:.places$}</text>",
                x + 6.0,
                base + 4.0,
                self.total(row).unwrap_or(0.0)
            );
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
