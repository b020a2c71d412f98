//! The bytes that a relay holds, by the kernel's figures of its two sockets: right at any moment and for any relay,
//! whatever its bytes are.
//!
//! The bytes read from one socket are those that it received, less those that still wait in it (`SIOCINQ`). The bytes
//! written to the other are those that its peer acknowledged, and those that still wait in it (`SIOCOUTQ`). The
//! difference is in the relay, which must be stopped meanwhile by [`Proxy::halt`](super::proxy::Proxy::halt).
//!
//! The peers are not stopped. `ss` gives all four figures of a socket (`sock_diag(7)`), but the kernel reads the queues
//! first and the counters later, with the socket locked: bytes that arrive in between are in one figure and not in the
//! other. While the owner is stopped, each figure only grows or only shrinks, so figures that are equal in two readings
//! were valid all the time between.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Pid;

use super::origin::Origin;
use super::wait_until;

/// A socket's two ends, its own first.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// What the kernel knows of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    state: String,
    /// Bytes that wait for its owner, and bytes that its peer has not acknowledged.
    receive_queue: i64,
    send_queue: i64,
    /// Bytes that it has received, and bytes that its peer has acknowledged.
    received: i64,
    acked: i64,
}

/// Whether `ss` is there.
pub(crate) fn is_available() -> bool {
    Command::new("ss").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// The connections of a process that stands still. Those that it has closed may linger, and meet a new one of the same
/// client by its port.
pub(crate) fn sockets_of(process: Pid) -> HashMap<Ends, Socket> {
    let owner = format!("pid={process},");
    look_twice(|line| line.contains(&owner))
}

/// Connections that are in no process's hands: those of `clients` to `address`, and those to `origins`. Others may lie
/// in the backlog.
pub(crate) fn sockets_in_flight(
    address: SocketAddr,
    clients: &[SocketAddr],
    origins: &[&Origin],
) -> HashMap<Ends, Socket> {
    let is_of_them = |(own, peer): Ends| {
        own == address && clients.contains(&peer) || origins.iter().any(|origin| origin.address == peer)
    };
    look_twice(|line| !line.contains("users:(") && Socket::parse(line).is_some_and(|(ends, _)| is_of_them(ends)))
}

fn look_twice(is_wanted: impl Fn(&str) -> bool) -> HashMap<Ends, Socket> {
    let mut sockets = look(&is_wanted);
    wait_until("what the peers had on the way has come", || {
        let before = std::mem::replace(&mut sockets, look(&is_wanted));
        before == sockets
    });
    sockets
}

fn look(is_wanted: impl Fn(&str) -> bool) -> HashMap<Ends, Socket> {
    let options = ["--tcp", "--info", "--processes", "--numeric", "--oneline", "--no-header"];
    let output = Command::new("ss").args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| is_wanted(line)).filter_map(Socket::parse).collect()
}

/// What the relays from `address` to `origins` hold, by their clients.
pub(crate) fn held_by_relays(
    sockets: &HashMap<Ends, Socket>,
    address: SocketAddr,
    origins: &[&Origin],
) -> HashMap<SocketAddr, [i64; 2]> {
    // Ports come again: of visits from one port, the last is the one that may still be there.
    let (mut by_client, mut by_server) = (HashMap::new(), HashMap::new());
    for origin in origins {
        for seen in origin.seen() {
            if let Some(header) = seen.header
                && let Some(client) = header.source
            {
                let ends = [(address, client), (seen.peer, origin.address)];
                by_client.insert(client, (ends, header.raw.len()));
                by_server.insert(ends[1], client);
            }
        }
    }
    let is_last = |(client, (ends, _)): &(SocketAddr, ([Ends; 2], usize))| by_server[&ends[1]] == *client;
    let held_by = |(client, (ends, header)): (SocketAddr, ([Ends; 2], usize))| {
        let held = held(sockets.get(&ends[0])?, sockets.get(&ends[1])?, i64::try_from(header).unwrap());
        Some((client, held))
    };
    by_client.into_iter().filter(is_last).filter_map(held_by).collect()
}

/// What a relay holds of a connection whose client has the one socket and whose server has the other: bytes that go up,
/// and bytes that go down. The PROXY header, `header` bytes of the relay's own, went up first.
fn held(client: &Socket, server: &Socket, header: i64) -> [i64; 2] {
    // The SYN that its peer has acknowledged has a number too, and counts for a socket that has connected. That of a
    // socket that was accepted is not counted (`tcp_rcv_state_process` in the kernel).
    let server_written = server.written() - 1;
    [client.read() - (server_written - header), server.read() - client.written()]
}

impl Socket {
    fn parse(line: &str) -> Option<(Ends, Socket)> {
        let mut words = line.split_ascii_whitespace();
        let state = words.next()?;
        let [receive_queue, send_queue]: [i64; 2] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
        let ends = (address(words.next()?)?, address(words.next()?)?);
        let figures: Vec<&str> = words.collect();
        let figure = |name: &str| {
            let figure = figures.iter().find_map(|figure| figure.strip_prefix(name)?.strip_prefix(':'));
            figure.map_or(0, |figure| figure.parse::<i64>().unwrap())
        };
        let (received, acked) = (figure("bytes_received"), figure("bytes_acked"));
        let socket = Socket { state: state.to_owned(), receive_queue, send_queue, received, acked };
        (state == "ESTAB" || socket.fin_received() || socket.fin_sent()).then_some((ends, socket))
    }

    /// Bytes that its owner has read. A FIN has a number as a byte has; one that was received counts as read once
    /// nothing waits before it.
    fn read(&self) -> i64 {
        self.received - self.receive_queue - i64::from(self.fin_received() && self.receive_queue == 0)
    }

    /// Bytes that its owner has written.
    fn written(&self) -> i64 {
        self.acked + self.send_queue - i64::from(self.fin_sent())
    }

    fn fin_received(&self) -> bool {
        matches!(&*self.state, "CLOSE-WAIT" | "LAST-ACK" | "CLOSING")
    }

    fn fin_sent(&self) -> bool {
        matches!(&*self.state, "FIN-WAIT-1" | "FIN-WAIT-2" | "LAST-ACK" | "CLOSING")
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    // "127.0.0.1%lo:1" of a socket that is bound to a device.
    let (ip, port) = text.rsplit_once(':')?;
    let ip = ip.split('%').next()?.trim_matches(['[', ']']);
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}
