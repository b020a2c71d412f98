//! What a relay holds, by what the kernel knows of its two sockets: right at any moment, for any relay, without knowing what
//! goes through it.
//!
//! Bytes that were read from one socket are those that it has received less those that still wait in it (`SIOCINQ`); bytes
//! that were written to the other are those that its peer has acknowledged and those that still wait there (`SIOCOUTQ`). The
//! difference is in the relay. `ss` tells all four of a socket in one look (`sock_diag(7)`), but it looks at one socket after the
//! other: the relay has to stand still, as [`Proxy::halt`](super::proxy::Proxy::halt) has it.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Pid;

/// A socket's two ends, its own first.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// What the kernel knows of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    /// Bytes that its owner has read.
    read: i64,
    /// Bytes that its owner has written.
    written: i64,
}

/// Whether `ss` is there.
pub(crate) fn is_available() -> bool {
    Command::new("ss").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// The connections of a process. Those that it has closed may linger, and meet a new one of the same client by its port.
pub(crate) fn sockets_of(process: Pid) -> HashMap<Ends, Socket> {
    let options = ["--tcp", "--info", "--processes", "--numeric", "--oneline", "--no-header"];
    let output = Command::new("ss").args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let owner = format!("pid={process},");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.contains(&owner)).filter_map(Socket::parse).collect()
}

/// What a relay holds of a connection whose client has the one socket and whose server has the other: bytes that go up, and
/// bytes that go down. The PROXY header, `header` bytes of the relay's own, went up first.
pub(crate) fn held(client: &Socket, server: &Socket, header: i64) -> [i64; 2] {
    [client.read - (server.written - header), server.read - client.written]
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
        // A FIN has a number as a byte has. One that was received counts as read once nothing waits before it.
        let fin_received = matches!(state, "CLOSE-WAIT" | "LAST-ACK" | "CLOSING");
        let fin_sent = matches!(state, "FIN-WAIT-1" | "FIN-WAIT-2" | "LAST-ACK" | "CLOSING");
        let is_open = fin_received || fin_sent || state == "ESTAB";
        let read = figure("bytes_received") - receive_queue - i64::from(fin_received && receive_queue == 0);
        let written = figure("bytes_acked") + send_queue - i64::from(fin_sent);
        is_open.then_some((ends, Socket { read, written }))
    }

    /// The same for a socket that has connected: the SYN that its peer has acknowledged has a number too. That of a socket
    /// that was accepted is not counted (`tcp_rcv_state_process` in the kernel).
    pub(crate) fn that_connected(self) -> Socket {
        Socket { written: self.written - 1, ..self }
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    // "127.0.0.1%lo:1" of a socket that is bound to a device.
    let (ip, port) = text.rsplit_once(':')?;
    let ip = ip.split('%').next()?.trim_matches(['[', ']']);
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}
