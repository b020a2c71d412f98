//! What systemd is told, where it listens: `sd_notify(3)`, `Type=notify-reload`. A failure to tell it changes nothing
//! here, so none is reported. And the sockets that it passes: `sd_listen_fds(3)`.
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The sockets that were passed, each with the address that it listens at. What is no TCP listener is left alone.
#[must_use]
pub fn sockets() -> Vec<(SocketAddr, TcpListener)> {
    let mut passed = ListenFd::from_env();
    let listeners = (0..passed.len()).filter_map(|at| passed.take_tcp_listener(at).ok()?);
    listeners.filter_map(|listener| Some((listener.local_addr().ok()?, listener))).collect()
}

/// Ready, or ready again after a reload.
pub fn ready(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reading the configuration again. systemd wants the time too, to tell this reload from an older one.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
}

/// On the way out.
pub fn stopping(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}
