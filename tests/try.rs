//! `try`: its output for each kind of server.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

#[path = "e2e/kit/program.rs"]
mod program;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::{fs, thread};

use program::program;

const HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03";

/// A server that does the same for each connection, given its first bytes; it lives as long as the test.
fn server(serve: impl Fn(&[u8], &mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut first) = (stream.unwrap(), [0; 4096]);
            let length = stream.read(&mut first).unwrap();
            serve(&first[..length], &mut stream);
        }
    });
    address
}

/// Exit code, and what is printed after the first line, for a server of a route with this `proxy_protocol`.
fn tried(test: &str, protocol: &str, address: SocketAddr) -> (Option<i32>, String) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("try-{test}.json"));
    let route = format!(
        r#"{{ "sni": ["a.test"], "proxy_protocol": "{protocol}", "servers": [{{ "name": "s", "address": "{address}" }}] }}"#
    );
    fs::write(&path, format!(r#"{{ "listen": ["127.0.0.1:443"], "routes": {{ "web": {route} }} }}"#)).unwrap();
    let output = Command::new(program()).arg("try").arg("-c").arg(path).arg("A.test.").output();
    let output = output.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let (first, rest) = stdout.split_once('\n').unwrap();
    assert!(first.starts_with("route web: 1 server, "), "{first}");
    (output.status.code(), rest.replace(&address.to_string(), "ADDRESS"))
}

/// Does what a server does that insists on a header, in the way of nginx: nothing else gets an answer.
fn insists(first: &[u8], stream: &mut TcpStream) {
    if first.starts_with(HEADER) {
        stream.write_all(SERVER_HELLO).unwrap();
    }
}

/// Does what a server does that knows no header, in the way of nginx.
fn knows_none(first: &[u8], stream: &mut TcpStream) {
    let answer =
        if first.starts_with(&[0x16, 0x03]) { SERVER_HELLO } else { b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n" };
    stream.write_all(answer).unwrap();
}

/// Without this, `try` reports a fault where route and server agree.
#[test]
fn all_is_well() {
    for (protocol, address) in [("v2", server(insists)), ("off", server(knows_none))] {
        let (code, said) = tried(&format!("well-{protocol}"), protocol, address);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("  s ADDRESS: ok, ServerHello in ") && said.ends_with(" ms\n"), "{said}");
    }
}

/// Without this, `try` misses the commonest mistake, which neither health check nor log shows: a PROXY header on one
/// side only.
#[test]
fn the_header_on_one_side_only() {
    let (code, said) = tried("unexpected", "v2", server(knows_none));
    let expected = "  s ADDRESS: answers \"HTTP/1.1 400 Bad Request\" in plain text, so it expects HTTP\n    \
                    with no PROXY header it answers: write \"proxy_protocol\": \"off\" for routes.web, or have the server \
                    expect a PROXY v2 header\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
    let (code, said) = tried("missing", "off", server(insists));
    let expected = "  s ADDRESS: closed the connection without an answer, after the hello\n    \
                    with a PROXY v2 header it answers: write \"proxy_protocol\": \"v2\" for routes.web, or have the server \
                    expect no PROXY header\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
}

/// Without this, `try` does not explain an alert or an unusual answer.
#[test]
fn other_answers() {
    let answers: [(&str, &'static [u8], &str); 3] = [
        ("name", b"\x15\x03\x03\x00\x02\x02\x70", "TLS alert 112 (unrecognized_name): it does not know the name"),
        ("ssh", b"SSH-2.0-OpenSSH\r\n", "answers with bytes that are not TLS: \"SSH-2.0-OpenSSH\\r\\n\""),
        ("end", b"", "closed the connection without an answer, after the header and the hello"),
    ];
    for (test, answer, expected) in answers {
        let address = server(move |_, stream| stream.write_all(answer).unwrap());
        assert_eq!(tried(test, "v2", address), (Some(1), format!("  s ADDRESS: {expected}\n")));
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let expected = format!("  s ADDRESS: connection refused: nothing listens on port {} there\n", nobody.port());
    assert_eq!(tried("refused", "v2", nobody), (Some(1), expected));
}

/// Without this, `try` explains a name without a route otherwise than `route`.
#[test]
fn no_route() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("try-none.json");
    let config =
        r#"{ "listen": ["127.0.0.1:443"], "routes": { "web": { "sni": ["a.test"], "servers": ["127.0.0.1:1"] } } }"#;
    fs::write(&path, config).unwrap();
    let output = Command::new(program()).arg("try").arg("-c").arg(path).arg("b.test").output();
    let output = output.unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("no route takes \"b.test\""));
}
