//! Captures packets with a packet socket, packet(7). Needs a namespace of the test's own.
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// Sees every packet that comes or goes through the namespace's devices from its start on.
pub(crate) struct Capture(Socket);

/// A TCP segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    flags: u8,
}

/// `ETH_P_ALL` of packet(7).
const EVERY_PROTOCOL: u16 = 3;
const TCP: u8 = 6;
/// RFC 9293 section 3.1.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

impl Capture {
    pub(crate) fn start() -> Capture {
        let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
        // With DGRAM a packet begins with its IP header.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Capture(socket)
    }

    /// The segments since the last call.
    pub(crate) fn segments(&mut self) -> Vec<Segment> {
        let (mut packet, mut segments) = (vec![0; 65_536], Vec::new());
        while let Ok(n) = self.0.read(&mut packet) {
            segments.extend(Segment::of(&packet[..n]));
        }
        segments
    }
}

impl Segment {
    fn of(packet: &[u8]) -> Option<Segment> {
        let (from, to, tcp): (IpAddr, IpAddr, &[u8]) = match packet[0] >> 4 {
            4 if packet[9] == TCP => {
                let ip = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap();
                (ip(12).into(), ip(16).into(), &packet[usize::from(packet[0] & 0xf) * 4..])
            }
            6 if packet[6] == TCP => {
                let ip = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap();
                (ip(8).into(), ip(24).into(), &packet[40..])
            }
            _ => return None,
        };
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let (source, destination) = (SocketAddr::new(from, port(0)), SocketAddr::new(to, port(2)));
        Some(Segment { source, destination, flags: tcp[13] })
    }

    pub(crate) fn begins(&self) -> bool {
        self.flags & SYN != 0
    }

    /// FIN or RST.
    pub(crate) fn ends(&self) -> bool {
        self.flags & (FIN | RST) != 0
    }
}
