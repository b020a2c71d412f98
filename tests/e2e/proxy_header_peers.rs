//! PROXY headers from balancers: a real one in front, and the same bytes read by HAProxy and nginx.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fiscalismia_lb::wire::proxy_header::{Header, Parsed, parse};
use serde_json::json;

use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;
use crate::peers::{Peers, with_peers};

/// Without this, servers behind two balancers in a row log the first balancer's address.
#[test]
fn through_haproxy_the_server_logs_the_client() {
    with_peers(concat!(module_path!(), "::through_haproxy_the_server_logs_the_client"), |peers| {
        for version in ["send-proxy-v2", "send-proxy", "send-proxy-v2 proxy-v2-options authority,crc32c,unique-id"] {
            let proxy = Proxy::start(json!({
                "routes": { "a": { "sni": ["a.test"], "servers": [peers.nginx.address] } },
                "accept_proxy": { "from": ["127.0.0.1/32"] }
            }));
            let front = Front::start(&peers, proxy.address, version);
            let client = peers.curl(front.address, &peers.nginx);
            assert_eq!(proxy.entry(client, "CLOSE").field("drop"), "-");
            assert_eq!(peers.s_client(front.address), "nginx");
            // Its checks come 20 times a second, and are nobody's business. Version 1 has no word for them; once the test
            // itself has looked whether HAProxy is there.
            std::thread::sleep(Duration::from_millis(300));
            let refused = proxy.entries().iter().filter(|entry| entry.step == "CLOSE" && entry.ts() == "PR").count();
            assert!(refused <= 1 || version == "send-proxy", "{:?}", proxy.lines);
        }
    });
}

/// Without this, a header means one client here and another one to HAProxy or nginx.
#[test]
fn no_header_is_taken_that_haproxy_or_nginx_refuse_or_read_otherwise() {
    with_peers(
        concat!(module_path!(), "::no_header_is_taken_that_haproxy_or_nginx_refuse_or_read_otherwise"),
        |peers| {
            let mut told = [0; 3];
            for bytes in headers() {
                let ours = match parse(&bytes) {
                    Parsed::Header { header: Header::Client { source, .. }, .. } => Some(source),
                    _ => None,
                };
                let theirs = [told_by(peers.haproxy.plain, &bytes), told_by(peers.nginx.plain, &bytes)];
                for (n, source) in [ours, theirs[0], theirs[1]].iter().enumerate() {
                    told[n] += usize::from(source.is_some());
                }
                if ours.is_some() {
                    let shown = bytes.escape_ascii();
                    assert_eq!(theirs, [ours, ours], "HAProxy and nginx: {shown}");
                }
            }
            assert!(told.iter().all(|count| *count >= 12), "told of clients: we, HAProxy, nginx {told:?}");
        },
    );
}

/// Good ones, and each thing that can be wrong with one. Where HAProxy and nginx differ, the stricter one is right for
/// us.
fn headers() -> Vec<Vec<u8>> {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 0x01, 0xbb];
    let mut v6 = [0; 36];
    v6[..2].copy_from_slice(&[0x20, 0x01]);
    v6[15] = 1;
    v6[16..18].copy_from_slice(&[0x20, 0x01]);
    v6[31] = 2;
    v6[32..].copy_from_slice(&[0xc3, 0x50, 0x01, 0xbb]);
    let v2 = |command: u8, family: u8, body: &[u8]| {
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &(body.len() as u16).to_be_bytes(), body].concat()
    };
    let with = |tlvs: &[u8]| v2(0x21, 0x11, &[&v4[..], tlvs].concat());
    let mut headers = vec![
        with(b""),
        v2(0x21, 0x21, &v6),
        with(b"\x02\x00\x03a.b"),
        with(b"\x01\x00\x02h2\x05\x00\x02id"),
        with(b"\xea\x00\x01\x01\xee\x00\x00"),
        with(b"\x04\x00\x03\0\0\0"),
        with(b"\x20\x00\x05\x01\0\0\0\0"),
        with(b"\x02"),
        with(b"\x02\x00\x04a.b"),
        with(b"\x03\x00\x04\0\0\0\0"),
        with(b"\x03\x00\x04aaaa"),
        with(b"\x03\x00\x03aaa"),
        with(&[&b"\x02\x01\x00"[..], &[b'a'; 256]].concat()),
        with(&[&b"\x05\x00\x81"[..], &[b'a'; 129]].concat()),
        with(&[&b"\xea\x03\x00"[..], &[b'a'; 0x300]].concat()),
        v2(0x21, 0x11, &v4[..11]),
        v2(0x21, 0x21, &v6[..35]),
        v2(0x21, 0x21, &v4),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x00, &v4),
        v2(0x21, 0x12, &v4),
        v2(0x21, 0x10, &v4),
        v2(0x21, 0x31, &[0; 216]),
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &v4),
        v2(0x22, 0x11, &v4),
        v2(0x11, 0x11, &v4),
        v2(0x01, 0x11, &v4),
    ];
    let lines = [
        "TCP4 192.0.2.1 198.51.100.2 50000 443",
        "TCP4 192.0.2.1 198.51.100.2 50000 0",
        "TCP4 0.0.0.0 198.51.100.2 50000 443",
        "TCP4 255.255.255.254 198.51.100.2 65535 65535",
        "TCP6 2001:db8::1 2001:db8::2 50000 443",
        "TCP6 ::ffff:c000:201 ::1 1 2",
        "TCP6 2001:DB8::A 2001:db8::2 1 2",
        "TCP6 1111:1111:1111:1111:1111:1111:1111:1111 2222:2222:2222:2222:2222:2222:2222:2222 65535 65535",
        "UNKNOWN",
        "UNKNOWN 192.0.2.1 198.51.100.2 50000 443",
        "TCP4 192.0.2.1 198.51.100.2 50000 65536",
        "TCP4 192.0.2.1 198.51.100.2 -1 443",
        "TCP4 192.0.2.1 198.51.100.2 +1 443",
        "TCP4 192.0.2.1 198.51.100.2 01 443",
        "TCP4 192.0.2.1 198.51.100.2 50000 443 ",
        "TCP4 192.0.2.1 198.51.100.2 50000 443 1",
        "TCP4  192.0.2.1 198.51.100.2 50000 443",
        "TCP4 192.0.2 198.51.100.2 50000 443",
        "TCP4 192.0.2.256 198.51.100.2 50000 443",
        "TCP4 192.0.02.1 198.51.100.2 50000 443",
        "TCP4 2001:db8::1 2001:db8::2 50000 443",
        "TCP6 192.0.2.1 198.51.100.2 50000 443",
        "TCP6 2001:db8:::1 2001:db8::2 1 2",
        "TCP6 fe80::1%lo fe80::2%lo 1 2",
        "tcp4 192.0.2.1 198.51.100.2 50000 443",
        "UDP4 192.0.2.1 198.51.100.2 50000 443",
        "TCP5 192.0.2.1 198.51.100.2 50000 443",
        "TCP4\t192.0.2.1\t198.51.100.2\t50000\t443",
        "",
    ];
    headers.extend(lines.map(|rest| format!("PROXY {rest}\r\n").into_bytes()));
    for end in ["\n", "\r", "\n\r", " \r\n", "\0\r\n"] {
        headers.push(format!("PROXY TCP4 192.0.2.1 198.51.100.2 50000 443{end}").into_bytes());
    }
    headers.push(b"proxy TCP4 192.0.2.1 198.51.100.2 50000 443\r\n".to_vec());
    headers
}

/// The address that a server tells in its answer to a request behind `header`; `None`: it has not taken the header, or
/// it holds to the address that the connection comes from.
fn told_by(server: SocketAddr, header: &[u8]) -> Option<SocketAddr> {
    let mut stream = TcpStream::connect(server).unwrap();
    let own = stream.local_addr().unwrap();
    // What is broken may be waited for: half a second, and it counts as refused.
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(&[header, b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"].concat()).unwrap();
    let mut text = Vec::new();
    drop(stream.read_to_end(&mut text));
    let text = String::from_utf8(text).unwrap();
    // "nginx a.test ADDRESS PORT", "haproxy - ADDRESS PORT"; without TLS the name is empty.
    let body = text.strip_prefix("HTTP/1.").filter(|rest| rest[2..].starts_with("200"))?.split_once("\r\n\r\n")?.1;
    let mut words = body.trim_end().rsplit(' ');
    let (port, ip) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(SocketAddr::new(ip, port)).filter(|told| *told != own)
}

/// A HAProxy in front.
struct Front {
    address: SocketAddr,
    process: Child,
}

impl Front {
    fn start(peers: &Peers, to: SocketAddr, version: &str) -> Front {
        let address = free_address();
        let config = format!(
            "defaults\n    mode tcp\n    timeout client 20s\n    timeout server 20s\n    timeout connect 20s\n\
             listen front\n    bind {address}\n    unique-id-format %[uuid]\n    \
             server lb {to} source 127.0.0.1 {version} check check-send-proxy inter 50\n"
        );
        let file = peers.folder.write("front.cfg", &config);
        let process = Command::new("haproxy").arg("-db").arg("-f").arg(file).stdout(Stdio::null()).spawn().unwrap();
        let front = Front { address, process };
        wait_until("HAProxy in front", || TcpStream::connect(address).is_ok());
        front
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
