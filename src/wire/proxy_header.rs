//! The PROXY header, versions 1 and 2: how a server behind the proxy learns the client's address.
//!
//! haproxy.org's `proxy-protocol.txt`, sections 2.1 and 2.2. Written into a buffer of the caller's, so that it can lie right
//! before the hello; read by whatever plays a server: the demo, tests, benchmarks.
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bytes::{take, u16, vec16};

#[cfg(test)]
mod tests;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;
/// Version 2 in the high half; the command in the low one.
const COMMAND_LOCAL: u8 = 0x20;
const COMMAND_PROXY: u8 = 0x21;
const FAMILY_UNSPEC: u8 = 0x00;
const FAMILY_TCP4: u8 = 0x11;
const FAMILY_TCP6: u8 = 0x21;
const TLV_ALPN: u8 = 0x01;
const TLV_AUTHORITY: u8 = 0x02;
const TLV_CRC32C: u8 = 0x03;
const TLV_UNIQUE_ID: u8 = 0x05;
/// The longest value of a TLV that is written.
const MAX_VALUE: usize = 255;

const V1_PREFIX: &[u8] = b"PROXY ";
/// Section 2.1: the longest line, its CR LF included.
const V1_MAX_LEN: usize = 107;

/// The longest header that is written: version 2, IPv6, with all TLVs.
pub const MAX_LEN: usize = V2_FIXED + 36 + 2 * (3 + MAX_VALUE) + (3 + 16) + (3 + 4);

/// The whole header of a connection that is the proxy's own, a probe: version 2, LOCAL, UNSPEC, length 0.
pub const LOCAL: [u8; V2_FIXED] = *b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// What a version 2 header says beyond addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    /// `PP2_TYPE_AUTHORITY`, the SNI. Not written when longer than 255 bytes, which no hello's is.
    pub authority: Option<&'a [u8]>,
    /// `PP2_TYPE_ALPN`, one protocol. Not written when longer than 255 bytes, which no hello's is.
    pub alpn: Option<&'a [u8]>,
    /// `PP2_TYPE_UNIQUE_ID`.
    pub unique_id: Option<[u8; 16]>,
    /// `PP2_TYPE_CRC32C`, a checksum over the whole header; once read, that there was one, and right.
    pub crc32c: bool,
}

/// Writes a version 2 header for a client at `source` that came to `destination`.
///
/// IPv4 when both are, v4-mapped or not, else IPv6 with the IPv4 one mapped.
pub fn v2<'b>(buf: &'b mut [u8; MAX_LEN], source: SocketAddr, destination: SocketAddr, tlvs: &Tlvs<'_>) -> &'b [u8] {
    let mut out = Output { buf, len: 0 };
    out.put(&SIGNATURE);
    let addresses = Addresses::of(source, destination);
    out.put(&[COMMAND_PROXY, if matches!(addresses, Addresses::V4(..)) { FAMILY_TCP4 } else { FAMILY_TCP6 }]);
    let length_at = out.len;
    out.put(&[0, 0]);
    match addresses {
        Addresses::V4(source, destination) => [source, destination].iter().for_each(|ip| out.put(&ip.octets())),
        Addresses::V6(source, destination) => [source, destination].iter().for_each(|ip| out.put(&ip.octets())),
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
    if tlvs.crc32c {
        out.put_tlv(TLV_CRC32C, &[0; 4]);
    }
    out.set(length_at, &((out.len - V2_FIXED) as u16).to_be_bytes());
    if tlvs.crc32c {
        // Section 2.2.3: computed with the field itself zero.
        out.set(out.len - 4, &crc32c::crc32c(out.written()).to_be_bytes());
    }
    out.done()
}

/// Writes a version 1 header, with addresses as in version 2.
pub fn v1(buf: &mut [u8; MAX_LEN], source: SocketAddr, destination: SocketAddr) -> &[u8] {
    let mut out = Output { buf, len: 0 };
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
    out.done()
}

/// Two addresses of one family, which is all that a header can hold.
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

/// Section 2.1 knows hex digits and colons only, where `Ipv6Addr` writes a v4-mapped address with dots.
struct Hex(Ipv6Addr);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] => write!(f, "::ffff:{high:x}:{low:x}"),
            _ => self.0.fmt(f),
        }
    }
}

/// The part of a buffer that is written.
struct Output<'b> {
    buf: &'b mut [u8; MAX_LEN],
    len: usize,
}

impl<'b> Output<'b> {
    fn put(&mut self, bytes: &[u8]) {
        self.set(self.len, bytes);
        self.len += bytes.len();
    }

    fn put_tlv(&mut self, kind: u8, value: &[u8]) {
        self.put(&[kind]);
        self.put(&(value.len() as u16).to_be_bytes());
        self.put(value);
    }

    /// `MAX_LEN` makes room for every header, so nothing is ever left out.
    fn set(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.buf.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    fn done(self) -> &'b [u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// What the first bytes that a server got amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Nothing is wrong yet, and more bytes are needed.
    Incomplete,
    /// The first bytes are not those of a PROXY header.
    NotProxy,
    /// A PROXY header that is broken, or for something else than TCP; a sentence.
    Malformed(&'static str),
    /// A whole header.
    Header {
        /// What it says.
        header: Header<'a>,
        /// How many bytes it takes up; the client's own follow.
        len: usize,
    },
}

/// What a PROXY header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// The connection is the proxy's own.
    Local,
    /// Somebody's, with no address: UNKNOWN of version 1, UNSPEC of version 2.
    Unknown,
    /// A client's.
    Client {
        /// Where the client is.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
        /// What else is said about it.
        tlvs: Tlvs<'a>,
    },
}

/// Reads a header of either version from the front of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let starts = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(got, wanted)| got == wanted);
    let parsed = if starts(&SIGNATURE) {
        parse_v2(bytes)
    } else if starts(V1_PREFIX) {
        parse_v1(bytes)
    } else {
        return Parsed::NotProxy;
    };
    match parsed {
        Ok(Some((header, len))) => Parsed::Header { header, len },
        Ok(None) => Parsed::Incomplete,
        Err(why) => Parsed::Malformed(why),
    }
}

/// A header and its length; `None` when bytes are missing.
type Found<'a> = Result<Option<(Header<'a>, usize)>, &'static str>;

fn parse_v2(bytes: &[u8]) -> Found<'_> {
    let Some((&[command, family, high, low], rest)) = bytes.get(SIGNATURE.len()..).and_then(<[u8]>::split_first_chunk)
    else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let (Some(whole), Some(mut body)) = (bytes.get(..V2_FIXED + len), rest.get(..len)) else {
        return Ok(None);
    };
    let header = match (command, family) {
        (COMMAND_LOCAL, _) => Header::Local,
        (COMMAND_PROXY, FAMILY_UNSPEC) => Header::Unknown,
        (COMMAND_PROXY, FAMILY_TCP4 | FAMILY_TCP6) => {
            let (source, destination) = addresses(&mut body, family).ok_or("the addresses are cut off")?;
            Header::Client { source, destination, tlvs: parse_tlvs(whole, body)? }
        }
        (COMMAND_PROXY, _) => return Err("the header is for something else than TCP"),
        _ => return Err("the version or command is unknown"),
    };
    Ok(Some((header, whole.len())))
}

fn addresses(body: &mut &[u8], family: u8) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination): (IpAddr, IpAddr) = if family == FAMILY_TCP4 {
        (ip::<4>(body)?.into(), ip::<4>(body)?.into())
    } else {
        (ip::<16>(body)?.into(), ip::<16>(body)?.into())
    };
    Some((SocketAddr::new(source, u16(body)?), SocketAddr::new(destination, u16(body)?)))
}

fn ip<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    take(body, N)?.try_into().ok()
}

/// The TLVs in `rest`, the end of the header `whole`.
fn parse_tlvs<'a>(whole: &[u8], mut rest: &'a [u8]) -> Result<Tlvs<'a>, &'static str> {
    let mut tlvs = Tlvs::default();
    while let Some(kind) = rest.split_off_first() {
        let value = vec16(&mut rest).ok_or("a TLV is longer than the header")?;
        match *kind {
            TLV_AUTHORITY => tlvs.authority = Some(value),
            TLV_ALPN => tlvs.alpn = Some(value),
            TLV_UNIQUE_ID => tlvs.unique_id = Some(value.try_into().map_err(|_| "the unique id is not 16 bytes long")?),
            TLV_CRC32C if is_checksum(value, whole, rest.len()) => tlvs.crc32c = true,
            TLV_CRC32C => return Err("the checksum is wrong"),
            _ => {}
        }
    }
    Ok(tlvs)
}

/// Whether `value` is the CRC32C of `whole`, in which it lies before the last `after` bytes and counts as zero.
fn is_checksum(value: &[u8], whole: &[u8], after: usize) -> bool {
    let Some((before, after)) = whole.split_at_checked(whole.len() - after) else { return false };
    let before = before.strip_suffix(value).unwrap_or_default();
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after);
    value == sum.to_be_bytes()
}

fn parse_v1(bytes: &[u8]) -> Found<'_> {
    let line = bytes.get(..V1_MAX_LEN).unwrap_or(bytes);
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX_LEN { Ok(None) } else { Err("the line is longer than 107 bytes") };
    };
    let line = line.get(..end).and_then(|line| str::from_utf8(line).ok()).ok_or("the line is not text")?;
    let mut words = line.split(' ');
    let header = match (words.next(), words.next()) {
        (_, Some("UNKNOWN")) => Header::Unknown,
        (_, Some("TCP4")) => client::<Ipv4Addr>(words).ok_or("an address or port is malformed")?,
        (_, Some("TCP6")) => client::<Ipv6Addr>(words).ok_or("an address or port is malformed")?,
        _ => return Err("the header is for something else than TCP"),
    };
    Ok(Some((header, end + 2)))
}

fn client<'a, Ip: std::str::FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'a str>) -> Option<Header<'a>> {
    let source: Ip = words.next()?.parse().ok()?;
    let destination: Ip = words.next()?.parse().ok()?;
    let ports = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| Header::Client {
        source: SocketAddr::new(source.into(), ports.0),
        destination: SocketAddr::new(destination.into(), ports.1),
        tlvs: Tlvs::default(),
    })
}

/// Section 2.1: digits without a leading zero, where `parse` would take `+80` and `080`.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| plain)
}
