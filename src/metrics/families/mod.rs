//! The only list of metric names: HAProxy's, with HAProxy's meaning, and the proxy's own, which begin with
//! `fiscalismia_lb_`. The three histograms name themselves in [`super::histograms`].
//!
//! No label comes from a client. A value that does not exist is NaN, not 0. Times are in seconds.
mod backend;
mod frontend;
mod process;
mod server;

pub(super) use backend::BACKEND;
pub(super) use frontend::FRONTEND;
pub(super) use process::PROCESS;
pub(super) use server::SERVER;
