//! Reads a `ClientHello`, however its bytes are split over segments and records.
//!
//! RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 7301 section 3.1. A hello within one record is read in
//! place; a hello split over records is joined in a [`Reader`].
use std::iter;

use tls_parser::{
    SNIType, TlsExtensionType, TlsHandshakeType, TlsRecordType, parse_tls_extension_sni_hostname,
    parse_tls_record_header,
};

use super::bytes::{take, u16, vec8, vec16};

#[cfg(test)]
mod tests;

/// The longest hello that is accepted, in bytes of handshake with its four-byte header.
pub const MAX_HANDSHAKE: usize = 32 * 1024;

/// The most bytes that a hello may take with the headers of its records: 16 KiB of handshake in records of one byte.
pub const MAX_RAW: usize = 96 * 1024;

/// RFC 8446 section 5.1: the longest plaintext record.
const MAX_PLAINTEXT: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
/// RFC 1035 section 2.3.4, as text without the trailing dot.
const MAX_NAME: usize = 253;

/// What the bytes received so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Nothing is wrong yet, and more bytes are needed.
    Incomplete,
    /// The first bytes are not those of a TLS handshake record.
    NotTls,
    /// TLS, but malformed or too large; a sentence for the log.
    Malformed(&'static str),
    /// A whole hello.
    Hello(Hello<'a>),
}

/// What routing needs of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The host name as the client sent it: 1 to 253 ASCII bytes and perhaps a trailing dot, no NUL, any case.
    ///
    /// An IP address is accepted, although RFC 6066 forbids clients to send one. It matches no name, only `*`.
    pub sni: Option<&'a [u8]>,
    /// Bytes of handshake, header included.
    pub len: usize,
    /// The checked list of `ProtocolName`, each with its length in front.
    alpn: &'a [u8],
}

impl<'a> Hello<'a> {
    /// The protocols that the client offers, in its order.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = self.alpn;
        iter::from_fn(move || vec8(&mut rest))
    }

    /// The same list as received, each protocol behind one byte of length.
    #[must_use]
    pub fn alpn_list(&self) -> &'a [u8] {
        self.alpn
    }

    fn parse(message: &'a [u8]) -> Result<Hello<'a>, &'static str> {
        let mut rest = message.get(HANDSHAKE_HEADER..).unwrap_or_default();
        take(&mut rest, 2 + 32).ok_or("the hello ends within its version and random")?;
        vec8(&mut rest).filter(|id| id.len() <= 32).ok_or("the hello's session id is malformed")?;
        vec16(&mut rest)
            .filter(|suites| !suites.is_empty() && suites.len() % 2 == 0)
            .ok_or("the hello's cipher suites are malformed")?;
        vec8(&mut rest).filter(|methods| !methods.is_empty()).ok_or("the hello's compression methods are malformed")?;
        if rest.is_empty() {
            return Ok(Hello { sni: None, len: message.len(), alpn: &[] });
        }
        let extensions = vec16(&mut rest).ok_or("the hello's extensions are longer than the hello")?;
        if !rest.is_empty() {
            return Err("bytes follow the hello's extensions");
        }
        let (sni, alpn) = Hello::read_extensions(extensions)?;
        Ok(Hello { sni, len: message.len(), alpn })
    }

    /// SNI and ALPN.
    fn read_extensions(mut rest: &'a [u8]) -> Result<(Option<&'a [u8]>, &'a [u8]), &'static str> {
        let (mut sni, mut alpn) = (None, None);
        while !rest.is_empty() {
            let kind = u16(&mut rest).ok_or("an extension's type is cut off")?;
            let body = vec16(&mut rest).ok_or("an extension is longer than what holds it")?;
            match TlsExtensionType(kind) {
                TlsExtensionType::ServerName => {
                    set_once(&mut sni, host_name(body)?).ok_or("the hello has two server_name extensions")?;
                }
                TlsExtensionType::ApplicationLayerProtocolNegotiation => {
                    set_once(&mut alpn, protocols(body)?).ok_or("the hello has two ALPN extensions")?;
                }
                _ => {}
            }
        }
        Ok((sni, alpn.unwrap_or_default()))
    }
}

/// Keeps how far the records were walked, so that each drip-fed byte is looked at once.
///
/// The records of a hello are copied only once all of them have come, so an unfinished hello is in memory once.
#[derive(Debug, Default)]
pub struct Reader {
    /// Raw bytes of the whole records that were walked.
    taken: usize,
    /// Bytes of handshake in those records.
    carried: usize,
    /// The first of those bytes: the message's type and length.
    head: [u8; HANDSHAKE_HEADER],
    /// The whole message.
    handshake: Vec<u8>,
}

impl Reader {
    /// Judges `raw`: all bytes received from the client so far. Each call repeats those of the last at the front.
    ///
    /// A hello ends with its last record: that record must be whole. Bytes after the hello (0-RTT) are ignored. Called
    /// again after a verdict, it gives the same one.
    pub fn read<'a>(&'a mut self, raw: &'a [u8]) -> Verdict<'a> {
        if raw.iter().zip([u8::from(TlsRecordType::Handshake), 0x03]).any(|(got, wanted)| *got != wanted) {
            return Verdict::NotTls;
        }
        match self.message(raw) {
            Ok(message) => Hello::parse(message).map_or_else(Verdict::Malformed, Verdict::Hello),
            Err(verdict) => verdict,
        }
    }

    /// The whole handshake message, within `raw` or joined from its records.
    fn message<'a>(&'a mut self, raw: &'a [u8]) -> Result<&'a [u8], Verdict<'static>> {
        if self.taken == 0 {
            let record = Record::first(raw)?;
            if let Some(end) = message_end(record.payload)?
                && end <= record.len
            {
                return record.whole()?.get(..end).ok_or(Verdict::Incomplete);
            }
        }
        let end = loop {
            if let Some(end) = message_end(self.head.get(..self.carried).unwrap_or(&self.head))?
                && end <= self.carried
            {
                break end;
            }
            self.take_record(raw)?;
        };
        if self.handshake.is_empty() {
            self.handshake.reserve_exact(self.carried);
            let mut rest = raw.get(..self.taken).unwrap_or_default();
            while !rest.is_empty() {
                let record = Record::first(rest)?;
                self.handshake.extend_from_slice(record.whole()?);
                rest = rest.get(RECORD_HEADER + record.len..).unwrap_or_default();
            }
        }
        self.handshake.get(..end).ok_or(Verdict::Incomplete)
    }

    fn take_record(&mut self, raw: &[u8]) -> Result<(), Verdict<'static>> {
        let record = Record::first(raw.get(self.taken..).unwrap_or_default())?;
        let end = self.taken + RECORD_HEADER + record.len;
        if end > MAX_RAW {
            return Err(Verdict::Malformed("the hello is spread over too many records"));
        }
        let payload = record.whole()?;
        for (place, byte) in self.head.iter_mut().skip(self.carried).zip(payload) {
            *place = *byte;
        }
        self.carried += payload.len();
        self.taken = end;
        Ok(())
    }
}

/// A handshake record. Its payload may be incomplete.
struct Record<'a> {
    /// The length in its header.
    len: usize,
    /// The part of its payload that has come.
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    fn first(bytes: &'a [u8]) -> Result<Record<'a>, Verdict<'static>> {
        let (rest, header) = parse_tls_record_header(bytes).map_err(|_| Verdict::Incomplete)?;
        let len = usize::from(header.len);
        if header.record_type != TlsRecordType::Handshake {
            return Err(Verdict::Malformed("a record that is no handshake comes before the hello is whole"));
        }
        // RFC 8446 section 5.1 forbids empty handshake records: they would be work without progress.
        if len == 0 {
            return Err(Verdict::Malformed("a handshake record is empty"));
        }
        if len > MAX_PLAINTEXT {
            return Err(Verdict::Malformed("a record is longer than TLS allows"));
        }
        Ok(Record { len, payload: rest.get(..len).unwrap_or(rest) })
    }

    fn whole(&self) -> Result<&'a [u8], Verdict<'static>> {
        if self.payload.len() < self.len { Err(Verdict::Incomplete) } else { Ok(self.payload) }
    }
}

/// Where the first message of `handshake` ends, once its header is there.
fn message_end(handshake: &[u8]) -> Result<Option<usize>, Verdict<'static>> {
    match *handshake {
        [kind, ..] if TlsHandshakeType(kind) != TlsHandshakeType::ClientHello => {
            Err(Verdict::Malformed("the first handshake message is not a ClientHello"))
        }
        [_, a, b, c, ..] => match HANDSHAKE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize {
            end if end <= MAX_HANDSHAKE => Ok(Some(end)),
            _ => Err(Verdict::Malformed("the hello is longer than any client sends")),
        },
        _ => Ok(None),
    }
}

/// The one `host_name` of a `server_name` extension. Names of other types are skipped, as RFC 6066 gives each a length.
fn host_name(body: &[u8]) -> Result<&[u8], &'static str> {
    const MALFORMED: &str = "the server_name extension is malformed";
    let mut name = None;
    let mut list = whole_list(body).ok_or(MALFORMED)?;
    while !list.is_empty() {
        let (rest, (kind, value)) = parse_tls_extension_sni_hostname(list).map_err(|_| MALFORMED)?;
        list = rest;
        if kind == SNIType::HostName {
            set_once(&mut name, value).ok_or("the server_name extension holds two names")?;
        }
    }
    let name = name.ok_or("the server_name extension holds no host name")?;
    match name.strip_suffix(b".").unwrap_or(name).len() {
        0 => Err("the server name is empty"),
        // RFC 6066: "represented as a byte string using ASCII encoding".
        1..=MAX_NAME if name.iter().fold(true, |is_good, byte| is_good & matches!(byte, 1..=0x7F)) => Ok(name),
        1..=MAX_NAME => Err("the server name has a byte that no name can have"),
        _ => Err("the server name is longer than DNS allows"),
    }
}

/// The protocols of an ALPN extension, each with its length in front. An empty protocol is malformed.
fn protocols(body: &[u8]) -> Result<&[u8], &'static str> {
    const MALFORMED: &str = "the ALPN extension is malformed";
    let list = whole_list(body).filter(|list| !list.is_empty()).ok_or(MALFORMED)?;
    let mut rest = list;
    while !rest.is_empty() {
        vec8(&mut rest).filter(|name| !name.is_empty()).ok_or(MALFORMED)?;
    }
    Ok(list)
}

/// The list that fills `body` to its end.
fn whole_list(mut body: &[u8]) -> Option<&[u8]> {
    vec16(&mut body).filter(|_| body.is_empty())
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}
