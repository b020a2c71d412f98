//! Writes PROXY headers into the caller's buffer, so that the hello can follow in the same write.
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::read::next_tlv;
use super::{
    COMMAND_PROXY, FAMILY_TCP4, FAMILY_TCP6, MAX_RECEIVED, MAX_VALUE, SIGNATURE, TLV_ALPN, TLV_AUTHORITY, TLV_CRC32C,
    TLV_NOOP, TLV_UNIQUE_ID, Tlvs, V2_FIXED,
};

/// The longest header that is written: version 2, IPv6, every TLV of its own, and the most that can have been received.
pub const MAX_LEN: usize = V2_FIXED + 36 + 2 * (3 + MAX_VALUE) + (3 + 16) + (3 + 4) + MAX_RECEIVED;

/// The whole header of a probe: version 2, LOCAL, UNSPEC, length 0.
pub const LOCAL: [u8; V2_FIXED] = *b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Writes a version 2 header for a client at `source` that connected to `destination`.
///
/// IPv4 if both are, v4-mapped or not; else IPv6, with an IPv4 address mapped.
pub fn v2<'b>(buf: &'b mut [u8; MAX_LEN], source: SocketAddr, destination: SocketAddr, tlvs: &Tlvs<'_>) -> &'b [u8] {
    let mut out = Output { rest: buf };
    out.put(&SIGNATURE);
    match Addresses::of(source, destination) {
        Addresses::V4(source, destination) => {
            out.put(&[COMMAND_PROXY, FAMILY_TCP4, 0, 0]);
            out.put(&source.octets());
            out.put(&destination.octets());
        }
        Addresses::V6(source, destination) => {
            out.put(&[COMMAND_PROXY, FAMILY_TCP6, 0, 0]);
            out.put(&source.octets());
            out.put(&destination.octets());
        }
    }
    out.put(&source.port().to_be_bytes());
    out.put(&destination.port().to_be_bytes());
    for (kind, value) in [(TLV_AUTHORITY, tlvs.authority), (TLV_ALPN, tlvs.alpn)] {
        if let Some(value) = value.filter(|value| value.len() <= MAX_VALUE) {
            out.put_tlv(kind, value);
        }
    }
    if let Some(id) = tlvs.unique_id {
        out.put_tlv(TLV_UNIQUE_ID, &id);
    }
    let mut received = tlvs.received;
    while let Some((kind, value)) = next_tlv(&mut received) {
        let is_replaced = match kind {
            TLV_AUTHORITY => tlvs.authority.is_some(),
            TLV_ALPN => tlvs.alpn.is_some(),
            TLV_UNIQUE_ID => tlvs.unique_id.is_some(),
            TLV_CRC32C | TLV_NOOP => true,
            _ => false,
        };
        if !is_replaced {
            out.put_tlv(kind, value);
        }
    }
    if tlvs.crc32c {
        out.put_tlv(TLV_CRC32C, &[0; 4]);
    }
    let len = MAX_LEN - out.rest.len();
    set(buf, V2_FIXED - 2, ((len - V2_FIXED) as u16).to_be_bytes());
    if tlvs.crc32c {
        // Section 2.2.3: the checksum is computed with its own field zero.
        let sum = crc32c::crc32c(buf.get(..len).unwrap_or_default());
        set(buf, len - 4, sum.to_be_bytes());
    }
    buf.get(..len).unwrap_or_default()
}

/// Writes a version 1 header, with addresses as in version 2.
pub fn v1(buf: &mut [u8; MAX_LEN], source: SocketAddr, destination: SocketAddr) -> &[u8] {
    let mut out = Output { rest: buf };
    let ports = (source.port(), destination.port());
    // Neither line is longer than `V1_MAX_LEN`, so it fits.
    let _ = match Addresses::of(source, destination) {
        Addresses::V4(source, destination) => {
            write!(out, "PROXY TCP4 {source} {destination} {} {}\r\n", ports.0, ports.1)
        }
        Addresses::V6(source, destination) => {
            write!(out, "PROXY TCP6 {} {} {} {}\r\n", Hex(source), Hex(destination), ports.0, ports.1)
        }
    };
    let len = MAX_LEN - out.rest.len();
    buf.get(..len).unwrap_or_default()
}

/// Two addresses of one family, as a header has.
enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Addresses {
    fn of(source: SocketAddr, destination: SocketAddr) -> Addresses {
        match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Addresses::V4(source, destination),
            (source, destination) => Addresses::V6(to_v6(source), to_v6(destination)),
        }
    }
}

fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Section 2.1 allows only hex digits and colons; `Ipv6Addr` prints a v4-mapped address with dots.
struct Hex(Ipv6Addr);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] => write!(f, "::ffff:{high:x}:{low:x}"),
            _ => self.0.fmt(f),
        }
    }
}

fn set<const N: usize>(buf: &mut [u8; MAX_LEN], at: usize, bytes: [u8; N]) {
    if let Some(room) = buf.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *room = bytes;
    }
}

/// The part of a buffer that is not written yet.
struct Output<'b> {
    rest: &'b mut [u8],
}

impl Output<'_> {
    /// Never cuts off: `MAX_LEN` has room for every header whose received TLVs fit in [`super::MAX_READ`].
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.rest.split_off_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    fn put_tlv(&mut self, kind: u8, value: &[u8]) {
        let [high, low] = (value.len() as u16).to_be_bytes();
        self.put(&[kind, high, low]);
        self.put(value);
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}
