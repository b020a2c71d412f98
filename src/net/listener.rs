//! Listening sockets.
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::Registry;
use mio::unix::SourceFd;
use rustix::io::Errno;
use rustix::net::{self, SocketFlags};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::keepalive::keep_alive;
use super::kernel::{Call, ask};
use super::stream::Stream;
use super::token::Token;

/// What listen(2) is asked for; the kernel takes the lesser of it and `net.core.somaxconn`.
pub const BACKLOG: u16 = 65_535;

/// A listening socket.
pub struct Listener<R> {
    fd: OwnedFd,
    /// What it is for, in the words of its owner.
    pub role: R,
    /// The address as the configuration has it, or of the socket that serves it: a reload recognises the listener by that.
    pub configured: SocketAddr,
    /// The address that is bound: its port is never 0.
    pub bound: SocketAddr,
    /// The service manager holds the socket too: clients in its backlog when this listener closes wait for the next process.
    pub inherited: bool,
    readable: bool,
}

/// A client that was let in from the backlog.
pub struct Accepted {
    /// The client's socket.
    pub stream: Stream,
    /// Its address, IPv4 where it came as `::ffff:a.b.c.d`.
    pub source: SocketAddr,
}

impl<R> AsFd for Listener<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<R> Listener<R> {
    /// Binds and listens. An IPv6 address takes IPv6 only.
    ///
    /// # Errors
    /// The kernel's: the address is taken, is not on this host, or needs a privilege.
    pub fn bind(address: SocketAddr, role: R) -> io::Result<Listener<R>> {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        ask(Call::Bind, || socket.bind(&address.into()))?;
        socket.listen(BACKLOG.into())?;
        Listener::new(socket.into(), address, role, false)
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// The kernel's, for a socket that is none.
    pub fn inherit(fd: OwnedFd, bound: SocketAddr, role: R) -> io::Result<Listener<R>> {
        SockRef::from(&fd).set_nonblocking(true)?;
        Listener::new(fd, bound, role, true)
    }

    /// Goes on with the socket of another process, whose configuration had this address; `None` where it no longer listens.
    pub fn take_up(fd: OwnedFd, configured: SocketAddr, role: R) -> Option<Listener<R>> {
        SockRef::from(&fd).is_listener().ok().filter(|listens| *listens)?;
        Listener::new(fd, configured, role, false).ok()
    }

    fn new(fd: OwnedFd, configured: SocketAddr, role: R, inherited: bool) -> io::Result<Listener<R>> {
        // Accepted sockets inherit it, which saves a system call a connection.
        SockRef::from(&fd).set_tcp_nodelay(true)?;
        let bound = SocketAddr::try_from(net::getsockname(&fd)?)?;
        Ok(Listener { fd, role, configured, bound, inherited, readable: true })
    }

    /// Has the kernel ask the clients that come from now on whether they are there, after so much `silence`; never, where
    /// that is zero.
    pub fn keep_alive(&self, silence: Duration) {
        keep_alive(&self.fd, silence);
    }

    /// Has the poll report clients in the backlog.
    ///
    /// # Errors
    /// The kernel's, out of memory or of watches.
    pub fn watch(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        ask(Call::Watch, || registry.register(&mut SourceFd(&fd), token.into(), mio::Interest::READABLE))
    }

    /// Closes it. The poll has to be told: it watches a socket until nobody holds it any more.
    pub fn close(self, registry: &Registry) {
        // Fails only where it was not watched.
        let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
    }

    /// Notes that the backlog is no longer empty.
    pub fn note_readable(&mut self) {
        self.readable = true;
    }

    /// Whether there may be a client in the backlog.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Lets the next client in; `None` when the backlog is empty.
    ///
    /// # Errors
    /// Out of fds or memory. A client that has gone while it waited is passed over and is no error.
    pub fn accept(&mut self) -> Result<Option<Accepted>, Errno> {
        loop {
            match ask(Call::Accept, || net::acceptfrom_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)) {
                Ok((fd, address)) => {
                    // Without an address the client has gone already.
                    let Some(source) = address.and_then(|address| SocketAddr::try_from(address).ok()) else { continue };
                    return Ok(Some(Accepted { stream: Stream::accepted(fd), source: canonical(source) }));
                }
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return Ok(None);
                }
                // accept(2): errors of the new connection that are already pending count as "try the next one". What else
                // comes back says that this listener cannot accept now; the caller pauses, and no error can make it spin.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// `::ffff:a.b.c.d` as the IPv4 address that it is.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
