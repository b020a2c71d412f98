//! The endpoints for the operator: `/health`, `/ready`, `/metrics`, `/stats` and its two other forms. They are a
//! function from a request to an answer; [`crate::http`] carries both. What is shown is made of a
//! [`crate::metrics::Snapshot`], a slice a turn.
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

/// What an answer needs, beside the [`crate::context::Context`].
pub struct Desk<'a> {
    /// The user name and password for /stats.
    pub credentials: &'a Credentials,
    /// Recent wrong passwords.
    pub tries: &'a mut Tries,
    /// Whether the process is draining or stopping.
    pub is_draining: bool,
}
