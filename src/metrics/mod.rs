//! What is counted, and how Prometheus gets to see it.
//!
//! [`Process`], [`Traffic`] and [`Usage`] are bumped where things happen; a [`Snapshot`] is taken when somebody asks, and
//! everything shown is a function of that. `families` is the only list of metric names.
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
    FrontendNow, Phase, PipesNow, ProbesNow, Room, RouteNow, ServerNow, Snapshot, SourcesNow, StandingNow, State,
    UsageNow,
};
