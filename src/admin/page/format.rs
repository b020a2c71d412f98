//! Formats figures for readers.
use std::time::{Duration, UNIX_EPOCH};

use crate::policy::time::UnixTime;

/// Separates groups of three digits: narrow, and no line break.
const GAP: char = '\u{202f}';

/// `12 345`
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(GAP);
        }
        text.push(digit);
    }
    text
}

/// `4.2`, `87`, `1.4 k`: a rate per second.
pub(super) fn rate(value: f64) -> String {
    let (value, unit) = scale(value, &["", "k", "M", "G"]);
    format!("{}{unit}", short(value))
}

/// `12.3 MB`
pub(super) fn bytes(value: f64) -> String {
    let (value, unit) = scale(value, &[" B", " kB", " MB", " GB", " TB", " PB"]);
    format!("{}{unit}", short(value)).replace(' ', "\u{a0}")
}

/// `0.4 ms`, `12 ms`, `1.2 s`, `5 min`
pub(super) fn seconds(value: f64) -> String {
    match value {
        _ if value >= 60.0 => span(Duration::from_secs_f64(value)),
        _ if value >= 1.0 => format!("{}\u{a0}s", short(value)),
        _ => format!("{}\u{a0}ms", short(value * 1000.0)),
    }
}

/// `8 s`, `3 min`, `2 h 14 min`, `5 d 3 h`
pub(super) fn span(value: Duration) -> String {
    let seconds = value.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    };
    text.replace(' ', "\u{a0}")
}

/// `2026-11-22 19:15:11 UTC`
pub(super) fn moment(time: UnixTime) -> String {
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(time.as_micros())).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// `10:02 UTC`, with the date if that is not the day of `now`.
pub(super) fn clock(time: UnixTime, now: UnixTime) -> String {
    let (text, today) = (moment(time), moment(now));
    let minute = text.get(..16).unwrap_or_default();
    let shown = if minute.get(..11) == today.get(..11) { minute.get(11..).unwrap_or_default() } else { minute };
    format!("{shown} UTC").replace(' ', "\u{a0}")
}

/// Divides by 1000 until it is below that.
fn scale<'a>(mut value: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    (value, unit)
}

/// Three digits at most after rounding, and no zeros at the end.
fn short(value: f64) -> String {
    let decimals = match value {
        _ if value >= 99.95 => 0,
        _ if value >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, the page shows another figure than it was given.
    #[test]
    fn figures_read_well() {
        let counts = [0, 7, 999, 1000, 65_536, 1_234_567].map(count);
        assert_eq!(counts, ["0", "7", "999", "1\u{202f}000", "65\u{202f}536", "1\u{202f}234\u{202f}567"]);
        let sizes = [0.0, 999.0, 999.7, 1000.0, 1234.0, 99_960.0, 12_345_678.0, 5e15].map(bytes);
        let sizes = sizes.map(|text| text.replace('\u{a0}', " "));
        assert_eq!(sizes, ["0 B", "999 B", "1 kB", "1 kB", "1.23 kB", "100 kB", "12.3 MB", "5 PB"]);
        assert_eq!([0.0, 0.1, 12.34, 99.96, 100.4, 1500.0].map(rate), ["0", "0.1", "12.3", "100", "100", "1.5k"]);
        let times = [0.0, 0.00042, 0.012, 1.25, 75.0].map(seconds).map(|text| text.replace('\u{a0}', " "));
        assert_eq!(times, ["0 ms", "0.42 ms", "12 ms", "1.25 s", "1 min"]);
        let spans = [5, 59, 60, 3600 + 14 * 60, 90_000].map(|secs| span(Duration::from_secs(secs)));
        let spans = spans.map(|text| text.replace('\u{a0}', " "));
        assert_eq!(spans, ["5 s", "59 s", "1 min", "1 h 14 min", "1 d 1 h"]);
        assert_eq!(moment(UnixTime::from_micros(1_795_374_911_406_357)), "2026-11-22 19:15:11 UTC");
    }
}
