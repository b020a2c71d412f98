//! The PROXY header, versions 1 and 2, which tells a server behind a proxy the client's address.
//!
//! haproxy.org's `proxy-protocol.txt`, sections 2.1 and 2.2. Written to servers, and read from balancers in front.
mod read;
#[cfg(test)]
mod strictness;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Header, Parsed, begins, parse};
pub use write::{LOCAL, MAX_LEN, v1, v2};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Length of signature, version and command, family, and length field.
const V2_FIXED: usize = 16;
/// Version 2 in the high half, the command in the low one.
const COMMAND_LOCAL: u8 = 0x20;
const COMMAND_PROXY: u8 = 0x21;
const FAMILY_UNSPEC: u8 = 0x00;
const FAMILY_TCP4: u8 = 0x11;
const FAMILY_TCP6: u8 = 0x21;
const TLV_ALPN: u8 = 0x01;
const TLV_AUTHORITY: u8 = 0x02;
const TLV_CRC32C: u8 = 0x03;
const TLV_NOOP: u8 = 0x04;
const TLV_UNIQUE_ID: u8 = 0x05;
/// The longest authority that HAProxy accepts, and the longest ALPN protocol that a hello can offer.
const MAX_VALUE: usize = 255;
/// Section 2.2.5: the longest unique id.
const MAX_UNIQUE_ID: usize = 128;

const V1_PREFIX: &[u8] = b"PROXY ";
/// Section 2.1: the longest line, its CR LF included.
const V1_MAX_LEN: usize = 107;

/// The longest header that is accepted. With it the header that is written stays below nginx's limit of 4096 bytes.
pub const MAX_READ: usize = 2048;
/// The most bytes of TLVs that such a header can have.
const MAX_RECEIVED: usize = MAX_READ - V2_FIXED - 12;

/// What a version 2 header says beyond addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    /// `PP2_TYPE_AUTHORITY`, the SNI. A value over 255 bytes is not written; no hello has one.
    pub authority: Option<&'a [u8]>,
    /// `PP2_TYPE_ALPN`, one protocol. A value over 255 bytes is not written; no hello has one.
    pub alpn: Option<&'a [u8]>,
    /// `PP2_TYPE_UNIQUE_ID`. An id of another length is read as none.
    pub unique_id: Option<[u8; 16]>,
    /// `PP2_TYPE_CRC32C`, a checksum over the whole header. In a header that was read: whether it had a checksum, which
    /// was right.
    pub crc32c: bool,
    /// Every TLV as received. Those that a field above replaces are not written again, nor are checksum and padding,
    /// which belong to the header they came in.
    pub received: &'a [u8],
}
