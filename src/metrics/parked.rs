//! Counters of the process as the next process gets them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counters::{Frontend, Process};
use super::histograms::ParkedHistograms;
use crate::policy::time::Time;
use crate::vocabulary::{CloseReason, DropReason};

/// [`Process`], with reasons by name: the next process may be another version, with other reasons.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ParkedProcess {
    https: Frontend,
    owned: Frontend,
    http: Frontend,
    drops: BTreeMap<String, u64>,
    closes: BTreeMap<String, u64>,
    bytes_spliced: u64,
    accept_pauses: u64,
    reloads: u64,
    failed_reloads: u64,
    #[cfg_attr(feature = "other-state", serde(rename = "probed"))]
    last_probe: Option<Time>,
    ports_short: u64,
    histograms: ParkedHistograms,
}

impl Process {
    /// The counters that the next process goes on with.
    #[must_use]
    pub fn park(&self) -> ParkedProcess {
        let drops = DropReason::ALL.iter().map(|reason| reason.name()).zip(self.drops);
        let closes = CloseReason::ALL.iter().map(|reason| reason.name()).zip(self.closes);
        let named = |(name, count): (&str, u64)| (name.to_owned(), count);
        ParkedProcess {
            https: self.https.clone(),
            owned: self.owned.clone(),
            http: self.http.clone(),
            drops: drops.map(named).collect(),
            closes: closes.map(named).collect(),
            bytes_spliced: self.bytes_spliced,
            accept_pauses: self.accept_pauses,
            reloads: self.reloads.succeeded,
            failed_reloads: self.reloads.failed,
            last_probe: self.last_probe,
            ports_short: self.ports_short,
            histograms: self.histograms.park(),
        }
    }

    /// Adds the counters of the previous process. The time of the last reload stays this process's own.
    pub fn take_up(&mut self, parked: ParkedProcess) {
        self.https = parked.https;
        self.owned = parked.owned;
        self.http = parked.http;
        for (reason, count) in DropReason::ALL.iter().zip(&mut self.drops) {
            *count = parked.drops.get(reason.name()).copied().unwrap_or_default();
        }
        for (reason, count) in CloseReason::ALL.iter().zip(&mut self.closes) {
            *count = parked.closes.get(reason.name()).copied().unwrap_or_default();
        }
        self.bytes_spliced = parked.bytes_spliced;
        self.accept_pauses = parked.accept_pauses;
        self.reloads.succeeded = parked.reloads;
        self.reloads.failed = parked.failed_reloads;
        self.last_probe = parked.last_probe;
        self.ports_short = parked.ports_short;
        self.histograms.take_up(&parked.histograms);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::time::UnixTime;

    /// Without this, a restart sets counters back.
    #[test]
    fn counters_go_on_where_they_were() {
        let mut before = Process::new(UnixTime::from_micros(1));
        before.closed(CloseReason::Dropped(DropReason::NoSni), 0);
        before.ports_short = 7;
        before.histograms.hello(517);
        before.histograms.connect(Duration::from_millis(2));
        let text = serde_json::to_string(&before.park()).unwrap();
        let mut after = Process::new(UnixTime::from_micros(2));
        after.take_up(serde_json::from_str(&text).unwrap());
        assert_eq!(serde_json::to_string(&after.park()).unwrap(), text);
        assert_eq!((after.closes, after.drops, after.ports_short), (before.closes, before.drops, 7));
        after.take_up(
            serde_json::from_str(r#"{ "histograms": { "hello": { "counts": [1, 2], "count": 3 } } }"#).unwrap(),
        );
        assert!(serde_json::to_string(&after.park()).unwrap().contains("517.0"), "other buckets are of no use");
    }
}
