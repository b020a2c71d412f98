//! What is counted.
mod counters;

pub use counters::{Process, Summary, Traffic};
