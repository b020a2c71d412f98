//! What systemd is told, where it listens: `sd_notify(3)`, `Type=notify-reload`. A failure to tell it changes nothing
//! here, so none is reported.
use sd_notify::NotifyState;

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
