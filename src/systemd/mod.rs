//! systemd, where it has started the process: what it is told (`sd_notify(3)`, `Type=notify-reload`), and the sockets that it
//! passes (`sd_listen_fds(3)`).
mod manager;
mod notify;
mod sockets;
mod store;

pub use manager::Manager;
pub use sockets::{Inherited, Passed, passed};
