use tls_parser::TlsExtensionType;

use super::*;
use crate::wire::hello_builder::HelloBuilder;

/// The sizes that clients make: plain, post-quantum, with a long session ticket, and the largest record.
const SIZES: [usize; 4] = [320, 1_800, 5_000, 15_900];

/// SNI and ALPN.
type Read = (Option<Vec<u8>>, Vec<Vec<u8>>);

fn read(raw: &[u8]) -> Result<Read, String> {
    match Reader::default().read(raw) {
        Verdict::Hello(hello) => Ok((hello.sni.map(<[u8]>::to_vec), hello.alpn().map(<[u8]>::to_vec).collect())),
        verdict => Err(format!("{verdict:?}")),
    }
}

fn fault(raw: &[u8]) -> &'static str {
    match Reader::default().read(raw) {
        Verdict::Malformed(why) => why,
        verdict => panic!("{verdict:?}"),
    }
}

fn sni_of(builder: HelloBuilder) -> Result<Option<Vec<u8>>, String> {
    read(&builder.build()).map(|(sni, _)| sni)
}

fn hello(size: usize) -> HelloBuilder {
    HelloBuilder::new().sni("demo.fiscalismia.com").alpn(&["h2", "http/1.1"]).pad_to(size)
}

fn expected() -> Read {
    (Some(b"demo.fiscalismia.com".to_vec()), vec![b"h2".to_vec(), b"http/1.1".to_vec()])
}

/// A hello whose body, the part after random, is `tail`.
fn with_tail(tail: &[u8]) -> Vec<u8> {
    let body = [&[0x03, 0x03], &[0x5a; 32][..], tail].concat();
    record(&[&[0x01, 0x00, 0x00, body.len() as u8], &*body].concat())
}

fn record(payload: &[u8]) -> Vec<u8> {
    [&[0x16, 0x03, 0x01], &(payload.len() as u16).to_be_bytes()[..], payload].concat()
}

fn server_name(body: &[u8]) -> HelloBuilder {
    HelloBuilder::new().extension(TlsExtensionType::ServerName, body)
}

fn alpn(body: &[u8]) -> HelloBuilder {
    HelloBuilder::new().extension(TlsExtensionType::ApplicationLayerProtocolNegotiation, body)
}

/// Without this, a hello that is cut at some byte is refused instead of awaited.
#[test]
fn every_prefix_is_incomplete() {
    for size in SIZES {
        let raw = hello(size).build();
        assert_eq!(raw.len(), size);
        let mut reader = Reader::default();
        for end in 0..raw.len() {
            assert_eq!(reader.read(&raw[..end]), Verdict::Incomplete, "{end} of {size}");
        }
        assert_eq!(read(&raw), Ok(expected()));
    }
}

/// Without this, a record boundary, even within the handshake header, changes how a hello is read.
#[test]
fn two_records_cut_at_every_byte_are_the_same_hello() {
    for size in SIZES {
        for offset in 1..size - RECORD_HEADER {
            let raw = hello(size).records(&[offset]).build();
            assert_eq!(raw.len(), size + RECORD_HEADER);
            assert_eq!(read(&raw), Ok(expected()), "{offset} of {size}");
        }
    }
}

/// Without this, a cut hello in two records is refused instead of awaited, such as within the second record's header.
#[test]
fn every_prefix_of_two_records_is_incomplete() {
    for offset in [1, 3, 4, 5, 100, 290] {
        let raw = hello(300).records(&[offset]).build();
        let mut reader = Reader::default();
        for end in 0..raw.len() {
            assert_eq!(reader.read(&raw[..end]), Verdict::Incomplete, "{end}, cut at {offset}");
        }
        assert!(matches!(reader.read(&raw), Verdict::Hello(_)));
    }
}

/// Without this, a client that sends byte by byte costs quadratic time.
#[test]
fn drip_fed_records_are_walked_once() {
    let offsets: Vec<usize> = (1..15_895).collect();
    let raw = hello(15_900).records(&offsets).build();
    let mut reader = Reader::default();
    for end in 0..raw.len() {
        assert_eq!(reader.read(&raw[..end]), Verdict::Incomplete);
        assert_eq!(reader.taken, end / 6 * 6);
    }
    assert!(matches!(reader.read(&raw), Verdict::Hello(_)));
    assert!(matches!(reader.read(&raw), Verdict::Hello(_)), "asked again, it answers the same");
}

/// Without this, a hello in one record is copied.
#[test]
fn one_record_is_borrowed() {
    let raw = hello(1_800).build();
    let mut reader = Reader::default();
    for end in 0..=raw.len() {
        reader.read(&raw[..end]);
    }
    assert_eq!(reader.handshake.capacity(), 0);
}

/// Without this, a declared length takes memory before its bytes have come.
#[test]
fn memory_grows_by_bytes_received() {
    let raw = [record(&[0x01]), record(&[0x00, 0x7f, 0xfc]), vec![0x16, 0x03, 0x01, 0x40, 0x00]].concat();
    let mut reader = Reader::default();
    assert_eq!(reader.read(&raw), Verdict::Incomplete);
    assert!(reader.handshake.capacity() <= 16);
}

/// Without this, 0-RTT data after the hello makes it malformed.
#[test]
fn what_follows_the_hello_is_ignored() {
    for split in [vec![], vec![100]] {
        let raw = [hello(300).records(&split).build(), b"\x17\x03\x03\x00\x02ab".to_vec()].concat();
        assert_eq!(read(&raw), Ok(expected()));
    }
}

/// Without this, a hello is decided before its last record is whole, if more follows in that record.
#[test]
fn the_last_record_is_waited_for() {
    let message = hello(300).build().split_off(RECORD_HEADER);
    let padded = [&message[..], &[0; 10]].concat();
    for raw in [record(&padded), [record(&padded[..50]), record(&padded[50..])].concat()] {
        assert_eq!(read(&raw), Ok(expected()));
        assert_eq!(Reader::default().read(&raw[..raw.len() - 1]), Verdict::Incomplete);
    }
}

/// Without this, a client of another protocol is refused only at the deadline, not at its first two bytes.
#[test]
fn other_protocols_are_not_tls() {
    let sslv2 = [0x80, 0x2e, 0x01, 0x03, 0x01];
    for raw in [&b"G"[..], b"GET / HTTP/1.1\r\n", b"SSH-2.0-x", &sslv2, b"\x15\x03\x01", b"\x16\x02", b"\x16G", b"\0"] {
        assert_eq!(Reader::default().read(raw), Verdict::NotTls, "{raw:?}");
    }
}

/// Without this, records that cannot begin a hello are awaited instead of refused.
#[test]
fn bad_records_are_malformed() {
    let alert = [0x15, 0x03, 0x01, 0x00, 0x02, 0x01, 0x00];
    let first = record(&[0x01, 0x00]);
    let no_handshake = "a record that is no handshake comes before the hello is whole";
    assert_eq!(fault(&[&first[..], &alert].concat()), no_handshake);
    assert_eq!(fault(&[&first[..], b"\x17\x03\x03\x00\x01"].concat()), no_handshake);
    assert_eq!(fault(b"\x16\x03\x01\x00\x00"), "a handshake record is empty");
    assert_eq!(fault(&[&first[..], b"\x16\x03\x01\x00\x00"].concat()), "a handshake record is empty");
    assert_eq!(fault(b"\x16\x03\x01\x40\x01"), "a record is longer than TLS allows");
    assert_eq!(fault(b"\x16\x03\x01\x00\x20\x02"), "the first handshake message is not a ClientHello");
    assert_eq!(fault(b"\x16\x03\x01\x40\x00\x01\x00\x7f\xfd"), "the hello is longer than any client sends");
}

/// Without this, a hello of the longest length is refused, or one byte more is not refused at its header.
#[test]
fn a_hello_of_32_kib_is_the_longest() {
    let whole = hello(MAX_HANDSHAKE + RECORD_HEADER).build();
    assert_eq!(read(&whole), Ok(expected()));
    let over = hello(MAX_HANDSHAKE + RECORD_HEADER + 1).build();
    assert_eq!(fault(&over[..9]), "the hello is longer than any client sends");
}

/// Without this, tiny records make a hello take many times its length, or 16 KiB of handshake in them are refused.
#[test]
fn raw_bytes_are_bounded() {
    let offsets: Vec<usize> = (1..MAX_HANDSHAKE).collect();
    assert_eq!(read(&hello(RECORD_HEADER + (16 << 10)).records(&offsets).build()), Ok(expected()));
    let over = hello(RECORD_HEADER + (16 << 10) + 1).records(&offsets).build();
    assert_eq!(fault(&over), "the hello is spread over too many records");
    assert_eq!(fault(&over[..MAX_RAW + RECORD_HEADER]), "the hello is spread over too many records");
}

/// Without this, a wrong length inside a hello makes the program wait for bytes that never come.
#[test]
fn inner_lengths_beyond_their_container_are_malformed() {
    assert_eq!(fault(&record(b"\x01\x00\x00\x02\x03\x03")), "the hello ends within its version and random");
    assert_eq!(fault(&with_tail(b"")), "the hello's session id is malformed");
    assert_eq!(fault(&with_tail(b"\x01")), "the hello's session id is malformed");
    assert_eq!(
        fault(&with_tail(&[[33; 34].as_slice(), b"\0\x02\x13\x01\x01\0"].concat())),
        "the hello's session id is malformed"
    );
    for suites in [&b"\0\0"[..], b"\0\x01\x13", b"\0\x03\x13\x01\x13", b"\0\x09\x13\x01"] {
        assert_eq!(fault(&with_tail(&[b"\0", suites].concat())), "the hello's cipher suites are malformed");
    }
    for methods in [&b""[..], b"\0", b"\x02\0"] {
        let tail = [b"\0\0\x02\x13\x01", methods].concat();
        assert_eq!(fault(&with_tail(&tail)), "the hello's compression methods are malformed");
    }
    for (extensions, why) in [
        (&b"\0"[..], "the hello's extensions are longer than the hello"),
        (b"\0\x01", "the hello's extensions are longer than the hello"),
        (b"\0\0\0", "bytes follow the hello's extensions"),
        (b"\0\x01\0", "an extension's type is cut off"),
        (b"\0\x02\0\0", "an extension is longer than what holds it"),
        (b"\0\x05\x2a\x2a\0\x02\0", "an extension is longer than what holds it"),
    ] {
        assert_eq!(fault(&with_tail(&[b"\0\0\x02\x13\x01\x01\0", extensions].concat())), why);
    }
}

/// Without this, an old client's hello without extensions is refused instead of routed to `*`.
#[test]
fn no_extensions_is_a_hello_without_sni() {
    assert_eq!(read(&with_tail(b"\0\0\x02\0\x2f\x01\0")), Ok((None, vec![])));
    assert_eq!(read(&with_tail(b"\0\0\x02\0\x2f\x01\0\0\0")), Ok((None, vec![])));
}

/// Without this, an unknown extension, GREASE or ECH makes a hello malformed. With ECH, the outer name counts.
#[test]
fn unknown_extensions_are_skipped() {
    let builder = HelloBuilder::new()
        .extension(TlsExtensionType(0x2a2a), b"")
        .extension(TlsExtensionType(0xfe0d), &[0x11; 200])
        .sni("outer.example")
        .extension(TlsExtensionType(0x2a2a), b"\0");
    assert_eq!(sni_of(builder), Ok(Some(b"outer.example".to_vec())));
}

/// Without this, a name that servers might read in two ways is taken, or an unusual but clear one is refused.
#[test]
fn names_are_kept_as_sent_or_refused() {
    for kept in ["a", "_acme.Example.COM", "a.example.", "192.0.2.1", "::1", "a\nb"] {
        assert_eq!(sni_of(HelloBuilder::new().sni(kept)), Ok(Some(kept.as_bytes().to_vec())));
    }
    let longest = "a".repeat(253);
    assert!(sni_of(HelloBuilder::new().sni(&longest)).is_ok());
    assert!(sni_of(HelloBuilder::new().sni(&format!("{longest}."))).is_ok());
    for (name, why) in [
        ("", "the server name is empty"),
        (".", "the server name is empty"),
        ("a\0b", "the server name has a byte that no name can have"),
        ("bücher.example", "the server name has a byte that no name can have"),
        (&"a".repeat(254), "the server name is longer than DNS allows"),
    ] {
        assert_eq!(fault(&HelloBuilder::new().sni(name).build()), why, "{name:?}");
    }
}

/// Without this, proxy and server may each take another of two names (RFC 6066 section 3).
#[test]
fn a_second_name_is_refused() {
    let twice = HelloBuilder::new().sni("a.example").sni("a.example").build();
    assert_eq!(fault(&twice), "the hello has two server_name extensions");
    for (body, why) in [
        (&b"\0\x08\0\0\x01a\0\0\x01b"[..], "the server_name extension holds two names"),
        (b"\0\x04\x01\0\x01a", "the server_name extension holds no host name"),
        (b"\0\0", "the server_name extension holds no host name"),
        (b"", "the server_name extension is malformed"),
        (b"\0\x04\0\0\x02a", "the server_name extension is malformed"),
        (b"\0\x05\0\0\x01a\0", "the server_name extension is malformed"),
        (b"\0\x04\0\0\x01a\0", "the server_name extension is malformed"),
        (b"\0\x05\0\0\x01a", "the server_name extension is malformed"),
    ] {
        assert_eq!(fault(&server_name(body).build()), why, "{body:?}");
    }
    assert_eq!(sni_of(server_name(b"\0\x08\x01\0\x01b\0\0\x01a")), Ok(Some(b"a".to_vec())));
}

/// Without this, a route's `alpn` matches a part of a protocol's name.
#[test]
fn alpn_lists_are_whole() {
    let twice = alpn(b"\0\x03\x02h2").alpn(&["h2"]).build();
    assert_eq!(fault(&twice), "the hello has two ALPN extensions");
    for body in [&b""[..], b"\0\0", b"\0\x01\0", b"\0\x03\x03h2", b"\0\x03\x02h2x", b"\0\x04\x02h2", b"\0\x04\x02h2\0"]
    {
        assert_eq!(fault(&alpn(body).build()), "the ALPN extension is malformed", "{body:?}");
    }
}

/// Without this, a connection's line shows other protocols than its client offered.
#[test]
fn the_alpn_list_is_as_it_came() {
    let raw = HelloBuilder::new().alpn(&["h2", "http/1.1"]).build();
    let mut reader = Reader::default();
    let Verdict::Hello(hello) = reader.read(&raw) else { panic!("not a hello") };
    assert_eq!(hello.alpn_list(), b"\x02h2\x08http/1.1");
}
