//! The endpoints for the operator: `/health`, `/ready`, `/metrics`, `/stats` and its two other forms. They are a function
//! from a request to an answer; [`crate::http`] carries both. What is shown is made of a [`crate::metrics::Snapshot`], a slice
//! a turn.
mod answer;
mod credentials;
mod csv;
mod json;
mod page;
mod report;

pub use answer::{Reply, log_refusals, reply};
pub use credentials::Credentials;
pub use report::Report;

use crate::policy::tries::Tries;

/// What answers are made of, beside the [`crate::context::Context`].
pub struct Desk<'a> {
    /// The user name and password for /stats.
    pub credentials: &'a Credentials,
    /// Wrong passwords of late.
    pub tries: &'a mut Tries,
    /// Whether the proxy is on its way out.
    pub is_draining: bool,
}
