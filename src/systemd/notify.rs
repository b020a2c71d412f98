//! One socket to tell systemd something.
//!
//! It is opened once, because a process that is out of fds has to show that it lives; and telling does not wait, because a
//! systemd that reads nothing is not to hold the process up. What a start, a reload or a stop depends on may wait a moment.
//! Failures change nothing here, so none is reported.
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::net::{SendFlags, SocketAddrUnix, sendto};
use sd_notify::NotifyState;

/// How long a manager that is busy is waited for, where it must not miss a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells systemd.
pub(super) struct Notifier {
    /// Where it is told; `None` where nobody asks.
    pub(super) ear: Option<(UnixDatagram, SocketAddrUnix)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that the environment names. It may be none.
    ///
    /// # Errors
    /// It wants to be told at an address that does not work.
    pub(super) fn from_environment() -> io::Result<Notifier> {
        let ear = env::var_os("NOTIFY_SOCKET").map(|address| ear(&address)).transpose()?;
        let watchdog = sd_notify::watchdog_enabled().filter(|interval| ear.is_some() && !interval.is_zero());
        Ok(Notifier { ear, watchdog })
    }

    /// Whether somebody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.ear.is_some()
    }

    /// How often it wants to be told that the loop turns: in half of the time after which it takes it for stuck, as
    /// `sd_watchdog_enabled(3)` has it.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|interval| interval / 2)
    }

    /// Ready, or ready again after a reload.
    pub(super) fn ready(&self, status: &str) {
        let pid = NotifyState::MainPid(std::process::id());
        self.tell(&[NotifyState::Ready, pid, NotifyState::Status(status)], SendFlags::empty());
    }

    /// Reading the configuration again. systemd wants the time too, to tell this reload from an older one.
    pub(super) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now], SendFlags::empty());
        }
    }

    /// On the way out, which takes `at_most` so long: it is not to lose its patience before.
    pub(super) fn stopping(&self, status: &str, at_most: Duration) {
        let micros = u32::try_from((at_most + PATIENCE).as_micros()).unwrap_or(u32::MAX);
        let patience = NotifyState::ExtendTimeoutUsec(micros);
        self.tell(&[NotifyState::Stopping, patience, NotifyState::Status(status)], SendFlags::empty());
    }

    /// The loop turns.
    pub(super) fn alive(&self) {
        self.tell(&[NotifyState::Watchdog], SendFlags::DONTWAIT);
    }

    /// The status line that `systemctl status` shows.
    pub(super) fn status(&self, status: &str) {
        self.tell(&[NotifyState::Status(status)], SendFlags::DONTWAIT);
    }

    pub(super) fn tell(&self, states: &[NotifyState<'_>], flags: SendFlags) {
        let Some((socket, address)) = &self.ear else { return };
        let mut text = String::new();
        for state in states {
            let _ = writeln!(text, "{state}");
        }
        let _ = sendto(socket, text.as_bytes(), flags | SendFlags::NOSIGNAL, address);
    }
}

/// A path, or a name of Linux's abstract namespace behind an `@`.
fn ear(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddrUnix)> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, address))
}
