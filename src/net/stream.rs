//! A connected (or connecting) TCP socket, and what is known of its readiness.
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, Shutdown, sockopt};

use super::keepalive::keep_alive;
use super::kernel::{Call, ask};
use super::token::Token;

/// A non-blocking TCP socket under an edge-triggered poll.
///
/// Readiness is remembered until the socket itself says otherwise: an edge is reported once, and may have been reported
/// while nobody wanted it. Dropping a stream closes it and takes it out of the poll.
pub struct Stream {
    fd: OwnedFd,
    readable: bool,
    writable: bool,
    end: End,
    watch: Watch,
    nagle: Nagle,
}

/// What the poll has said of the end of what can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// RDHUP, HUP or ERR was reported: no further edge will come, so a short read does not mean that the queue is empty.
    Announced,
    /// The same, and the socket holds an error.
    Error,
}

/// What the poll watches a socket for. `EPOLLOUT` is asked for only once a write has fallen short: most connections
/// never need it, and asking wakes the loop at once for a socket that can be written, as nearly all can.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Nothing,
    Reads,
    ReadsAndWrites,
}

/// Whether the kernel may hold back what is written until the peer has acknowledged what went before (tcp(7),
/// `TCP_NODELAY`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nagle {
    Off,
    /// Nothing went before, so the first write is not held back. Many a connection has no other in this direction.
    NothingSent,
    On,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing for now.
    Blocked,
    /// The peer's FIN.
    End,
    /// The connection is broken.
    Failed(Errno),
}

impl Stream {
    /// Takes over a non-blocking socket that was accepted, and has its options from the listener. What it was accepted for may
    /// be there already.
    pub(super) fn accepted(fd: OwnedFd) -> Stream {
        Stream { fd, readable: true, writable: true, end: End::NotYet, watch: Watch::Nothing, nagle: Nagle::Off }
    }

    /// Takes over a non-blocking socket that connects, with the kernel's defaults. There is nothing to read before something is
    /// written; what comes sooner than the first [`watch`](Stream::watch) is reported by it.
    pub(super) fn connecting(fd: OwnedFd) -> Stream {
        Stream { readable: false, nagle: Nagle::NothingSent, ..Stream::accepted(fd) }
    }

    /// Takes over a connected socket that another process has handed on. What it is ready for is tried.
    #[must_use]
    pub fn handed_on(fd: OwnedFd) -> Stream {
        Stream { nagle: Nagle::On, ..Stream::accepted(fd) }
    }

    /// Notes what an event says. Nothing is read or written.
    pub fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_error() {
            self.end = End::Error;
        } else if event.is_read_closed() && self.end == End::NotYet {
            self.end = End::Announced;
        }
        self.writable |= event.is_writable() || event.is_error();
    }

    /// Whether a read may bring something.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether a write may take something.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Has the poll report what can be read from now on, and, once a write has fallen short, what can be written.
    ///
    /// # Errors
    /// The kernel's, out of memory or of watches.
    pub fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let wanted =
            if self.writable && self.watch != Watch::ReadsAndWrites { Watch::Reads } else { Watch::ReadsAndWrites };
        if wanted == self.watch {
            return Ok(());
        }
        let interest =
            if wanted == Watch::Reads { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let fd = self.fd.as_raw_fd();
        ask(Call::Watch, || match self.watch {
            Watch::Nothing => registry.register(&mut SourceFd(&fd), token.into(), interest),
            _ => registry.reregister(&mut SourceFd(&fd), token.into(), interest),
        })?;
        self.watch = wanted;
        Ok(())
    }

    /// Takes the socket out of the poll, so that another owner can watch it. Its readiness is found by trying then.
    pub fn unwatch(&mut self, registry: &Registry) {
        if self.watch != Watch::Nothing {
            // Fails only where it was not watched.
            let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
            self.watch = Watch::Nothing;
        }
        (self.readable, self.writable) = (true, true);
    }

    /// Reads what is there, into `room`, which must not be empty.
    ///
    /// A read that does not fill `room` has emptied the socket: what comes later brings an edge of its own. Only the end,
    /// once announced, brings none.
    pub fn read(&mut self, room: &mut [u8]) -> Received {
        let size = room.len();
        debug_assert!(size > 0, "a read without room would look like the peer's FIN");
        match ask(Call::Read, || net::recv(&self.fd, &mut *room, RecvFlags::empty())) {
            Ok((_, 0)) => {
                self.readable = false;
                Received::End
            }
            Ok((_, n)) => {
                self.readable = n == size || self.end != End::NotYet;
                Received::Bytes(n)
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Received::Blocked
            }
            Err(Errno::INTR) => self.read(room),
            Err(error) => Received::Failed(error),
        }
    }

    /// Looks at what is there, and leaves it there. Where that is not enough, more of it brings an edge, and so does the end.
    pub fn peek(&mut self, room: &mut [u8]) -> Received {
        match ask(Call::Read, || net::recv(&self.fd, &mut *room, RecvFlags::PEEK)) {
            Ok((_, 0)) => Received::End,
            Ok((_, n)) => Received::Bytes(n),
            Err(Errno::AGAIN) => {
                self.readable = false;
                Received::Blocked
            }
            Err(Errno::INTR) => self.peek(room),
            Err(error) => Received::Failed(error),
        }
    }

    /// Whether the poll has said that nothing follows what is in the receive queue.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end != End::NotYet
    }

    /// Throws away the first `count` of `seen` bytes that [`peek`](Stream::peek) showed in `room`, which it filled or not.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn skip(&mut self, count: usize, seen: usize, room: &mut [u8]) -> Result<(), Errno> {
        let mut left = count;
        while left > 0 {
            // tcp(7): with MSG_TRUNC, bytes are thrown away rather than copied.
            let room = room.get_mut(..left).unwrap_or_default();
            match ask(Call::Read, || net::recv(&self.fd, room, RecvFlags::TRUNC)) {
                Ok((_, 0)) => return Err(Errno::IO),
                Ok((_, n)) => left = left.saturating_sub(n),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.readable = count < seen || seen == room.len() || self.end != End::NotYet;
        Ok(())
    }

    /// Writes what the socket takes of `bytes`; 0 where it takes none for now.
    ///
    /// # Errors
    /// The connection is broken; for a socket that is still connecting, the connect has failed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.nagle == Nagle::On {
            self.nagle = Nagle::Off;
            // Fails only where the socket is broken, which the write says better.
            let _ = sockopt::set_tcp_nodelay(&self.fd, true);
        }
        match ask(Call::Write, || net::send(&self.fd, bytes, SendFlags::NOSIGNAL)) {
            Ok(n) => {
                self.writable = n == bytes.len();
                if self.nagle == Nagle::NothingSent {
                    self.nagle = Nagle::On;
                }
                Ok(n)
            }
            Err(Errno::AGAIN) => {
                self.writable = false;
                Ok(0)
            }
            Err(Errno::INTR) => self.write(bytes),
            Err(error) => Err(error),
        }
    }

    /// Has [`watch`](Stream::watch) report when the socket can be written, without a write that falls short first.
    pub fn expect_write(&mut self) {
        self.writable = false;
    }

    /// Notes that a read, by other means than [`read`](Stream::read), found nothing.
    pub(super) fn emptied(&mut self) {
        self.readable = false;
    }

    /// Notes that a write, by other means than [`write`](Stream::write), fell short.
    pub(super) fn filled(&mut self) {
        self.writable = false;
    }

    /// Sends FIN; reading goes on.
    pub fn finish(&self) {
        // Fails only where the peer has gone already, which the next read says better.
        let _ = net::shutdown(&self.fd, Shutdown::Write);
    }

    /// Whether the peer has broken off. Only a socket of which the poll has said that is asked.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.end == End::Error && self.error().is_some()
    }

    /// Whether a socket that was connecting is connected.
    ///
    /// # Errors
    /// The connect has failed.
    pub fn is_connected(&self) -> Result<bool, Errno> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        match net::getpeername(&self.fd) {
            Ok(_) => Ok(true),
            Err(Errno::NOTCONN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The error that the socket holds, which asking clears.
    fn error(&self) -> Option<Errno> {
        sockopt::socket_error(&self.fd).ok()?.err()
    }

    /// Has the kernel ask the peer whether it is there, after so much `silence`; never, where that is zero.
    pub fn keep_alive(&self, silence: Duration) {
        keep_alive(&self.fd, silence);
    }

    /// The address that the peer connected to.
    ///
    /// # Errors
    /// The kernel's, for a socket that has gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::try_from(ask(Call::Address, || net::getsockname(&self.fd))?)?)
    }

    /// Whether it is connected with itself.
    #[must_use]
    pub fn is_its_own_peer(&self) -> bool {
        let own = net::getsockname(&self.fd);
        matches!((net::getpeername(&self.fd), own), (Ok(Some(peer)), Ok(own)) if peer == own)
    }

    /// Closes with RST: what is still to be sent is thrown away.
    pub fn reset(self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// Closes so that a client behind a router sees neither FIN nor RST.
    ///
    /// The data that came is acknowledged, then the reset goes out with a TTL (IPv6: hop limit) of 1 and dies at the first
    /// router. HAProxy's `silent-drop` does the same where it has no capability.
    pub fn vanish(self, peer: SocketAddr) {
        let _ = sockopt::set_tcp_quickack(&self.fd, true);
        let _ = match peer {
            SocketAddr::V4(_) => sockopt::set_ip_ttl(&self.fd, 1),
            SocketAddr::V6(_) => sockopt::set_ipv6_unicast_hops(&self.fd, Some(1)),
        };
        self.reset();
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
