//! The service manager, where there is one: what systemd is told (`sd_notify(3)`, `Type=notify-reload`) and the sockets that
//! it passes (`sd_listen_fds(3)`).
//!
//! The socket to tell it is opened once, because a process that is out of fds has to show that it lives, and telling does not
//! wait, because a manager that reads nothing is not to hold it up. What a start, a reload or a stop hangs on may wait a moment.
//! Failures change nothing here, so none is reported.
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::{SendFlags, SocketAddrUnix, sendto};
use sd_notify::NotifyState;

/// How long a manager that is busy is waited for, where it must not miss a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// The service manager.
pub struct Service {
    /// Where it is told; `None` where nobody asks.
    ear: Option<(UnixDatagram, SocketAddrUnix)>,
    watchdog: Option<Duration>,
}

impl Service {
    /// The manager that the environment names. It may be none.
    ///
    /// # Errors
    /// It wants to be told at an address that does not work.
    pub fn from_environment() -> io::Result<Service> {
        let ear = env::var_os("NOTIFY_SOCKET").map(|address| ear(&address)).transpose()?;
        let watchdog = sd_notify::watchdog_enabled().filter(|interval| ear.is_some() && !interval.is_zero());
        Ok(Service { ear, watchdog })
    }

    /// Whether somebody listens.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.ear.is_some()
    }

    /// How often it wants to be told that the loop turns: in half of the time after which it takes it for stuck, as
    /// `sd_watchdog_enabled(3)` has it.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|interval| interval / 2)
    }

    /// Ready, or ready again after a reload.
    pub fn ready(&self, status: &str) {
        let pid = NotifyState::MainPid(std::process::id());
        self.tell(&[NotifyState::Ready, pid, NotifyState::Status(status)], SendFlags::empty());
    }

    /// Reading the configuration again. systemd wants the time too, to tell this reload from an older one.
    pub fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now], SendFlags::empty());
        }
    }

    /// On the way out, which takes `at_most` so long: it is not to lose its patience before.
    pub fn stopping(&self, status: &str, at_most: Duration) {
        let micros = u32::try_from((at_most + PATIENCE).as_micros()).unwrap_or(u32::MAX);
        let patience = NotifyState::ExtendTimeoutUsec(micros);
        self.tell(&[NotifyState::Stopping, patience, NotifyState::Status(status)], SendFlags::empty());
    }

    /// The loop turns.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog], SendFlags::DONTWAIT);
    }

    /// One line for whoever asks the manager.
    pub fn status(&self, status: &str) {
        self.tell(&[NotifyState::Status(status)], SendFlags::DONTWAIT);
    }

    fn tell(&self, states: &[NotifyState<'_>], flags: SendFlags) {
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

/// The sockets that are passed, each with the name that its unit gives it.
///
/// # Errors
/// A sentence about one that is no TCP socket, or about an environment that contradicts itself.
pub fn sockets() -> Result<Vec<(String, TcpListener)>, String> {
    let failed = |error| format!("LISTEN_FDS: {error}");
    // Names without sockets are those of another process, from which the environment came down.
    if sd_notify::listen_fds().map_err(failed)?.len() == 0 {
        return Ok(Vec::new());
    }
    let named = sd_notify::listen_fds_with_names().map_err(failed)?;
    let mut passed = ListenFd::from_env();
    named
        .enumerate()
        .map(|(index, (fd, name))| match passed.take_tcp_listener(index) {
            Ok(Some(socket)) => Ok((name, socket)),
            Ok(None) => Err(format!("LISTEN_FDS: fd {fd} is not there")),
            Err(error) => Err(format!("LISTEN_FDS: the socket {name:?} is not for TCP: {error}")),
        })
        .collect()
}
