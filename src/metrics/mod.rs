//! What is counted, and how it is shown to Prometheus.
//!
//! [`Process`], [`Traffic`] and [`Usage`] are changed where the events happen. A [`Snapshot`] is taken when a client of
//! the admin endpoints asks, and everything shown is a function of it. `families` is the only list of metric names.
mod changes;
mod counters;
mod exposition;
mod families;
mod histograms;
mod history;
mod parked;
mod snapshot;

pub use changes::{Change, Changes};
pub use counters::{Frontend, Process, Rate, Summary, Traffic, Usage};
pub use exposition::Exposition;
pub use histograms::Histograms;
pub use history::{History, STEP, Sample, Step};
pub use parked::ParkedProcess;
pub use snapshot::{
    Buffers, FrontendNow, Phase, PipesNow, ProbesNow, RouteNow, ServerNow, Snapshot, SourcesNow, StandingNow, State,
    UsageNow,
};
