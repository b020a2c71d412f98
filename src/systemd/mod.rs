//! systemd, if it started the process: messages to it (`sd_notify(3)`, `Type=notify-reload`), and sockets from it
//! (`sd_listen_fds(3)`).
mod manager;
mod notify;
mod sockets;
mod store;

pub use manager::Manager;
pub use sockets::{Inherited, Passed, passed};
