//! What go-proxyproto, the strictest of the field's readers, refuses: each case in our own bytes, with what we make of it.
use std::net::SocketAddr;

use super::*;

/// What becomes of a header that names no client.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Not taken for a header at all.
    NotProxy,
    /// Refused as soon as it is seen.
    Refused,
    /// More is waited for, until the client's time for its hello is over.
    Waits,
    /// A whole header without a client: the caller refuses it.
    Unknown,
    /// The balancer's own, closed quietly.
    Local,
    /// Believed.
    Client(SocketAddr, usize),
}
use Verdict::{Local, NotProxy, Refused, Unknown, Waits};

fn verdict(bytes: &[u8]) -> Verdict {
    match parse(bytes) {
        Parsed::NotProxy => NotProxy,
        Parsed::Malformed(_) => Refused,
        Parsed::Incomplete => Waits,
        Parsed::Header { header: Header::Unknown, .. } => Unknown,
        Parsed::Header { header: Header::Local, .. } => Local,
        Parsed::Header { header: Header::Client { source, .. }, len } => Verdict::Client(source, len),
    }
}

fn frame(command: u8, family: u8, len: usize, body: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[command, family], &(len as u16).to_be_bytes(), body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 0x01, 0xbb];

/// Without this, a line tells an address here that a stricter reader does not see in it.
#[test]
fn lines_of_version_1() {
    let long = "1111:1111:1111:1111:1111:1111:1111:1111";
    for (line, expected) in [
        // The word itself.
        ("PROX", Waits),
        ("PROXYjunk TCP4 192.0.2.1 192.0.2.2 80 443\r\n", NotProxy),
        ("PROXYTCP4 192.0.2.1 192.0.2.2 80 443\r\n", NotProxy),
        ("PROXY\r\n", NotProxy),
        ("proxy TCP4 192.0.2.1 192.0.2.2 80 443\r\n", NotProxy),
        // Its end: LF alone is none, and CR LF belongs to the first 107 bytes.
        ("PROXY \n", Waits),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 80 443", Waits),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 80 443\nGET / HTTP/1.1\r\n", Refused),
        (&format!("PROXY UNKNOWN {long} {long} 65535 65535 \r\n"), Refused),
        // What it is for.
        ("PROXY \r\n", Refused),
        ("PROXY SOMETHING\r\n", Refused),
        ("PROXY UNKNOWN 127.0.0.1 127.0.0.1 99999 99999\r\n", Unknown),
        // Addresses: of the family that is named, without a zone, without octal digits.
        ("PROXY TCP4 invalid invalid 80 443\r\n", Refused),
        ("PROXY TCP4 ::1 ::1 80 443\r\n", Refused),
        ("PROXY TCP4 ::ffff:192.0.2.1 ::ffff:192.0.2.2 80 443\r\n", Refused),
        ("PROXY TCP4 01.2.3.4 192.0.2.2 80 443\r\n", Refused),
        ("PROXY TCP6 invalid ::1 80 443\r\n", Refused),
        ("PROXY TCP6 fe80::1%eth0 fe80::2 80 443\r\n", Refused),
        ("PROXY TCP6 fe80::1 fe80::2%eth0 80 443\r\n", Refused),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 80 443\r\n", Refused),
        ("PROXY TCP6 2001:db8::1 192.0.2.2 80 443\r\n", Refused),
        // Ports: digits alone, no leading zero, five words behind PROXY and no more.
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", Refused),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +80 443\r\n", Refused),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 080 443\r\n", Refused),
        ("PROXY TCP4 192.0.2.1 192.0.2.2  443\r\n", Refused),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 80 443 extra\r\n", Refused),
    ] {
        assert_eq!(verdict(line.as_bytes()), expected, "{line:?}");
    }
}

/// Without this, a client's first bytes are read as its address, or its address as first bytes.
#[test]
fn frames_of_version_2() {
    let with = |tlvs: &[u8]| frame(COMMAND_PROXY, FAMILY_TCP4, 12 + tlvs.len(), &[&V4[..], tlvs].concat());
    for (bytes, expected) in [
        // Cut off before it says for how long it goes on, which is waited for; what is wrong already is not.
        (SIGNATURE[2..].to_vec(), NotProxy),
        (SIGNATURE.to_vec(), Waits),
        ([&SIGNATURE[..], b"\x21"].concat(), Waits),
        ([&SIGNATURE[..], b"\x21\x11"].concat(), Waits),
        ([&SIGNATURE[..], b"\x21\x11\x00"].concat(), Waits),
        ([&SIGNATURE[..], b"\x20\x00"].concat(), Waits),
        // Version and command.
        (frame(0x99, FAMILY_TCP4, 12, &V4), Refused),
        (frame(0x11, FAMILY_TCP4, 12, &V4), Refused),
        (frame(0x22, FAMILY_TCP4, 12, &V4), Refused),
        // Family and transport: undefined ones, and defined ones that are not TCP.
        (frame(COMMAND_PROXY, FAMILY_UNSPEC, 0, &[]), Unknown),
        (frame(COMMAND_PROXY, 0x13, 12, &V4), Refused),
        (frame(COMMAND_PROXY, 0x99, 12, &V4), Refused),
        (frame(COMMAND_PROXY, 0x12, 12, &V4), Refused),
        (frame(COMMAND_PROXY, 0x31, 216, &[0; 216]), Refused),
        // Length: shorter than the addresses, longer than what follows, longer than any reader takes.
        (frame(COMMAND_PROXY, FAMILY_TCP4, 0, &[0; 36]), Refused),
        (frame(COMMAND_PROXY, FAMILY_TCP6, 12, &V4), Refused),
        (frame(COMMAND_PROXY, FAMILY_TCP4, 12, &[]), Waits),
        (frame(COMMAND_PROXY, FAMILY_TCP6, 36, &V4), Waits),
        (frame(COMMAND_PROXY, FAMILY_TCP4, 20, &[&V4[..], &[0; 3]].concat()), Waits),
        (frame(COMMAND_PROXY, FAMILY_TCP4, 12 + 10 * 1024, &V4), Refused),
        // TLVs that go past the end.
        (with(b"\xe1"), Refused),
        (with(b"\xe2\x00"), Refused),
        (with(b"\xe3\x00\x01"), Refused),
        (with(b"\xe3\x00\x02\x00"), Refused),
        // The balancer's own, whatever family and addresses it has; cut off, it is waited for. go-proxyproto refuses the
        // undefined family here too; section 2.2 has the family of LOCAL ignored, and no address is taken from it.
        (frame(COMMAND_LOCAL, FAMILY_UNSPEC, 0, &[]), Local),
        (frame(COMMAND_LOCAL, FAMILY_TCP4, 12, &V4), Local),
        (frame(COMMAND_LOCAL, FAMILY_TCP4, 0, &[]), Local),
        (frame(COMMAND_LOCAL, 0x99, 3, b"abc"), Local),
        (frame(COMMAND_LOCAL, FAMILY_TCP4, 5, &[0xaa, 0xbb]), Waits),
        // And what both take.
        (with(b""), Verdict::Client("192.0.2.1:50000".parse().unwrap(), 28)),
        (with(b"\xe0\x00\x00"), Verdict::Client("192.0.2.1:50000".parse().unwrap(), 31)),
    ] {
        assert_eq!(verdict(&bytes), expected, "{}", bytes.escape_ascii());
    }
}

/// Without this, a header with an undefined family or transport is believed. Only LOCAL may have any.
#[test]
fn no_undefined_family_is_believed() {
    for family in 0..=u8::MAX {
        let told = verdict(&frame(COMMAND_PROXY, family, 216, &[1; 216]));
        match family {
            FAMILY_UNSPEC => assert_eq!(told, Unknown),
            // With 204 and 180 bytes of TLVs 0x01 whose length 0x0101 goes past the end.
            _ => assert_eq!(told, Refused, "{family:#x}"),
        }
        assert_eq!(verdict(&frame(COMMAND_LOCAL, family, 0, &[])), Local, "{family:#x}");
    }
}
