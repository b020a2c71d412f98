//! A listening unix socket, for programs on this machine.
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use mio::Registry;
use mio::unix::SourceFd;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{self, SocketFlags};
use socket2::SockRef;

use super::stream::Stream;
use super::token::Token;

/// The mode bits that the socket's file lacks: all of others, and execution.
const DENIED: Mode = Mode::RWXO.union(Mode::XUSR).union(Mode::XGRP);

/// A listening unix socket (`unix(7)`).
pub struct LocalListener {
    fd: OwnedFd,
    path: PathBuf,
    /// Whether this process made the file and removes it.
    is_own: bool,
}

impl LocalListener {
    /// Binds and listens; the file has mode 0660. A stale file of a process that is gone is removed first.
    ///
    /// # Errors
    /// The kernel's: a process listens there, the directory is missing or not writable.
    pub fn bind(path: &Path) -> io::Result<LocalListener> {
        // The umask is the process's, and no other thread creates files now. Between bind and chmod the socket would be
        // open to all.
        let before = rustix::process::umask(DENIED);
        let bound = UnixListener::bind(path).or_else(|error| {
            // Whatever else is there, such as a file of that name, is not ours to remove: connect(2) refuses that as well.
            if error.kind() != ErrorKind::AddrInUse || !is_socket(path) || is_served(path) {
                return Err(error);
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)
        });
        rustix::process::umask(before);
        LocalListener::new(bound?, path, true)
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// The kernel's.
    pub fn inherit(listener: UnixListener, path: &Path) -> io::Result<LocalListener> {
        LocalListener::new(listener, path, false)
    }

    fn new(listener: UnixListener, path: &Path, is_own: bool) -> io::Result<LocalListener> {
        // By fcntl(2), as the units' sandbox forbids the ioctl(2) that std uses.
        SockRef::from(&listener).set_nonblocking(true)?;
        Ok(LocalListener { fd: listener.into(), path: path.to_owned(), is_own })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Registers it with the poll, which reports clients in the backlog.
    ///
    /// # Errors
    /// The kernel's, out of memory or of epoll watches.
    pub fn watch(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.fd.as_raw_fd()), token.into(), mio::Interest::READABLE)
    }

    /// Closes it. The poll must be told, as epoll watches a socket until its last fd is closed.
    pub fn close(self, registry: &Registry) {
        // Fails only if it was not registered.
        let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
        if self.is_own {
            // Another process may have removed it.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Accepts the next client; `None` if the backlog is empty.
    ///
    /// # Errors
    /// Out of fds or memory.
    pub fn accept(&self) -> Result<Option<Stream>, Errno> {
        match rustix::io::retry_on_intr(|| net::accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)) {
            Ok(fd) => Ok(Some(Stream::handed_on(fd))),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Whether a process listens there; true if that cannot be told.
fn is_served(path: &Path) -> bool {
    !UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Without this, every user of the machine can drain servers, or the socket file of a crashed process keeps the
    /// next one from listening.
    #[test]
    fn the_file_is_for_owner_and_group_and_goes_with_the_listener() {
        let path = std::env::temp_dir().join(format!("fiscalismia-lb-local-{}", std::process::id()));
        let poll = mio::Poll::new().unwrap();
        let first = LocalListener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let taken = LocalListener::bind(&path).err().unwrap();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse, "it is served");
        // As a crash leaves it.
        drop(first);
        let second = LocalListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        assert!(second.accept().unwrap().is_some() && second.accept().unwrap().is_none());
        drop(client);
        second.close(poll.registry());
        assert!(!path.exists());
    }

    /// Without this, a typing error in `control.socket` deletes the file that it names.
    #[test]
    fn a_file_that_is_no_socket_stays() {
        let path = std::env::temp_dir().join(format!("fiscalismia-lb-no-socket-{}", std::process::id()));
        fs::write(&path, "kept").unwrap();
        let refused = LocalListener::bind(&path).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_file(&path).unwrap();
    }
}
