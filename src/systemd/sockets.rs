//! Listening sockets that systemd opened, and keeps open from one process to the next.
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketType};
use socket2::SockRef;

use super::store::PARCEL;
use crate::net::Listener;
use crate::vocabulary::{CONTROL_SOCKET, Role};

/// The passed sockets. They stay open while the process lives, because one reload may leave a socket unused and the
/// next use it again.
#[derive(Default)]
pub struct Inherited(Vec<Socket>);

struct Socket {
    fd: OwnedFd,
    /// Its FileDescriptorName=: that of a role, or of the route whose `listen` it serves.
    name: String,
    role: Role,
    bound: SocketAddr,
    /// Whether it accepts IPv4 and IPv6.
    takes_both: bool,
}

impl Inherited {
    /// The bound address of the socket that serves `address` in this role. A socket for both families serves either.
    #[must_use]
    pub fn serving(&self, address: SocketAddr, role: Role) -> Option<SocketAddr> {
        let fits = |socket: &&Socket| socket.role == role && socket.serves(address);
        self.0.iter().find(fits).map(|socket| socket.bound)
    }

    /// A listener on the socket that is bound to `address`.
    #[must_use]
    pub fn listener(&self, address: SocketAddr, role: Role) -> Option<io::Result<Listener<Role>>> {
        let socket = self.0.iter().find(|socket| (socket.bound, socket.role) == (address, role))?;
        Some(socket.fd.try_clone().and_then(|fd| Listener::inherit(fd, address, role)))
    }

    /// The address, role and name of each socket.
    pub fn sockets(&self) -> impl Iterator<Item = (SocketAddr, Role, &str)> {
        self.0.iter().map(|socket| (socket.bound, socket.role, &*socket.name))
    }
}

/// What systemd passed to the process.
#[derive(Default)]
pub struct Passed {
    /// Listening sockets, named after their roles, or after routes with their own `listen`.
    pub sockets: Inherited,
    /// The control socket.
    pub control: Option<UnixListener>,
    /// What previous processes stored, the last first; an error for what no process of this program stores.
    pub parcels: Vec<Result<OwnedFd, String>>,
}

/// Takes the listening sockets and the stored fds that systemd passed.
///
/// # Errors
/// A sentence about a socket that is not for TCP, does not listen or has no name, or about an environment that contradicts itself.
pub fn passed() -> Result<Passed, String> {
    let failed = |error| format!("LISTEN_FDS: {error}");
    let mut all = Passed::default();
    // Names without sockets were meant for another process, and came with the inherited environment.
    if sd_notify::listen_fds().map_err(failed)?.len() == 0 {
        return Ok(all);
    }
    let named = sd_notify::listen_fds_with_names().map_err(failed)?;
    let mut passed = ListenFd::from_env();
    for (index, (fd, name)) in named.enumerate() {
        let missing = || format!("LISTEN_FDS: fd {fd} is not there");
        if name == PARCEL {
            let (family, kind) = (AddressFamily::UNIX.as_raw(), SocketType::SEQPACKET.as_raw());
            let parcel = passed.take_custom(index, family.into(), kind.cast_signed(), "a parcel");
            // Whatever it is, it must not keep the process from its start.
            all.parcels.push(parcel.map_err(|error| error.to_string()).and_then(|parcel| parcel.ok_or_else(missing)));
            continue;
        }
        if name == CONTROL_SOCKET {
            let socket = passed.take_unix_listener(index);
            all.control =
                socket.map_err(|error| format!("LISTEN_FDS: the socket {name:?} is no unix socket: {error}"))?;
            continue;
        }
        let socket = passed.take_tcp_listener(index);
        let socket = socket.map_err(|error| format!("LISTEN_FDS: the socket {name:?} is not for TCP: {error}"))?;
        all.sockets.0.push(Socket::new(&name, socket.ok_or_else(missing)?)?);
    }
    Ok(all)
}

/// The bound address of a socket, whether it accepts IPv4 and IPv6, and whether it listens.
fn look(socket: &TcpListener) -> io::Result<(SocketAddr, bool, bool)> {
    let options = SockRef::from(socket);
    let bound = socket.local_addr()?;
    Ok((bound, bound.is_ipv6() && !options.only_v6()?, options.is_listener()?))
}

impl Socket {
    fn new(name: &str, socket: TcpListener) -> Result<Socket, String> {
        // Without FileDescriptorName= a socket has the name of its unit (systemd.socket(5)), or one of sd_listen_fds(3).
        if name.ends_with(".socket") || ["", "unknown", "connection"].contains(&name) {
            return Err(format!(
                "the service manager passes a socket named {name:?}; FileDescriptorName= must be https, http, admin, control, or the \
                 name of a route with a listen of its own"
            ));
        }
        let role = Role::ALL.into_iter().find(|role| role.socket_name() == name).unwrap_or(Role::Https);
        let (bound, takes_both, listens) =
            look(&socket).map_err(|error| format!("the socket {name:?} that the service manager passes: {error}"))?;
        if !listens {
            return Err(format!("the socket {name:?} at {bound} does not listen; Accept= must be no"));
        }
        Ok(Socket { fd: socket.into(), name: name.to_owned(), role, bound, takes_both })
    }

    fn serves(&self, address: SocketAddr) -> bool {
        let as_ipv6 = match address {
            SocketAddr::V4(v4) if *v4.ip() == Ipv4Addr::UNSPECIFIED => Ipv6Addr::UNSPECIFIED,
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
            SocketAddr::V6(v6) => *v6.ip(),
        };
        self.bound == address || self.takes_both && self.bound.port() == address.port() && self.bound.ip() == as_ipv6
    }
}
