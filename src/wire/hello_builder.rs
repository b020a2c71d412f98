//! Builds a `ClientHello` that real servers answer, for `tls` probes, tests and benchmarks.
use tls_parser::{SNIType, TlsExtensionType, TlsHandshakeType, TlsRecordType};

/// RFC 8446 section 5.1: the longest plaintext record.
const MAX_PLAINTEXT: usize = 1 << 14;

/// The defaults of OpenSSL 3, and AES-CCM of TLS 1.3: TLS 1.3, then TLS 1.2 with ECDHE, DHE and RSA key exchange, each
/// with AEAD and with CBC. The list is this long so that a server which accepts only one of them does not look down.
const CIPHER_SUITES: [u16; 31] = [
    0x1301, 0x1302, 0x1303, 0x1304, // TLS 1.3
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, // ECDHE, AEAD
    0x009e, 0x009f, 0xccaa, // DHE, AEAD
    0xc023, 0xc027, 0xc024, 0xc028, 0xc009, 0xc013, 0xc00a, 0xc014, // ECDHE, CBC
    0x0067, 0x006b, 0x0033, 0x0039, // DHE, CBC
    0x009c, 0x009d, 0x003c, 0x003d, 0x002f, 0x0035, // RSA
];
/// x25519, which has a key share, so that most servers answer at once; secp256r1, secp384r1, secp521r1, x448; hybrids
/// with ML-KEM: X25519MLKEM768, `SecP256r1MLKEM768`, `SecP384r1MLKEM1024`; ffdhe2048 to ffdhe8192. A server that wants
/// another group than x25519 sends a `HelloRetryRequest`, which passes a probe.
const GROUPS: [u16; 13] =
    [0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x11ec, 0x11eb, 0x11ed, 0x0100, 0x0101, 0x0102, 0x0103, 0x0104];
/// With SHA-256, -384 and -512: ECDSA, RSA-PSS with either kind of key, RSA PKCS#1; Ed25519, Ed448; ML-DSA-44, -65, -87.
const SIGNATURES: [u16; 17] = [
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601, 0x0807, 0x0808,
    0x0904, 0x0905, 0x0906,
];

/// Builds a TLS 1.2 and 1.3 `ClientHello` in records.
#[derive(Clone, Debug)]
pub struct HelloBuilder {
    random: [u8; 32],
    extensions: Vec<u8>,
    pad_to: usize,
    splits: Vec<usize>,
}

impl Default for HelloBuilder {
    fn default() -> HelloBuilder {
        HelloBuilder::new()
    }
}

impl HelloBuilder {
    /// A hello without SNI, without ALPN, in one record.
    #[must_use]
    pub fn new() -> HelloBuilder {
        let builder = HelloBuilder { random: [0x5a; 32], extensions: Vec::new(), pad_to: 0, splits: Vec::new() };
        builder
            .extension(TlsExtensionType::SupportedVersions, &vec8(&[0x03, 0x04, 0x03, 0x03]))
            .extension(TlsExtensionType::SupportedGroups, &vec16(&numbers(&GROUPS)))
            .extension(TlsExtensionType::KeyShare, &vec16(&key_share()))
            .extension(TlsExtensionType::SignatureAlgorithms, &vec16(&numbers(&SIGNATURES)))
            .extension(TlsExtensionType::EcPointFormats, &vec8(&[0x00]))
            .extension(TlsExtensionType::ExtendedMasterSecret, &[])
            .extension(TlsExtensionType::RenegotiationInfo, &vec8(&[]))
    }

    /// Sets the client's random; without this it is a constant.
    #[must_use]
    pub fn random(mut self, random: [u8; 32]) -> HelloBuilder {
        self.random = random;
        self
    }

    /// Adds the server name.
    #[must_use]
    pub fn sni(self, name: &str) -> HelloBuilder {
        let entry = [&[SNIType::HostName.0], &*vec16(name.as_bytes())].concat();
        self.extension(TlsExtensionType::ServerName, &vec16(&entry))
    }

    /// Adds the protocols that the client offers, in order of preference.
    #[must_use]
    pub fn alpn(self, protocols: &[&str]) -> HelloBuilder {
        let names: Vec<u8> = protocols.iter().flat_map(|name| vec8(name.as_bytes())).collect();
        self.extension(TlsExtensionType::ApplicationLayerProtocolNegotiation, &vec16(&names))
    }

    /// Adds an extension of any type, known or not, even if the hello has one of that type.
    #[must_use]
    pub fn extension(mut self, kind: TlsExtensionType, body: &[u8]) -> HelloBuilder {
        self.extensions.extend_from_slice(&kind.0.to_be_bytes());
        self.extensions.extend_from_slice(&vec16(body));
        self
    }

    /// Pads the hello (RFC 7685) until it takes up `len` bytes in one record, or up to three more.
    #[must_use]
    pub fn pad_to(mut self, len: usize) -> HelloBuilder {
        self.pad_to = len;
        self
    }

    /// Cuts the handshake message into records before each of these offsets, which ascend.
    #[must_use]
    pub fn records(mut self, offsets: &[usize]) -> HelloBuilder {
        self.splits = offsets.to_vec();
        self
    }

    /// The records, ready to be sent.
    #[must_use]
    pub fn build(mut self) -> Vec<u8> {
        let len = 5 + self.message().len();
        if let Some(missing) = self.pad_to.checked_sub(len).filter(|missing| *missing > 0) {
            self = self.extension(TlsExtensionType::Padding, &vec![0; missing.saturating_sub(4)]);
        }
        let message = self.message();
        let mut out = Vec::with_capacity(message.len() + 5 * (self.splits.len() + 1));
        let mut rest = message.as_slice();
        for offset in self.splits {
            let taken = message.len() - rest.len();
            if let Some(piece) = rest.split_off(..offset.saturating_sub(taken)) {
                put_records(&mut out, piece);
            }
        }
        put_records(&mut out, rest);
        out
    }

    fn message(&self) -> Vec<u8> {
        let body = [
            &[0x03, 0x03],
            &self.random[..],
            &vec8(&[]),
            &vec16(&numbers(&CIPHER_SUITES)),
            &vec8(&[0x00]),
            &vec16(&self.extensions),
        ]
        .concat();
        let [_, len @ ..] = (body.len() as u32).to_be_bytes();
        [&[TlsHandshakeType::ClientHello.0], &len[..], &body].concat()
    }
}

fn put_records(out: &mut Vec<u8>, payload: &[u8]) {
    for piece in payload.chunks(MAX_PLAINTEXT) {
        // RFC 8446 section 5.1: a client's first record has version 0x0301, for old servers.
        out.extend_from_slice(&[TlsRecordType::Handshake.0, 0x03, 0x01]);
        out.extend_from_slice(&vec16(piece));
    }
}

/// An x25519 share (RFC 8446 section 4.2.8). The base point suffices, as no handshake is finished.
fn key_share() -> Vec<u8> {
    let mut point = [0; 32];
    point[0] = 0x09;
    [&[0x00, 0x1d], &*vec16(&point)].concat()
}

fn numbers(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn vec8(body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8], body].concat()
}

fn vec16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, every probe sends the same random, or a TLS 1.3 server finds no x25519 share.
    #[test]
    fn a_hello_holds_its_random_and_a_share() {
        let hello = HelloBuilder::new().random([7; 32]).build();
        // Behind the headers of record and message, and the version.
        assert_eq!(hello.get(11..43), Some(&[7; 32][..]));
        let share = [&[0x00, 0x1d, 0x00, 0x20, 0x09][..], &[0; 31]].concat();
        assert!(hello.windows(share.len()).any(|bytes| bytes == share));
    }

    /// Without this, tests of a hello's longest length are of another length.
    #[test]
    fn a_hello_is_padded_to_its_length() {
        let short = HelloBuilder::new().sni("a.test").build().len();
        for (len, built) in [(short - 1, short), (short, short), (short + 1, short + 4), (short + 5, short + 5)] {
            assert_eq!(HelloBuilder::new().sni("a.test").pad_to(len).build().len(), built);
        }
    }
}
