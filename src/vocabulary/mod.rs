//! Words that configuration, log, metrics, page and command line share. One table for each vocabulary.
mod check_result;
mod choice;
mod reason;
mod role;

pub use check_result::CheckResult;
pub use choice::{Balance, ProxyProtocol, Reject};
pub use reason::{CloseReason, DropReason};
pub use role::{CONTROL_SOCKET, Role};
