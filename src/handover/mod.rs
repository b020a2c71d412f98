//! How everything that lives goes from one process to the next: parked, and taken up.
//!
//! At SIGTERM, if the service manager stores fds, the process puts its state and its sockets in flight ([`Cargo`]),
//! stores one fd with the manager, and exits. The next process is passed that fd ([`Delivery`]) and goes on. Clients
//! and servers notice nothing: the kernel keeps what they send meanwhile.
//!
//! Each owner says for itself what it needs to go on, as a struct that serde writes. This module only carries those
//! structs, so that every field keeps its one owner.
//!
//! A new field has a `serde` default, so that this version reads what older ones wrote. A field that is removed had a
//! default, or versions that still have it could not take over again. The feature `other-state` removes some fields and
//! adds others, so that a test can go back and forth between two versions.
mod cargo;
mod parcel;
mod state;

pub use cargo::{Cargo, Delivery, Incoming};
pub use state::{Span, State};
