//! The properties that each fuzz target checks for any bytes. `tests/fuzz_corpus.rs` replays the corpus through the
//! same functions.
//!
//! `cargo fuzz run client_hello --sanitizer none` needs no nightly compiler, and the code under test has no `unsafe`
//! for a sanitizer to watch. Bytes that broke a property belong in `corpus/`, under a name that says what they are.
mod session;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fiscalismia_lb::config::{self, SniPattern};
use fiscalismia_lb::policy::routes::RouteTable;
use fiscalismia_lb::wire::client_hello::{Hello, MAX_HANDSHAKE, Reader, Verdict};
use fiscalismia_lb::wire::proxy_header::{self, Header, MAX_LEN, MAX_READ, Parsed, Tlvs};
use fiscalismia_lb::wire::{http_head, http_status};
use tls_parser::{TlsExtension, TlsMessageHandshake};

pub use session::session;

/// A hello is the same however it is cut into segments and records, and what another parser makes of it.
pub fn client_hello(data: &[u8]) {
    let mut whole = Reader::default();
    let verdict = whole.read(data);

    let mut drip = Reader::default();
    let first = (0..=data.len()).find(|end| drip.read(&data[..*end]) != Verdict::Incomplete);
    match first {
        Some(end) => assert_eq!(Reader::default().read(&data[..end]), verdict, "at {end}"),
        None => assert_eq!(verdict, Verdict::Incomplete),
    }

    if let Verdict::Hello(hello) = verdict {
        let handshake = handshake(data);
        assert!(handshake.len() <= MAX_HANDSHAKE);
        agrees_with_tls_parser(&hello, &handshake);
        for offset in [1, 4, handshake.len() / 2, handshake.len() - 1] {
            let (head, tail) = handshake.split_at(offset);
            let cut = [record(head), record(tail)].concat();
            if head.len().max(tail.len()) <= 1 << 14 {
                assert_eq!(Reader::default().read(&cut), verdict, "cut at {offset}");
            }
        }
    }
}

/// The hello's own bytes, out of records that are known to be good.
fn handshake(mut raw: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let len = usize::from(u16::from_be_bytes([raw[3], raw[4]]));
        message.extend_from_slice(&raw[5..5 + len]);
        raw = &raw[5 + len..];
        if let [_, a, b, c, ..] = message[..] {
            let end = 4 + u32::from_be_bytes([0, a, b, c]) as usize;
            if message.len() >= end {
                message.truncate(end);
                return message;
            }
        }
    }
}

fn record(payload: &[u8]) -> Vec<u8> {
    [&[0x16, 0x03, 0x01], &(payload.len() as u16).to_be_bytes()[..], payload].concat()
}

fn agrees_with_tls_parser(hello: &Hello<'_>, handshake: &[u8]) {
    let (_, TlsMessageHandshake::ClientHello(theirs)) = tls_parser::parse_tls_message_handshake(handshake)
        .map(|(rest, message)| match message {
            tls_parser::TlsMessage::Handshake(message) => (rest, message),
            other => panic!("{other:?}"),
        })
        .unwrap()
    else {
        panic!("no hello")
    };
    let mut rest = theirs.ext.unwrap_or_default();
    while let [high, low, len_high, len_low, ref tail @ ..] = *rest {
        let (body, after) = tail.split_at(u16::from_be_bytes([len_high, len_low]).into());
        match u16::from_be_bytes([high, low]) {
            0 => match tls_parser::parse_tls_extension_sni_content(body) {
                Ok((&[], TlsExtension::SNI(names))) => {
                    let names: Vec<&[u8]> = names.iter().filter(|name| name.0.0 == 0).map(|name| name.1).collect();
                    assert_eq!(names, [hello.sni.unwrap()]);
                }
                other => panic!("{other:?}"),
            },
            16 => match tls_parser::parse_tls_extension_alpn_content(body) {
                Ok((&[], TlsExtension::ALPN(names))) => assert_eq!(names, hello.alpn().collect::<Vec<_>>()),
                other => panic!("{other:?}"),
            },
            _ => {}
        }
        rest = after;
    }
}

/// A header is the same however it is cut into segments; one that is read says the same once written, with every TLV but
/// checksum and padding; and one that is written is read again.
pub fn proxy_header(data: &[u8]) {
    let parsed = proxy_header::parse(data);
    let first = (0..=data.len()).find(|end| proxy_header::parse(&data[..*end]) != Parsed::Incomplete);
    match first {
        Some(end) => assert_eq!(proxy_header::parse(&data[..end]), parsed, "at {end}"),
        None => assert_eq!(parsed, Parsed::Incomplete),
    }
    if parsed == Parsed::Incomplete {
        assert!(data.len() < MAX_READ, "it would be waited for without end");
    }
    if let Parsed::Header { header: Header::Client { source, destination, tlvs }, len } = parsed {
        assert!(len <= data.len() && len <= MAX_READ);
        assert!(
            data.starts_with(b"PROXY ") || data[12] == 0x21,
            "no address is taken but from a header that tells one"
        );
        round_trip(source, destination, &Tlvs { received: b"", ..tlvs });
        goes_on(source, destination, tlvs.received);
    }
    if let Some((addresses, names)) = data.split_first_chunk::<38>() {
        let (authority, alpn) = names.split_at(names.len() / 2);
        let [kinds, flags, rest @ ..] = addresses;
        let tlvs = Tlvs {
            authority: (flags & 1 != 0).then_some(&authority[..authority.len().min(255)]),
            alpn: (flags & 2 != 0).then_some(&alpn[..alpn.len().min(255)]),
            unique_id: (flags & 4 != 0).then_some([*flags; 16]),
            crc32c: flags & 8 != 0,
            received: b"",
        };
        round_trip(address(kinds & 3, &rest[..18]), address(kinds >> 2 & 3, &rest[18..]), &tlvs);
    }
}

/// What was received is received again by the next, in its order.
fn goes_on(source: SocketAddr, destination: SocketAddr, received: &[u8]) {
    let mut buf = [0; MAX_LEN];
    let bytes = proxy_header::v2(&mut buf, source, destination, &Tlvs { received, ..Tlvs::default() });
    let wanted: Vec<_> = tlvs(received).into_iter().filter(|(kind, _)| ![0x03, 0x04].contains(kind)).collect();
    let addresses = if bytes[13] == 0x11 { 12 } else { 36 };
    assert_eq!(tlvs(&bytes[16 + addresses..]), wanted);
}

fn tlvs(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut tlvs = Vec::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let (value, after) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        tlvs.push((*kind, value));
        bytes = after;
    }
    assert!(bytes.is_empty());
    tlvs
}

fn address(kind: u8, bytes: &[u8]) -> SocketAddr {
    let (port, ip) = bytes.split_first_chunk::<2>().unwrap();
    let (v4, _) = ip.split_first_chunk::<4>().unwrap();
    let ip = match kind {
        0 => IpAddr::V4(Ipv4Addr::from(*v4)),
        1 => IpAddr::V6(Ipv4Addr::from(*v4).to_ipv6_mapped()),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).unwrap())),
    };
    SocketAddr::new(ip, u16::from_be_bytes(*port))
}

fn round_trip(source: SocketAddr, destination: SocketAddr, tlvs: &Tlvs<'_>) {
    let mut buf = [0; MAX_LEN];
    let v2 = proxy_header::v2(&mut buf, source, destination, tlvs);
    assert_eq!(client(v2), (canonical(source), canonical(destination), *tlvs));
    let v1 = proxy_header::v1(&mut buf, source, destination);
    assert_eq!(client(v1), (canonical(source), canonical(destination), Tlvs::default()));
}

fn client(bytes: &[u8]) -> (SocketAddr, SocketAddr, Tlvs<'_>) {
    match proxy_header::parse(bytes) {
        Parsed::Header { header: Header::Client { source, destination, tlvs }, len } if len == bytes.len() => {
            (canonical(source), canonical(destination), Tlvs { received: b"", ..tlvs })
        }
        other => panic!("{other:?}"),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A head is the same however it is cut into segments, and a redirect is a header's value in one piece.
pub fn http_head(data: &[u8]) {
    use http_head::Verdict;

    let verdict = http_head::read(data);
    let first = (0..=data.len()).find(|end| http_head::read(&data[..*end]) != Verdict::Incomplete);
    match first {
        Some(end) if end < http_head::MAX_LEN => assert_eq!(http_head::read(&data[..end]), verdict, "at {end}"),
        Some(_) => {}
        None => assert_eq!(verdict, Verdict::Incomplete),
    }
    if let Verdict::Head(head) = verdict {
        assert!(head.len <= data.len());
        if let Some(location) = http_head::redirect_location(&head) {
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
            let rest = location.strip_prefix("https://").unwrap();
            let host = &rest[..rest.find(['/', '?']).unwrap()];
            assert_eq!(Some(host), head.host);
        }
    }
    let _ = http_status::read(data);
}

/// A file is refused with errors of one line each, or every name in it leads to its own route.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match config::parse("fuzz.json", text) {
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors.iter().map(ToString::to_string) {
                assert!(error.starts_with("fuzz.json: ") && !error.contains('\n'), "{error:?}");
            }
        }
        Ok(config) => {
            for warning in config::warnings(&config) {
                assert!(!warning.contains('\n'), "{warning:?}");
            }
            for (index, route) in config.routes.iter().enumerate() {
                let table = RouteTable::new(&config.routes, &route.listen);
                assert!(!route.sni.is_empty() || !route.listen.is_empty());
                assert!(!route.servers.is_empty());
                for pattern in &route.sni {
                    let name = match pattern {
                        SniPattern::Exact(name) => Some(name.to_string()),
                        SniPattern::Wildcard(suffix) => Some(format!("no-other-name.{suffix}")),
                        SniPattern::Subdomains(suffix) => Some(format!("no-other-name.at-all.{suffix}")),
                        SniPattern::Default => None,
                    };
                    if name.as_ref().is_none_or(|name| name.len() <= 253) {
                        let offered = route.alpn.iter().map(|protocol| protocol.as_bytes());
                        let found = table.find(name.as_deref().map(str::as_bytes), offered);
                        assert_eq!(found.map(|found| found.route), Some(index), "{pattern:?}");
                    }
                }
            }
        }
    }
}
