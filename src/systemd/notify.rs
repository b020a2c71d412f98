//! The one socket for messages to systemd.
//!
//! It is opened once, because a process out of fds must still feed its watchdog. A message never blocks, because a
//! systemd that does not read must not hold up the process; only messages that a start, reload or stop depends on may
//! wait a moment. A failure changes nothing for the process, so none is reported.
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::net::{SendFlags, SocketAddrUnix, sendto};
use sd_notify::NotifyState;

/// How long an important message may wait for a busy manager.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Sends messages to systemd.
pub(super) struct Notifier {
    /// The socket and its address; `None` if `$NOTIFY_SOCKET` is unset.
    pub(super) ear: Option<(UnixDatagram, SocketAddrUnix)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that the environment names, if any.
    ///
    /// # Errors
    /// `$NOTIFY_SOCKET` names an address that does not work.
    pub(super) fn from_environment() -> io::Result<Notifier> {
        let ear = env::var_os("NOTIFY_SOCKET").map(|address| ear(&address)).transpose()?;
        let watchdog = sd_notify::watchdog_enabled().filter(|interval| ear.is_some() && !interval.is_zero());
        Ok(Notifier { ear, watchdog })
    }

    #[cfg(test)]
    pub(super) fn to(address: &OsStr) -> Notifier {
        Notifier { ear: Some(ear(address).unwrap()), watchdog: None }
    }

    /// Whether there is a manager.
    pub(super) fn is_heard(&self) -> bool {
        self.ear.is_some()
    }

    /// The interval of WATCHDOG: half of the time after which systemd takes the process for stuck, as
    /// `sd_watchdog_enabled(3)` recommends.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|interval| interval / 2)
    }

    /// READY: after the start, or after a reload.
    pub(super) fn ready(&self, status: &str) {
        let pid = NotifyState::MainPid(std::process::id());
        self.tell(&[NotifyState::Ready, pid, NotifyState::Status(status)], SendFlags::empty());
    }

    /// RELOADING, with the time, by which systemd tells this reload from an older one.
    pub(super) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now], SendFlags::empty());
        }
    }

    /// STOPPING. Extends systemd's timeout for the stop to `at_most`.
    pub(super) fn stopping(&self, status: &str, at_most: Duration) {
        let micros = u32::try_from((at_most + MAX_WAIT).as_micros()).unwrap_or(u32::MAX);
        let extension = NotifyState::ExtendTimeoutUsec(micros);
        self.tell(&[NotifyState::Stopping, extension, NotifyState::Status(status)], SendFlags::empty());
    }

    /// WATCHDOG.
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

/// The address: a path, or a name in Linux's abstract namespace after an `@`.
fn ear(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddrUnix)> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(MAX_WAIT))?;
    Ok((socket, address))
}
