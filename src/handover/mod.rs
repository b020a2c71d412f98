//! From one process to the next: everything parked, and taken up again.
mod parcel;
mod state;

pub use parcel::{MAX_FDS, Parcel, send};
pub use state::{Span, State};
