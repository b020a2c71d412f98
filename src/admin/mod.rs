//! The endpoints for the operator: `/health`, `/ready`, `/metrics`, `/stats` and its two other forms. They are a function
//! from a request to an answer; [`crate::http`] carries both. What is shown is made of a [`crate::metrics::Snapshot`], a slice
//! a turn.
mod answer;
mod credentials;
mod csv;
mod json;
mod page;
mod report;

pub use answer::{Reply, Wanted, reply};
pub use credentials::Credentials;
pub use report::Report;

/// What answers are made of, beside the [`crate::context::Context`].
pub struct Desk<'a> {
    /// Who may see /stats.
    pub credentials: &'a Credentials,
    /// Whether the proxy is on its way out.
    pub is_draining: bool,
}
