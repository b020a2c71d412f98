//! Dates in UTC. The text of a second is formatted once.
use std::time::{Duration, UNIX_EPOCH};

use super::text::digits;
use crate::config::LogFormat;
use crate::policy::time::{Time, UnixTime};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The length of a date, in either form.
const LEN: usize = 24;

/// Formats times as dates.
pub(super) struct Calendar {
    format: LogFormat,
    /// The wall-clock time of [`Time::ZERO`].
    epoch: UnixTime,
    /// The second that `text` is of.
    second: Option<u64>,
    text: [u8; LEN],
}

impl Calendar {
    pub(super) fn new(format: LogFormat, epoch: UnixTime) -> Calendar {
        Calendar { format, epoch, second: None, text: [0; LEN] }
    }

    pub(super) fn set_epoch(&mut self, epoch: UnixTime) {
        self.epoch = epoch;
    }

    /// `dd/Mon/yyyy:HH:MM:SS.mmm`, or RFC 3339 in JSON.
    pub(super) fn date(&mut self, time: Time) -> &[u8; LEN] {
        let micros = (self.epoch + time).as_micros();
        let second = micros / 1_000_000;
        if self.second != Some(second) {
            self.second = Some(second);
            let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(second)).to_string();
            let date = match self.format {
                LogFormat::Json => date.replace('Z', ".000Z"),
                LogFormat::Haproxy => as_haproxy(&date),
            };
            // All dates are as long as this until the year 10000.
            self.text = date.as_bytes().first_chunk().copied().unwrap_or_default();
        }
        let (([.., a, b, c], LogFormat::Haproxy) | ([.., a, b, c, _], LogFormat::Json)) = (&mut self.text, self.format);
        [*a, *b, *c] = digits(micros / 1000 % 1000);
        &self.text
    }
}

/// `yyyy-mm-ddTHH:MM:SSZ` as `dd/Mon/yyyy:HH:MM:SS`.
fn as_haproxy(date: &str) -> String {
    let mut parts = date.split(['-', 'T', 'Z']).map(str::to_owned);
    let [year, month, day, clock] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let month = month.parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"");
    format!("{day}/{month}/{year}:{clock}.000")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, lines carry a wrong date around leap days and year ends.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, haproxy, rfc3339) in [
            (0, "01/Jan/1970:00:00:00.042", "1970-01-01T00:00:00.042Z"),
            (951_782_399, "28/Feb/2000:23:59:59.042", "2000-02-28T23:59:59.042Z"),
            (951_782_400, "29/Feb/2000:00:00:00.042", "2000-02-29T00:00:00.042Z"),
            (1_709_251_199, "29/Feb/2024:23:59:59.042", "2024-02-29T23:59:59.042Z"),
            (1_767_225_599, "31/Dec/2025:23:59:59.042", "2025-12-31T23:59:59.042Z"),
            (4_107_542_400, "01/Mar/2100:00:00:00.042", "2100-03-01T00:00:00.042Z"),
        ] {
            for (format, text) in [(LogFormat::Haproxy, haproxy), (LogFormat::Json, rfc3339)] {
                let mut calendar = Calendar::new(format, UnixTime::from_micros(second * 1_000_000 + 7_000));
                assert_eq!(calendar.date(Time::from_micros(35_999)), text.as_bytes());
                assert!(calendar.date(Time::from_micros(100)).windows(4).any(|part| part == b".007"));
                assert_eq!(calendar.date(Time::from_micros(35_000)), text.as_bytes());
            }
        }
    }
}
