//! The last hour, in bounded memory: the counters as they were every ten seconds.
use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::time::Time;

/// Time from one sample to the next.
pub const STEP: Duration = Duration::from_secs(10);
/// As many samples as span an hour, of 40 bytes each.
const MAX_SAMPLES: usize = 361;

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// The moment.
    pub at: Time,
    /// TLS clients accepted.
    pub accepted: u64,
    /// TLS clients dropped.
    pub dropped: u64,
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
}

/// The samples of the last hour, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    samples: VecDeque<Sample>,
}

/// Rates per second between one sample and the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// When it ended.
    pub at: Time,
    /// TLS clients accepted.
    pub accepted: f64,
    /// TLS clients dropped.
    pub dropped: f64,
    /// Bytes from clients.
    pub bytes_up: f64,
    /// Bytes to clients.
    pub bytes_down: f64,
}

impl History {
    /// Adds a sample; the oldest may fall out.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The rates, step by step, the oldest first.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.samples.iter().zip(self.samples.iter().skip(1)).map(|(before, after)| {
            let seconds = after.at.since(before.at).as_secs_f64().max(1e-6);
            let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
            Step {
                at: after.at,
                accepted: rate(before.accepted, after.accepted),
                dropped: rate(before.dropped, after.dropped),
                bytes_up: rate(before.bytes_up, after.bytes_up),
                bytes_down: rate(before.bytes_down, after.bytes_down),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(step: u64) -> Sample {
        let at = Time::ZERO + STEP * step as u32;
        Sample { at, accepted: 20 * step, dropped: 5 * step, bytes_up: 100 * step, bytes_down: step * step }
    }

    /// Without this, the history takes memory without bound.
    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut history = History::default();
        assert_eq!(history.steps().count(), 0);
        (0..1000).for_each(|step| history.push(sample(step)));
        let steps: Vec<Step> = history.steps().collect();
        assert_eq!(steps.len(), 360);
        assert_eq!(steps[0].at, sample(640).at);
        assert!(history.samples.capacity() < 1024);
    }

    /// Without this, a chart shows totals instead of rates, or a long step as a peak.
    #[test]
    fn steps_are_rates() {
        let mut history = History::default();
        history.push(sample(0));
        history.push(sample(2));
        let step = Step { at: sample(2).at, accepted: 2.0, dropped: 0.5, bytes_up: 10.0, bytes_down: 0.2 };
        assert_eq!(history.steps().collect::<Vec<_>>(), [step]);
    }
}
