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
use super::stream::{MAX_NOT_SENT, Stream};
use super::token::Token;

/// The backlog that listen(2) is asked for; the kernel takes the smaller of it and `net.core.somaxconn`.
pub const BACKLOG: u16 = 65_535;

/// A listening socket.
pub struct Listener<R> {
    fd: OwnedFd,
    /// Its purpose, in a type of its owner.
    pub role: R,
    /// The address in the configuration, or of the passed socket that serves it. A reload recognises the listener by it.
    pub configured: SocketAddr,
    /// The bound address. Its port is never 0.
    pub bound: SocketAddr,
    /// Whether systemd holds the socket too: clients in its backlog then wait for the next process when this listener
    /// closes.
    pub inherited: bool,
    readable: bool,
}

/// A client that was accepted.
pub struct Accepted {
    /// The client's socket.
    pub stream: Stream,
    /// The client's address, IPv4 if it was `::ffff:a.b.c.d`.
    pub source: SocketAddr,
}

impl<R> AsFd for Listener<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<R> Listener<R> {
    /// Binds and listens. An IPv6 address accepts IPv6 only.
    ///
    /// # Errors
    /// The kernel's: the address is in use, is not on this host, or needs a privilege.
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
    /// The kernel's, if it is not such a socket.
    pub fn inherit(fd: OwnedFd, bound: SocketAddr, role: R) -> io::Result<Listener<R>> {
        SockRef::from(&fd).set_nonblocking(true)?;
        Listener::new(fd, bound, role, true)
    }

    /// Takes over a socket of the previous process, which had it under this address; `None` if it no longer listens.
    pub fn take_up(fd: OwnedFd, configured: SocketAddr, role: R) -> Option<Listener<R>> {
        SockRef::from(&fd).is_listener().ok().filter(|listens| *listens)?;
        Listener::new(fd, configured, role, false).ok()
    }

    fn new(fd: OwnedFd, configured: SocketAddr, role: R, inherited: bool) -> io::Result<Listener<R>> {
        // Accepted sockets inherit both options, which saves system calls for each.
        SockRef::from(&fd).set_tcp_nodelay(true)?;
        // A kernel, or what stands in for one, that does not know this holds more, and serves all the same.
        let _ = SockRef::from(&fd).set_tcp_notsent_lowat(MAX_NOT_SENT);
        let bound = SocketAddr::try_from(net::getsockname(&fd)?)?;
        Ok(Listener { fd, role, configured, bound, inherited, readable: true })
    }

    /// Sets keepalive for the clients that connect from now on: probes after `silence`; never, if that is zero.
    pub fn keep_alive(&self, silence: Duration) {
        keep_alive(&self.fd, silence);
    }

    /// Registers it with the poll, which reports clients in the backlog.
    ///
    /// # Errors
    /// The kernel's, out of memory or of epoll watches.
    pub fn watch(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        ask(Call::Watch, || registry.register(&mut SourceFd(&fd), token.into(), mio::Interest::READABLE))
    }

    /// Closes it. The poll must be told, as epoll watches a socket until its last fd is closed.
    pub fn close(self, registry: &Registry) {
        // Fails only if it was not registered.
        let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
    }

    /// Notes that the backlog is not empty.
    pub fn note_readable(&mut self) {
        self.readable = true;
    }

    /// Whether there may be a client in the backlog.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Accepts the next client; `None` if the backlog is empty.
    ///
    /// # Errors
    /// Out of fds or memory. A client that left while it waited is skipped and is no error.
    pub fn accept(&mut self) -> Result<Option<Accepted>, Errno> {
        loop {
            match ask(Call::Accept, || net::acceptfrom_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)) {
                Ok((fd, address)) => {
                    // A socket without a peer address: the client has left.
                    let Some(source) = address.and_then(|address| SocketAddr::try_from(address).ok()) else { continue };
                    return Ok(Some(Accepted { stream: Stream::accepted(fd), source: canonical(source) }));
                }
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return Ok(None);
                }
                // accept(2): a pending error of the new connection means "try the next one". Any other error means that
                // this listener cannot accept now; the caller pauses, so no error can make it spin.
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// Without this, a thousand clients that read nothing fill a small container's memory with unsent bytes.
    #[test]
    fn a_client_s_socket_takes_little_that_is_not_on_its_way() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap(), ()).unwrap();
        let _client = TcpStream::connect(listener.bound).unwrap();
        let accepted = listener.accept().unwrap().unwrap();
        assert_eq!(SockRef::from(&accepted.stream).tcp_notsent_lowat().unwrap(), MAX_NOT_SENT);
    }
}
