//! PROXY headers as servers receive them.
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;

use fiscalismia_lb::wire::proxy_header::{self, Parsed};

/// What a header said, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Header {
    /// The client; `None` when the connection is the proxy's own.
    pub(crate) source: Option<SocketAddr>,
    /// Where the client connected to.
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) authority: Option<String>,
    pub(crate) alpn: Option<String>,
    pub(crate) unique_id: Option<[u8; 16]>,
    pub(crate) crc32c: bool,
    /// The bytes themselves.
    pub(crate) raw: Vec<u8>,
}

/// Reads a header and not a byte more.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Header> {
    let mut raw = Vec::new();
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        raw.extend(byte);
        match proxy_header::parse(&raw) {
            Parsed::Incomplete => {}
            Parsed::Header { header, .. } => return Ok(Header { raw: raw.clone(), ..owned(&header) }),
            other => return Err(io::Error::new(ErrorKind::InvalidData, format!("{other:?}: {raw:x?}"))),
        }
    }
}

fn owned(header: &proxy_header::Header<'_>) -> Header {
    let proxy_header::Header::Client { source, destination, tlvs } = header else { return Header::default() };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Header {
        source: Some(*source),
        destination: Some(*destination),
        authority: tlvs.authority.map(text),
        alpn: tlvs.alpn.map(text),
        unique_id: tlvs.unique_id,
        crc32c: tlvs.crc32c,
        raw: Vec::new(),
    }
}
