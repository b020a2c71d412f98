//! Words that configuration, log, metrics, page and command line share. Each is written once, in one table a vocabulary.
mod role;

pub use role::Role;
