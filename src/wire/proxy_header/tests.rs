use std::net::SocketAddr;

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn v2_of(source: &str, destination: &str, tlvs: &Tlvs<'_>) -> Vec<u8> {
    v2(&mut [0xaa; MAX_LEN], addr(source), addr(destination), tlvs).to_vec()
}

fn v1_of(source: &str, destination: &str) -> String {
    String::from_utf8(v1(&mut [0xaa; MAX_LEN], addr(source), addr(destination)).to_vec()).unwrap()
}

fn client<'a>(source: &str, destination: &str, tlvs: Tlvs<'a>) -> Header<'a> {
    Header::Client { source: addr(source), destination: addr(destination), tlvs }
}

const ALL: Tlvs<'_> = Tlvs {
    authority: Some(b"demo.fiscalismia.com"),
    alpn: Some(b"h2"),
    unique_id: Some([0x42; 16]),
    crc32c: true,
    received: b"",
};

/// Without this, servers refuse the header of version 2. The bytes are the specification's.
#[test]
fn v2_is_as_specified() {
    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    expected.extend([192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 0x01, 0xbb]);
    assert_eq!(v2_of("192.0.2.1:50000", "198.51.100.2:443", &Tlvs::default()), expected);

    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24".to_vec();
    expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xc3, 0x50, 0x01, 0xbb]);
    assert_eq!(v2_of("[2001:db8::1]:50000", "[2001:db8::2]:443", &Tlvs::default()), expected);
}

/// Without this, servers refuse the header of version 1. The lines are the specification's.
#[test]
fn v1_is_as_specified() {
    assert_eq!(v1_of("192.0.2.1:50000", "198.51.100.2:443"), "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n");
    assert_eq!(v1_of("[2001:db8::1]:1", "[2001:db8::2]:443"), "PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n");
}

/// Without this, a v4-mapped pair is not IPv4, a mixed pair is not IPv6, or a client's header says UNSPEC.
#[test]
fn families_are_made_one() {
    let plain = v2_of("192.0.2.1:1", "198.51.100.2:443", &ALL);
    for (source, destination) in [
        ("[::ffff:192.0.2.1]:1", "[::ffff:198.51.100.2]:443"),
        ("192.0.2.1:1", "[::ffff:198.51.100.2]:443"),
        ("[::ffff:192.0.2.1]:1", "198.51.100.2:443"),
    ] {
        assert_eq!(v2_of(source, destination, &ALL), plain);
        assert_eq!(v1_of(source, destination), "PROXY TCP4 192.0.2.1 198.51.100.2 1 443\r\n");
    }
    let mixed = v2_of("192.0.2.1:1", "[2001:db8::2]:443", &Tlvs::default());
    assert_eq!(
        parse(&mixed),
        Parsed::Header { header: client("[::ffff:192.0.2.1]:1", "[2001:db8::2]:443", Tlvs::default()), len: 52 }
    );
    assert_eq!(v1_of("[2001:db8::1]:1", "198.51.100.2:443"), "PROXY TCP6 2001:db8::1 ::ffff:c633:6402 1 443\r\n");
}

/// Without this, a link-local client's scope gets into a header, where it means nothing.
#[test]
fn a_scope_is_left_out() {
    assert_eq!(v1_of("[fe80::1%3]:1", "[fe80::2%3]:443"), "PROXY TCP6 fe80::1 fe80::2 1 443\r\n");
}

/// Without this, a TLV is changed by writing and reading, or the checksum is wrong.
#[test]
fn tlvs_come_back() {
    let none = Tlvs::default();
    for tlvs in [
        none,
        Tlvs { authority: ALL.authority, ..none },
        Tlvs { alpn: ALL.alpn, ..none },
        Tlvs { unique_id: ALL.unique_id, ..none },
        Tlvs { crc32c: true, ..none },
        ALL,
    ] {
        let bytes = v2_of("[2001:db8::1]:50000", "[2001:db8::2]:443", &tlvs);
        let header = client("[2001:db8::1]:50000", "[2001:db8::2]:443", Tlvs { received: &bytes[52..], ..tlvs });
        assert_eq!(parse(&bytes), Parsed::Header { header, len: bytes.len() });
    }
}

/// Without this, writer and reader agree on a wrong checksum. The expected one is another implementation's.
#[test]
fn the_checksum_is_crc32c() {
    let bytes = v2_of("192.0.2.1:50000", "198.51.100.2:443", &Tlvs { crc32c: true, ..Tlvs::default() });
    assert_eq!(bytes[bytes.len() - 7..], [0x03, 0x00, 0x04, 0xa8, 0xf4, 0x07, 0xb1]);
}

/// Without this, a balancer that writes its checksum before other TLVs has all its clients refused.
#[test]
fn the_checksum_may_stand_before_other_tlvs() {
    let mut bytes = v2_of("192.0.2.1:50000", "198.51.100.2:443", &Tlvs::default());
    bytes.extend(b"\x03\x00\x04\0\0\0\0\xea\x00\x01v");
    bytes[15] += 11;
    let sum = crc32c::crc32c(&bytes).to_be_bytes();
    bytes[31..35].copy_from_slice(&sum);
    let tlvs = Tlvs { crc32c: true, received: &bytes[28..], ..Tlvs::default() };
    let header = client("192.0.2.1:50000", "198.51.100.2:443", tlvs);
    assert_eq!(parse(&bytes), Parsed::Header { header, len: bytes.len() });
}

/// Without this, the longest header does not fit its buffer, or a value that is too long is written in part.
#[test]
fn the_longest_header_fits() {
    let longest = [b'a'; 255];
    // Two TLVs of a balancer's own kind.
    let half = MAX_RECEIVED / 2 - 3;
    let received = [&[0xea], &(half as u16).to_be_bytes()[..], &vec![b'b'; half]].concat().repeat(2);
    assert_eq!(received.len(), MAX_RECEIVED);
    let tlvs = Tlvs { authority: Some(&longest), alpn: Some(&longest), received: &received, ..ALL };
    let bytes = v2_of("[2001:db8::1]:50000", "[2001:db8::2]:443", &tlvs);
    assert_eq!(bytes.len(), MAX_LEN);
    const { assert!(MAX_LEN <= 4096, "nginx takes no longer one") };

    let over = Tlvs { authority: Some(&[b'a'; 256]), ..Tlvs::default() };
    assert_eq!(v2_of("192.0.2.1:1", "192.0.2.2:2", &over).len(), 28);
    let widest = "[1111:1111:1111:1111:1111:1111:1111:1111]:65535";
    assert!(v1_of(widest, widest).len() <= V1_MAX_LEN);
}

/// Without this, a cloud balancer's TLVs are lost, or a server gets two names, or an old checksum.
#[test]
fn what_was_received_goes_on() {
    let received = [
        &b"\x02\x00\x03a.b\x05\x00\x02id\x01\x00\x02h2"[..],
        b"\x03\x00\x04aaaa\x04\x00\x01\x00\xea\x00\x01v\xee\x00\x00",
    ]
    .concat();
    let written =
        |tlvs: Tlvs<'_>| v2_of("192.0.2.1:1", "192.0.2.2:2", &Tlvs { received: &received, ..tlvs })[28..].to_vec();
    assert_eq!(written(Tlvs::default()), b"\x02\x00\x03a.b\x05\x00\x02id\x01\x00\x02h2\xea\x00\x01v\xee\x00\x00");
    let own = Tlvs { authority: Some(b"c"), alpn: Some(b"d"), unique_id: Some([7; 16]), ..Tlvs::default() };
    let id = [&b"\x05\x00\x10"[..], &[7; 16]].concat();
    assert_eq!(written(own), [&b"\x02\x00\x01c\x01\x00\x01d"[..], &id, b"\xea\x00\x01v\xee\x00\x00"].concat());
}

/// Without this, a header that comes in pieces is refused, or takes the client's bytes for its own.
#[test]
fn every_prefix_is_incomplete() {
    let all = v2_of("192.0.2.1:50000", "198.51.100.2:443", &ALL);
    let line = v1_of("192.0.2.1:50000", "198.51.100.2:443").into_bytes();
    for header in [&all[..], &line, &LOCAL, b"PROXY UNKNOWN\r\n"] {
        for end in 0..header.len() {
            assert_eq!(parse(&header[..end]), Parsed::Incomplete, "{end}");
        }
        assert!(
            matches!(parse(&[header, b"\x16\x03\x01"].concat()), Parsed::Header { len, .. } if len == header.len())
        );
    }
}

/// Without this, a balancer's health check counts as a client.
#[test]
fn headers_without_a_client() {
    assert_eq!(parse(&LOCAL), Parsed::Header { header: Header::Local, len: 16 });
    let unspec = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00";
    assert_eq!(parse(unspec), Parsed::Header { header: Header::Unknown, len: 16 });
    assert_eq!(parse(b"PROXY UNKNOWN ff 1\r\n"), Parsed::Header { header: Header::Unknown, len: 20 });
}

/// Without this, a broken header is awaited instead of refused, or is believed.
#[test]
fn bad_headers_are_refused() {
    for bytes in [&b"\x16\x03\x01"[..], b"GET / HTTP/1.1\r\n", b"PROXX", b"\r\n\r\n\r\n", b"PROXYTCP4"] {
        assert_eq!(parse(bytes), Parsed::NotProxy, "{bytes:?}");
    }
    let v2 = |tail: &[u8]| [&SIGNATURE[..], tail].concat();
    let addresses = [0; 12];
    for (bytes, why) in [
        (v2(b"\x11\x11\x00\x00"), "the version or command of the PROXY header is unknown"),
        (v2(b"\x22\x11\x00\x00"), "the version or command of the PROXY header is unknown"),
        (v2(b"\x21\x12\x00\x00"), "the PROXY header is for something else than TCP"),
        (v2(b"\x21\x11\x00\x0b\0\0\0\0\0\0\0\0\0\0\0"), "the addresses in the PROXY header are cut off"),
        (v2(&[b"\x21\x11\x00\x0d", &addresses[..], b"\x02"].concat()), "a TLV is longer than the PROXY header"),
        (
            v2(&[b"\x21\x11\x00\x10", &addresses[..], b"\x02\x00\x02a"].concat()),
            "a TLV is longer than the PROXY header",
        ),
        (
            v2(&[b"\x21\x11\x01\x0f", &addresses[..], b"\x02\x01\x00", &[b'a'; 256]].concat()),
            "the authority in the PROXY header is too long",
        ),
        (
            v2(&[b"\x21\x11\x00\x90", &addresses[..], b"\x05\x00\x81", &[b'a'; 129]].concat()),
            "the unique id in the PROXY header is too long",
        ),
        // Said without waiting for the rest.
        (v2(b"\x21\x21\x00\x23"), "the addresses in the PROXY header are cut off"),
        (v2(b"\x21\x11\x07\xf1"), "the PROXY header is too long"),
        (
            v2(&[b"\x21\x11\x00\x13", &addresses[..], b"\x03\x00\x04aaaa"].concat()),
            "the checksum of the PROXY header is wrong",
        ),
        (
            v2(&[b"\x21\x11\x00\x0f", &addresses[..], b"\x03\x00\x00"].concat()),
            "the checksum of the PROXY header is wrong",
        ),
        (b"PROXY UDP4 \r\n".to_vec(), "the PROXY header is for something else than TCP"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 +2\r\n".to_vec(), "an address or port in the PROXY header is malformed"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 02\r\n".to_vec(), "an address or port in the PROXY header is malformed"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n".to_vec(), "an address or port in the PROXY header is malformed"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n".to_vec(), "an address or port in the PROXY header is malformed"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(), "an address or port in the PROXY header is malformed"),
        (b"PROXY TCP4\r\n".to_vec(), "an address or port in the PROXY header is malformed"),
        (b"PROXY \xff\r\n".to_vec(), "the PROXY header is not text"),
        ([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 93]].concat(), "the PROXY header is too long"),
    ] {
        assert_eq!(parse(&bytes), Parsed::Malformed(why), "{bytes:?}");
    }
}

/// Without this, the log does not say that a client sent a PROXY header where none is read.
#[test]
fn either_signature_begins_a_header() {
    assert!(begins(b"\r\n\r\n\0\r\nQUIT\n\x20") && begins(b"PROXY TCP4 192.0.2.1"));
    assert!(!begins(b"PROX") && !begins(b"GET / HTTP/1.1\r\n") && !begins(b""));
}

/// Without this, a balancer's header of the longest length is refused.
#[test]
fn the_longest_header_is_read() {
    let len = MAX_READ - V2_FIXED;
    let header = [&SIGNATURE[..], b"\x20\x00", &(len as u16).to_be_bytes(), &vec![0; len]].concat();
    assert_eq!(parse(&header), Parsed::Header { header: Header::Local, len: MAX_READ });
    let tlv = [b"\xea", &(MAX_RECEIVED as u16 - 3).to_be_bytes()[..], &vec![0; MAX_RECEIVED - 3]].concat();
    let header = [&SIGNATURE[..], b"\x21\x11", &(len as u16).to_be_bytes(), &[1; 12], &tlv].concat();
    assert_eq!(header.len(), MAX_READ, "a header with room for no more TLVs");
    assert!(matches!(parse(&header), Parsed::Header { len: MAX_READ, .. }));
}

/// Without this, clients of a balancer that sends version 1 over IPv6 are refused.
#[test]
fn v1_is_read_in_both_families() {
    for (source, destination) in [("192.0.2.1:5", "192.0.2.2:443"), ("[2001:db8::1]:5", "[2001:db8::2]:443")] {
        let line = v1_of(source, destination);
        let header = client(source, destination, Tlvs::default());
        assert_eq!(parse(line.as_bytes()), Parsed::Header { header, len: line.len() });
    }
}

/// Without this, the longest name or unique id that a balancer may send is refused.
#[test]
fn the_longest_tlvs_are_read() {
    let (name, id) = ([b'a'; MAX_VALUE], [b'b'; MAX_UNIQUE_ID]);
    let tlvs = [&[TLV_AUTHORITY, 0, 255][..], &name, &[TLV_UNIQUE_ID, 0, 128], &id].concat();
    let len = (12 + tlvs.len()) as u16;
    let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0, 5, 1, 187];
    let header = [&SIGNATURE[..], &[0x21, 0x11], &len.to_be_bytes(), &addresses, &tlvs].concat();
    let Parsed::Header { header: Header::Client { tlvs, .. }, .. } = parse(&header) else { panic!("refused") };
    assert_eq!(tlvs.authority, Some(&name[..]));
}
