//! A connected or connecting TCP socket, and its known readiness.
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, Shutdown, sockopt};
use socket2::SockRef;

use super::keepalive::keep_alive;
use super::kernel::{Call, ask};
use super::token::Token;

/// Segments beyond this size are large: those of a loopback interface (65,483 bytes) and of some tunnels, and not of Ethernet, jumbo
/// frames included (8,960).
const LARGE_SEGMENT: u32 = 16 * 1024;
/// The longest segment of Ethernet without jumbo frames.
const ETHERNET_SEGMENT: u32 = 1_460;

/// Bytes that a client's socket takes beyond what is on its way to the client. A client that reads slowly keeps little of what its
/// server sends in the kernel's memory, which counts towards a container's limit, and as much as before is on its way to a fast one
/// (tcp(7), `TCP_NOTSENT_LOWAT`).
pub(super) const MAX_NOT_SENT: u32 = 16 * 1024;
/// The same, for bulk that is copied in haste: the kernel sends more of it without a wake of this process.
const MAX_NOT_SENT_OF_BULK: u32 = 1024 * 1024;

/// A non-blocking TCP socket under an edge-triggered poll.
///
/// Readiness is remembered until the socket itself blocks: an edge is reported once, possibly before it is needed.
/// Dropping a stream closes it and takes it out of the poll.
pub struct Stream {
    fd: OwnedFd,
    readable: bool,
    writable: bool,
    end: End,
    watch: Watch,
    nagle: Nagle,
    /// KiB of unread bytes that the kernel is to keep; `u16::MAX` as long as it decides.
    bound: u16,
}

/// What the poll has reported about the end of the input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// RDHUP, HUP or ERR was reported: no further edge will come, so a short read does not mean drained.
    Announced,
    /// The same, and the socket holds an error.
    Error,
}

/// What the poll watches a socket for. `EPOLLOUT` is added only after a write has fallen short: most connections never
/// need it, and it would wake the loop at once, as nearly every socket is writable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Nothing,
    Reads,
    ReadsAndWrites,
}

/// Whether the kernel may delay a write until the peer has acknowledged the one before (tcp(7), `TCP_NODELAY`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nagle {
    Off,
    /// Nothing was sent yet, so the first write is not delayed. Many connections write only once in this direction.
    NothingSent,
    On,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// No bytes for now.
    Blocked,
    /// The peer's FIN.
    End,
    /// The connection has failed.
    Failed(Errno),
}

impl Stream {
    /// Takes over a non-blocking socket that was accepted, with options that it inherited from the listener. Bytes may
    /// be there already.
    pub(super) fn accepted(fd: OwnedFd) -> Stream {
        Stream {
            fd,
            readable: true,
            writable: true,
            end: End::NotYet,
            watch: Watch::Nothing,
            nagle: Nagle::Off,
            bound: u16::MAX,
        }
    }

    /// Takes over a non-blocking socket that is connecting, with the kernel's default options. It is not read before
    /// something was written; what comes before the first [`watch`](Stream::watch) is reported by it.
    pub(super) fn connecting(fd: OwnedFd) -> Stream {
        Stream { readable: false, nagle: Nagle::NothingSent, ..Stream::accepted(fd) }
    }

    /// Takes over a connected socket of the previous process. Its readiness is found by trying.
    #[must_use]
    pub fn handed_on(fd: OwnedFd) -> Stream {
        Stream { nagle: Nagle::On, ..Stream::accepted(fd) }
    }

    /// Notes what an event reports. Nothing is read or written.
    pub fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_error() {
            self.end = End::Error;
        } else if event.is_read_closed() && self.end == End::NotYet {
            self.end = End::Announced;
        }
        self.writable |= event.is_writable() || event.is_error();
    }

    /// Whether a read may succeed.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether a write may succeed.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Registers with the poll: for input, and after a short write for output.
    ///
    /// # Errors
    /// The kernel's, out of memory or of epoll watches.
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

    /// Takes the socket out of the poll, so that another owner can register it. Its readiness is then found by trying.
    pub fn unwatch(&mut self, registry: &Registry) {
        if self.watch != Watch::Nothing {
            // Fails only if it was not registered.
            let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
            self.watch = Watch::Nothing;
        }
        (self.readable, self.writable) = (true, true);
    }

    /// Reads into `room`, which must not be empty.
    ///
    /// A read that does not fill `room` has drained the socket: later bytes bring another edge. Only an end that was
    /// announced brings none.
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

    /// Reads without taking the bytes out. More bytes, or the end, bring another edge.
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

    /// Whether the poll has announced the end of the input.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end != End::NotYet
    }

    /// Throws away the first `count` of `seen` bytes that [`peek`](Stream::peek) put into `room`.
    ///
    /// # Errors
    /// The connection has failed.
    pub(super) fn skip(&mut self, count: usize, seen: usize, room: &mut [u8]) -> Result<(), Errno> {
        let mut left = count;
        while left > 0 {
            // tcp(7): with MSG_TRUNC, bytes are discarded and not copied.
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

    /// Writes as many of `bytes` as the socket takes; 0 if it takes none for now.
    ///
    /// # Errors
    /// The connection has failed; on a connecting socket, the connect has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.nagle == Nagle::On {
            self.nagle = Nagle::Off;
            // Fails only on a broken socket, which the write reports.
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

    /// Has [`watch`](Stream::watch) wait for output before any write has fallen short.
    pub fn expect_write(&mut self) {
        self.writable = false;
    }

    /// Notes that a read by other means than [`read`](Stream::read) would block.
    pub(super) fn emptied(&mut self) {
        self.readable = false;
    }

    /// Notes that a write by other means than [`write`](Stream::write) would block.
    pub(super) fn filled(&mut self) {
        self.writable = false;
    }

    /// Sends FIN. The socket can still be read.
    pub fn finish(&self) {
        // Fails only if the peer has gone, which the next read reports.
        let _ = net::shutdown(&self.fd, Shutdown::Write);
    }

    /// Whether the peer has reset the connection. The kernel is asked only if the poll has reported an error.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.end == End::Error && self.error().is_some()
    }

    /// Whether a connecting socket is connected.
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

    /// The socket's error; reading it clears it.
    fn error(&self) -> Option<Errno> {
        sockopt::socket_error(&self.fd).ok()?.err()
    }

    /// Sets keepalive: probes after `silence`; never, if that is zero.
    pub fn keep_alive(&self, silence: Duration) {
        keep_alive(&self.fd, silence);
    }

    /// Has a client's socket take more than is on its way. A server's has no such bound.
    pub(super) fn take_more(&self) {
        self.change_not_sent(MAX_NOT_SENT, MAX_NOT_SENT_OF_BULK);
    }

    /// The reverse of [`take_more`](Stream::take_more). What was taken stays.
    pub(super) fn take_less(&self) {
        self.change_not_sent(MAX_NOT_SENT_OF_BULK, MAX_NOT_SENT);
    }

    fn change_not_sent(&self, from: u32, to: u32) {
        let socket = SockRef::from(&self.fd);
        if socket.tcp_notsent_lowat().is_ok_and(|bound| bound == from) {
            // Fails only on a broken socket, which the next write reports.
            let _ = socket.set_tcp_notsent_lowat(to);
        }
    }

    /// Has the kernel keep at most `bound` KiB of unread bytes, with its own for them, and not more for a fast peer. A bound is only lowered.
    ///
    /// Nothing is bound where segments are large: a peer waits until a whole one fits, and one that never fits stands still.
    pub fn narrow(&mut self, bound: u16) {
        if self.bound <= bound {
            return;
        }
        self.bound = bound;
        if !self.has_large_segments() {
            // socket(7): the kernel doubles what it is told. One that refuses keeps more, and relays all the same.
            let _ = ask(Call::Narrow, || sockopt::set_socket_recv_buffer_size(&self.fd, usize::from(bound) * 1024 / 2));
        }
    }

    /// Whether the peer may send segments beyond [`LARGE_SEGMENT`]. The kernel tells half of the peer's window where that is less: 32 KiB
    /// before the peer has opened it, and a few where the peer has a small buffer.
    fn has_large_segments(&self) -> bool {
        let told = SockRef::from(&self.fd).tcp_mss().unwrap_or(u32::MAX);
        told > LARGE_SEGMENT || told > ETHERNET_SEGMENT && self.is_on_this_host()
    }

    fn is_on_this_host(&self) -> bool {
        self.ends().is_some_and(|(own, peer)| peer.ip().is_loopback() || own.ip() == peer.ip())
    }

    /// The socket's own address and its peer's, while it is connected.
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = SockRef::from(&self.fd);
        Some((socket.local_addr().ok()?.as_socket()?, socket.peer_addr().ok()?.as_socket()?))
    }

    /// The address that the peer connected to.
    ///
    /// # Errors
    /// The kernel's, for a socket whose peer has gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::try_from(ask(Call::Address, || net::getsockname(&self.fd))?)?)
    }

    /// Whether the socket is connected with itself.
    #[must_use]
    pub fn is_its_own_peer(&self) -> bool {
        self.ends().is_some_and(|(own, peer)| own == peer)
    }

    /// Closes with RST. Unsent bytes are thrown away.
    pub fn reset(self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// Closes so that a client behind a router sees neither FIN nor RST.
    ///
    /// The received data is acknowledged, then RST is sent with a TTL (IPv6: hop limit) of 1, and dies at the first
    /// router. HAProxy's `silent-drop` does the same if it has no capability.
    pub fn vanish(self) {
        let _ = sockopt::set_tcp_quickack(&self.fd, true);
        // By the socket, and not by the client's address: that may be what a balancer in front has told. Each refuses the other's.
        let _ = sockopt::set_ipv6_unicast_hops(&self.fd, Some(1));
        let _ = sockopt::set_ip_ttl(&self.fd, 1);
        self.reset();
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    impl Stream {
        /// A connection: its other end, and a stream.
        pub(in crate::net) fn pair() -> (TcpStream, Stream) {
            Stream::pair_on(&TcpListener::bind("127.0.0.1:0").unwrap())
        }

        fn pair_on(listener: &TcpListener) -> (TcpStream, Stream) {
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (own, _) = listener.accept().unwrap();
            own.set_nonblocking(true).unwrap();
            (peer, Stream::accepted(own.into()))
        }
    }

    /// Without this, what the kernel keeps of a server grows as before, or is twice what was meant, or is too little for the segments of
    /// a loopback interface.
    #[test]
    fn a_narrow_socket_keeps_its_bound() {
        let kept = |stream: &Stream| sockopt::socket_recv_buffer_size(&stream.fd).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_tcp_mss(1_400).unwrap();
        let (_peer, mut stream) = Stream::pair_on(&listener);
        for (bound, expected) in [(256, 256), (64, 64), (128, 64), (u16::MAX, 64)] {
            stream.narrow(bound);
            assert_eq!(kept(&stream), expected * 1024, "{bound} KiB");
        }

        let (_peer, mut stream) = Stream::pair();
        let before = kept(&stream);
        stream.narrow(64);
        assert_eq!(kept(&stream), before, "large segments");
    }
}
