//! From one process to the next: everything parked, and taken up again.
//!
//! At SIGTERM, where the service manager keeps fds, the process puts its state and its sockets in flight ([`Cargo`]), leaves
//! one fd with the manager, and exits. The next process finds that fd among those that it is passed ([`Delivery`]) and goes
//! on. Nobody else notices: the kernel holds what clients and servers send meanwhile.
//!
//! What a part of the program needs to go on, it says itself, as a struct that serde writes; here is how these travel. So
//! every field keeps its one owner.
//!
//! A field that is added has a default: for a program that has it, so that it reads what older ones wrote. A field that is
//! taken out had one; else programs that have it could not be gone back to. The feature `other-state` takes some out and puts
//! others in, so that a test can go back and forth between two programs.
mod cargo;
mod parcel;
mod state;

pub use cargo::{Cargo, Delivery, Incoming};
pub use state::{Span, State};
