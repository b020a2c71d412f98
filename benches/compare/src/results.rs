//! Measurements gathered over the rounds: medians and spread, as tables and as JSON.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One figure of one proxy over all rounds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// What one proxy needed for one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub group: String,
    pub case: String,
    pub peer: String,
    pub figures: BTreeMap<String, Spread>,
}

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub machine: String,
    pub rounds: usize,
    pub rows: Vec<Row>,
}

/// Key, heading and decimals of every figure, in the order of the columns.
const FIGURES: &[(&str, &str, usize)] = &[
    ("instructions_k", "instructions, k", 1),
    ("user_k", "user, k", 1),
    ("kernel_k", "kernel, k", 1),
    ("instructions_m", "instructions/GiB, M", 0),
    ("user_m", "user, M", 1),
    ("kernel_m", "kernel, M", 0),
    ("calls", "system calls", 2),
    ("calls_gib", "system calls/GiB, k", 1),
    ("cpu_us", "CPU, µs", 1),
    ("cpu_ms", "CPU/GiB, ms", 0),
    ("per_second", "per s", 0),
    ("gbit_s", "Gbit/s", 1),
    ("p50_us", "p50, µs", 0),
    ("p99_us", "p99, µs", 0),
    ("user_bytes", "user memory each, B", 0),
    ("kernel_bytes", "kernel memory each, B", 0),
    ("idle_cpu_ms_s", "CPU idle, ms/s", 2),
    ("beside_k", "short connection beside them, k instructions", 1),
    ("cpu_beside_us", "CPU of it, µs", 1),
    ("resident_kb", "resident, kB", 0),
    ("first_ms", "first served after, ms", 1),
    ("binary_kb", "program file, kB", 0),
    ("longest_ms", "longest wait of a new client, ms", 1),
    ("lost_new", "new clients lost", 0),
    ("lost_open", "of 100 open connections lost", 0),
];

impl Spread {
    fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Spread { median, least: sorted[0], most: sorted[sorted.len() - 1] }
    }
}

impl Row {
    /// `samples`: what each round measured.
    pub fn new(group: &str, case: &str, peer: &str, samples: &[Vec<(&'static str, f64)>]) -> Row {
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (key, value) in samples.iter().flatten() {
            values.entry((*key).to_owned()).or_default().push(*value);
        }
        let figures = values.into_iter().map(|(key, values)| (key, Spread::of(&values))).collect();
        Row { group: group.into(), case: case.into(), peer: peer.into(), figures }
    }

    /// The figure to quote. A busy host only ever adds CPU time, so of that the least.
    pub fn quoted(&self, key: &str) -> Option<f64> {
        let spread = self.figures.get(key)?;
        Some(if key.contains("cpu") { spread.least } else { spread.median })
    }
}

/// A whole run as Markdown.
pub fn report(results: &Results) -> String {
    let cases = results.rows.chunk_by(|one, next| (&one.group, &one.case) == (&next.group, &next.case));
    let head = format!("{}; {} rounds, medians (least–most), of CPU the least\n", results.machine, results.rounds);
    head + &cases.map(section).collect::<String>()
}

/// The rows of one case as Markdown: the table, and the first proxy's figures over the others'.
pub fn section(rows: &[Row]) -> String {
    table(rows) + "\n" + &against(rows).unwrap_or_default()
}

/// The rows of one case as a table, medians with least and most of the rounds.
fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let columns: Vec<_> =
        FIGURES.iter().filter(|(key, ..)| rows.iter().any(|row| row.figures.contains_key(*key))).collect();
    let mut text = format!("\n### {}: {}\n\n| |", first.group, first.case);
    text.extend(columns.iter().map(|(_, heading, _)| format!(" {heading} |")));
    text += "\n|---|";
    text += &"---|".repeat(columns.len());
    for row in rows {
        text += &format!("\n| {} |", row.peer);
        text.extend(columns.iter().map(|(key, _, places)| cell(row, key, *places)));
    }
    text + "\n"
}

fn cell(row: &Row, key: &str, places: usize) -> String {
    match (row.quoted(key), row.figures.get(key)) {
        (Some(quoted), Some(spread)) if spread.least < spread.most => {
            format!(" {quoted:.places$} ({:.places$}–{:.places$}) |", spread.least, spread.most)
        }
        (Some(quoted), _) => format!(" {quoted:.places$} |"),
        (None, _) => " – |".into(),
    }
}

/// The first proxy's figures over those of each other one: under 1 is less.
fn against(rows: &[Row]) -> Option<String> {
    let (own, others) = rows.split_first()?;
    let keys = [
        "instructions_k",
        "user_k",
        "instructions_m",
        "calls",
        "calls_gib",
        "cpu_us",
        "cpu_ms",
        "p99_us",
        "user_bytes",
        "resident_kb",
    ];
    let mut text = String::new();
    for key in keys {
        let Some(mine) = own.quoted(key) else { continue };
        let ratios: Vec<_> = others
            .iter()
            .filter_map(|other| Some(format!("{:.2} × {}", mine / other.quoted(key)?, other.peer)))
            .collect();
        if ratios.is_empty() {
            continue;
        }
        let heading = FIGURES.iter().find(|figure| figure.0 == key)?.1;
        text += &format!("- {}, {heading}: {}\n", own.peer, ratios.join(", "));
    }
    Some(text)
}
