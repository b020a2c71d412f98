//! What is counted by size.
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::{Histogram, HistogramOpts, TextEncoder};

/// Bytes: a hello without and with a post-quantum key share lies on either side of 1024; more than 16 KiB is not read.
const HELLO_BYTES: [f64; 7] = [256.0, 512.0, 1024.0, 1536.0, 2048.0, 4096.0, 16384.0];
/// Seconds, from a server on the same machine to one that is retried.
const CONNECT_SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];
/// Seconds. A turn delays every connection that is not its turn yet.
const TURN_SECONDS: [f64; 10] = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25];

/// The histograms, which are the `prometheus` crate's. Plain counters are not.
#[derive(Clone, Debug)]
pub struct Histograms {
    hello: Histogram,
    connect: Histogram,
    turn: Histogram,
}

impl Histograms {
    /// Nothing has happened yet.
    ///
    /// # Errors
    /// None: names and buckets are good. The crate cannot know that.
    pub fn new() -> prometheus::Result<Histograms> {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        Ok(Histograms {
            hello: histogram("fiscalismia_lb_hello_size_bytes", "Bytes of whole hellos.", &HELLO_BYTES)?,
            connect: histogram(
                "fiscalismia_lb_connect_duration_seconds",
                "From the first try to connect to a server to success.",
                &CONNECT_SECONDS,
            )?,
            turn: histogram(
                "fiscalismia_lb_turn_duration_seconds",
                "One turn of the event loop, the sleep apart.",
                &TURN_SECONDS,
            )?,
        })
    }

    /// Counts a whole hello.
    pub fn hello(&self, bytes: usize) {
        self.hello.observe(bytes as f64);
    }

    /// Counts a connect that worked.
    pub fn connect(&self, took: Duration) {
        self.connect.observe(took.as_secs_f64());
    }

    /// Counts a turn.
    pub fn turn(&self, took: Duration) {
        self.turn.observe(took.as_secs_f64());
    }

    /// Appends them in Prometheus' text format.
    pub(super) fn write(&self, out: &mut String) {
        for histogram in [&self.hello, &self.connect, &self.turn] {
            // Fails for a histogram without samples of its own, which these are not.
            let _ = TextEncoder::new().encode_utf8(&histogram.collect(), out);
        }
    }
}
