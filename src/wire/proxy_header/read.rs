//! Reads a PROXY header from a connection's first bytes.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::bytes::{take, u16, vec16};
use super::{
    COMMAND_LOCAL, COMMAND_PROXY, FAMILY_TCP4, FAMILY_TCP6, FAMILY_UNSPEC, MAX_READ, MAX_UNIQUE_ID, MAX_VALUE,
    SIGNATURE, TLV_ALPN, TLV_AUTHORITY, TLV_CRC32C, TLV_UNIQUE_ID, Tlvs, V1_MAX_LEN, V1_PREFIX, V2_FIXED,
};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Nothing is wrong yet, and more bytes are needed.
    Incomplete,
    /// The first bytes are not those of a PROXY header.
    NotProxy,
    /// A PROXY header that is malformed, or not for TCP; a sentence.
    Malformed(&'static str),
    /// A whole header.
    Header {
        /// What the header says.
        header: Header<'a>,
        /// Its length in bytes; the client's own bytes follow.
        len: usize,
    },
}

/// What a PROXY header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// The connection is the balancer's own, such as a health check.
    Local,
    /// A client's, without its address: UNKNOWN of version 1, UNSPEC of version 2.
    Unknown,
    /// A client's.
    Client {
        /// Where the client is.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
        /// The header's TLVs.
        tlvs: Tlvs<'a>,
    },
}

/// Whether `bytes` begin a header of either version; false while too few have come to tell.
#[must_use]
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE) || bytes.starts_with(V1_PREFIX)
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

/// A header and its length; `None` if bytes are missing.
type Found<'a> = Result<Option<(Header<'a>, usize)>, &'static str>;

fn parse_v2(bytes: &[u8]) -> Found<'_> {
    let Some((&[command, family, high, low], rest)) = bytes.get(SIGNATURE.len()..).and_then(<[u8]>::split_first_chunk)
    else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // An error in the first 16 bytes is reported without waiting for the rest.
    let shortest = match (command, family) {
        (COMMAND_LOCAL, _) | (COMMAND_PROXY, FAMILY_UNSPEC) => 0,
        (COMMAND_PROXY, FAMILY_TCP4) => 12,
        (COMMAND_PROXY, FAMILY_TCP6) => 36,
        (COMMAND_PROXY, _) => return Err("the PROXY header is for something else than TCP"),
        _ => return Err("the version or command of the PROXY header is unknown"),
    };
    if len < shortest {
        return Err("the addresses in the PROXY header are cut off");
    }
    if len > MAX_READ - V2_FIXED {
        return Err("the PROXY header is too long");
    }
    let (Some(whole), Some(mut body)) = (bytes.get(..V2_FIXED + len), rest.get(..len)) else {
        return Ok(None);
    };
    let header = match (command, addresses(&mut body, family)) {
        (COMMAND_PROXY, Some((source, destination))) => {
            Header::Client { source, destination, tlvs: parse_tlvs(whole, body)? }
        }
        (COMMAND_PROXY, None) => Header::Unknown,
        _ => Header::Local,
    };
    Ok(Some((header, whole.len())))
}

fn addresses(body: &mut &[u8], family: u8) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination): (IpAddr, IpAddr) = match family {
        FAMILY_TCP4 => (ip::<4>(body)?.into(), ip::<4>(body)?.into()),
        FAMILY_TCP6 => (ip::<16>(body)?.into(), ip::<16>(body)?.into()),
        _ => return None,
    };
    Some((SocketAddr::new(source, u16(body)?), SocketAddr::new(destination, u16(body)?)))
}

fn ip<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    take(body, N)?.try_into().ok()
}

/// Type and value of the next TLV; `None` at the end, and for a TLV that is cut off.
pub(super) fn next_tlv<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let kind = *rest.split_off_first()?;
    Some((kind, vec16(rest)?))
}

/// The TLVs in `rest`, the end of the header `whole`.
fn parse_tlvs<'a>(whole: &[u8], mut rest: &'a [u8]) -> Result<Tlvs<'a>, &'static str> {
    let mut tlvs = Tlvs { received: rest, ..Tlvs::default() };
    while !rest.is_empty() {
        let (kind, value) = next_tlv(&mut rest).ok_or("a TLV is longer than the PROXY header")?;
        match kind {
            TLV_AUTHORITY if value.len() > MAX_VALUE => return Err("the authority in the PROXY header is too long"),
            TLV_AUTHORITY => tlvs.authority = Some(value),
            TLV_ALPN => tlvs.alpn = Some(value),
            TLV_UNIQUE_ID if value.len() > MAX_UNIQUE_ID => {
                return Err("the unique id in the PROXY header is too long");
            }
            TLV_UNIQUE_ID => tlvs.unique_id = value.try_into().ok(),
            TLV_CRC32C if is_checksum(value, whole, rest.len()) => tlvs.crc32c = true,
            TLV_CRC32C => return Err("the checksum of the PROXY header is wrong"),
            _ => {}
        }
    }
    Ok(tlvs)
}

/// Whether `value` is the CRC32C of `whole`, computed with the value itself zero. It ends `after` bytes before the end
/// of `whole`.
fn is_checksum(value: &[u8], whole: &[u8], after: usize) -> bool {
    let Some((before, after)) = whole.split_at_checked(whole.len() - after) else { return false };
    let before = before.strip_suffix(value).unwrap_or_default();
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after);
    value == sum.to_be_bytes()
}

fn parse_v1(bytes: &[u8]) -> Found<'_> {
    let line = bytes.get(..V1_MAX_LEN).unwrap_or(bytes);
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX_LEN { Ok(None) } else { Err("the PROXY header is too long") };
    };
    let line = line.get(..end).and_then(|line| str::from_utf8(line).ok()).ok_or("the PROXY header is not text")?;
    let mut words = line.split(' ');
    let header = match (words.next(), words.next()) {
        (_, Some("UNKNOWN")) => Header::Unknown,
        (_, Some("TCP4")) => client::<Ipv4Addr>(words).ok_or("an address or port in the PROXY header is malformed")?,
        (_, Some("TCP6")) => client::<Ipv6Addr>(words).ok_or("an address or port in the PROXY header is malformed")?,
        _ => return Err("the PROXY header is for something else than TCP"),
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

/// Section 2.1: digits without a leading zero. `parse` would accept `+80` and `080`.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| plain)
}
