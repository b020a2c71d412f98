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

/// The error of [`dial`] when every local port for that peer is in use. connect(2) gives `EADDRNOTAVAIL`, but so does
/// bind(2) for an address that this host does not have.
pub const NO_PORT: Errno = Errno::AGAIN;

/// Begins to connect to `address`, from the local address `source` and through the device `interface`, if given. The
/// first write tells whether it succeeded.
///
/// # Errors
/// Errors that the kernel knows at once: out of fds, no route, no such device, no permission; and [`NO_PORT`].
pub fn dial(address: SocketAddr, source: Option<SocketAddr>, interface: Option<&str>) -> Result<Stream, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = ask(Call::Socket, || net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP)))?;
    if let Some(interface) = interface {
        SockRef::from(&fd).bind_device(Some(interface.as_bytes())).map_err(|error| errno(&error))?;
    }
    if let Some(source) = source {
        // With this option connect(2) chooses the port, which connections to other servers may share (ip(7)). Older
        // kernels let bind(2) choose, and then no other connection can have the port.
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

/// Refuses a socket that is connected with itself.
///
/// # Errors
/// `ECONNREFUSED` if the kernel gave the socket the very port that it connects to on this host. Such a connect succeeds (RFC 9293 section
/// 3.5, a simultaneous open), and no server listens there.
pub fn refuse_itself(stream: Stream, address: SocketAddr) -> Result<Stream, Errno> {
    if address.port() >= LOWEST_OWN && stream.is_its_own_peer() {
        // A server could not bind the port while the kernel remembers the connection.
        stream.reset();
        return Err(Errno::CONNREFUSED);
    }
    Ok(stream)
}

/// Whether this host has an address of the family to connect from: without one, IPv6 gives `EADDRNOTAVAIL` as well. A
/// UDP socket needs the same address and none of TCP's ports.
fn has_source_for(address: SocketAddr) -> bool {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    socket.is_ok_and(|fd| net::connect(&fd, &address) != Err(Errno::ADDRNOTAVAIL))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// An error in the kernel's words, without the number that std appends.
#[must_use]
pub fn words(error: Errno) -> String {
    if error == NO_PORT {
        return "every local port for it is in use".to_owned();
    }
    let text = std::io::Error::from(error).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Whether an error means that this process or machine is short of something, and nothing about the peer.
#[must_use]
pub fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | NO_PORT)
}
