//! Histograms. Their figures are plain, so that a snapshot has a copy; the `prometheus` crate only writes them.
use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Histogram as Written, Metric, MetricFamily, MetricType};
use serde::{Deserialize, Serialize};

/// Bytes. A hello with a post-quantum key share is above 1024, one without is below; more than 16 KiB is never read.
const HELLO_BYTES: [f64; 7] = [256.0, 512.0, 1024.0, 1536.0, 2048.0, 4096.0, 16384.0];
/// Seconds, from a server on the same machine to one that needed a retry.
const CONNECT_SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];
/// Seconds. A turn of the loop delays every other connection.
const TURN_SECONDS: [f64; 10] = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25];

/// The histograms of the process.
#[derive(Clone, Debug)]
pub struct Histograms {
    hello: Histogram<7>,
    connect: Histogram<10>,
    turn: Histogram<10>,
}

#[derive(Clone, Debug)]
struct Histogram<const N: usize> {
    /// The upper bound of each bucket.
    bounds: &'static [f64; N],
    counts: [u64; N],
    /// All values, those above the last bound too.
    count: u64,
    sum: f64,
}

/// [`Histograms`] as the next process gets them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ParkedHistograms {
    hello: ParkedHistogram,
    connect: ParkedHistogram,
    turn: ParkedHistogram,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ParkedHistogram {
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histograms {
    /// The figures that the next process goes on with.
    #[must_use]
    pub fn park(&self) -> ParkedHistograms {
        ParkedHistograms { hello: self.hello.park(), connect: self.connect.park(), turn: self.turn.park() }
    }

    /// Adds the figures of the previous process. A histogram whose bounds have changed starts from zero.
    pub fn take_up(&mut self, parked: &ParkedHistograms) {
        self.hello.take_up(&parked.hello);
        self.connect.take_up(&parked.connect);
        self.turn.take_up(&parked.turn);
    }

    /// Empty histograms.
    #[must_use]
    pub fn new() -> Histograms {
        Histograms {
            hello: Histogram::new(&HELLO_BYTES),
            connect: Histogram::new(&CONNECT_SECONDS),
            turn: Histogram::new(&TURN_SECONDS),
        }
    }

    /// Counts a whole hello.
    pub fn hello(&mut self, bytes: usize) {
        self.hello.add(bytes as f64);
    }

    /// Counts a connect that succeeded.
    pub fn connect(&mut self, took: Duration) {
        self.connect.add(took.as_secs_f64());
    }

    /// Counts a turn.
    pub fn turn(&mut self, took: Duration) {
        self.turn.add(took.as_secs_f64());
    }

    /// Appends all histograms in Prometheus' text format.
    pub(super) fn write(&self, out: &mut String) {
        let families = [
            self.hello.family("fiscalismia_lb_hello_size_bytes", "Size of whole ClientHellos."),
            self.connect.family(
                "fiscalismia_lb_connect_duration_seconds",
                "Time from the first attempt to connect to a server until an attempt succeeded.",
            ),
            self.turn.family(
                "fiscalismia_lb_turn_duration_seconds",
                "Time that one turn of the event loop took, without the sleep before it.",
            ),
        ];
        // The encoder fails only for a family without series, and each of these has one.
        let _ = TextEncoder::new().encode_utf8(&families, out);
    }
}

impl Default for Histograms {
    fn default() -> Histograms {
        Histograms::new()
    }
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: &'static [f64; N]) -> Histogram<N> {
        Histogram { bounds, counts: [0; N], count: 0, sum: 0.0 }
    }

    fn park(&self) -> ParkedHistogram {
        ParkedHistogram { counts: self.counts.to_vec(), count: self.count, sum: self.sum }
    }

    fn take_up(&mut self, parked: &ParkedHistogram) {
        if let Ok(counts) = parked.counts[..].try_into() {
            (self.counts, self.count, self.sum) = (counts, parked.count, parked.sum);
        }
    }

    fn add(&mut self, value: f64) {
        let bucket = self.bounds.iter().zip(&mut self.counts).find(|(bound, _)| value <= **bound);
        if let Some((_, count)) = bucket {
            *count += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn family(&self, name: &str, help: &str) -> MetricFamily {
        let mut so_far = 0;
        let buckets = self.bounds.iter().zip(self.counts).map(|(bound, count)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(so_far);
            bucket
        });
        let mut written = Written::default();
        written.set_bucket(buckets.collect());
        written.set_sample_count(self.count);
        written.set_sample_sum(self.sum);
        let mut metric = Metric::default();
        metric.set_histogram(written);
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        family
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, one scrape mixes two moments: no connection yet, but seven hellos.
    #[test]
    fn a_copy_stays_as_it_was() {
        let mut histograms = Histograms::new();
        histograms.hello(600);
        let copy = histograms.clone();
        histograms.hello(600);
        let text = |of: &Histograms| {
            let mut text = String::new();
            of.write(&mut text);
            text
        };
        assert!(text(&copy).contains("fiscalismia_lb_hello_size_bytes_count 1\n"), "{}", text(&copy));
        assert!(text(&histograms).contains("fiscalismia_lb_hello_size_bytes_count 2\n"));
    }
}
