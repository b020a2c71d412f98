//! Begins a connection to a server.
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto};
use socket2::SockRef;

use super::kernel::{Call, ask};
use super::stream::Stream;

/// The lowest port that the kernel gives to sockets that connect: `ip_local_port_range` lies above
/// `ip_unprivileged_port_start`.
const LOWEST_OWN: u16 = 1024;

/// What [`dial`] says where every local port for that peer is in use. connect(2) says `EADDRNOTAVAIL`, which is also what
/// bind(2) says of an address that this host does not have.
pub const NO_PORT: Errno = Errno::AGAIN;

/// Begins to connect to `address`, from local address `source` and through device `interface` where given. The first
/// write tells how it went.
///
/// # Errors
/// What the kernel knows at once: out of fds, no route, no such device, no permission; [`NO_PORT`].
pub fn dial(address: SocketAddr, source: Option<SocketAddr>, interface: Option<&str>) -> Result<Stream, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = ask(Call::Socket, || net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP)))?;
    if let Some(interface) = interface {
        SockRef::from(&fd).bind_device(Some(interface.as_bytes())).map_err(|error| errno(&error))?;
    }
    if let Some(source) = source {
        // A port that is chosen at connect can be one that a connection to another server has (ip(7)); chosen here, it is
        // taken for all of them. A kernel that does not know this has always done the latter.
        let _ = setsockopt(&fd, IpBindAddressNoPort, &true);
        ask(Call::Bind, || net::bind(&fd, &source)).map_err(|error| match error {
            Errno::ADDRINUSE => NO_PORT,
            error => error,
        })?;
    }
    match ask(Call::Connect, || net::connect(&fd, &address)) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) if has_source_for(address) => return Err(NO_PORT),
        Err(error) => return Err(error),
    }
    Ok(Stream::connecting(fd))
}

/// Refuses a connection of a socket with itself.
///
/// # Errors
/// Refused, where the kernel gave the socket the very port that it connects to on this host: that succeeds (RFC 9293
/// section 3.5, a simultaneous open), and nobody listens there.
pub fn refuse_itself(stream: Stream, address: SocketAddr) -> Result<Stream, Errno> {
    if address.port() >= LOWEST_OWN && stream.is_its_own_peer() {
        // A server could not listen there while the kernel remembers the connection.
        stream.reset();
        return Err(Errno::CONNREFUSED);
    }
    Ok(stream)
}

/// Whether this host has an address to connect from: without one, IPv6 says `EADDRNOTAVAIL` as well. UDP wants the same
/// address, and none of TCP's ports.
fn has_source_for(address: SocketAddr) -> bool {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    socket.is_ok_and(|fd| net::connect(&fd, &address) != Err(Errno::ADDRNOTAVAIL))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// An error in the system's words, without the number that std puts behind them.
#[must_use]
pub fn words(error: Errno) -> String {
    if error == NO_PORT {
        return "every local port for it is in use".to_owned();
    }
    let text = std::io::Error::from(error).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Whether an error says that this process or the machine has run short, and nothing about the peer.
#[must_use]
pub fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | NO_PORT)
}
