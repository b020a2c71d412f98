//! Replays the fuzz corpus through the fuzz targets' own functions, and holds the hellos in it that real clients sent to
//! what those clients were asked to send.
#![allow(clippy::unwrap_used, clippy::panic)]
use std::fs;
use std::path::{Path, PathBuf};

use fiscalismia_lb::wire::client_hello::{Reader, Verdict};

#[allow(unreachable_pub, clippy::indexing_slicing)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn replay(target: &str, run: fn(&[u8])) {
    let mut count = 0;
    for entry in fs::read_dir(fuzz_directory().join("corpus").join(target)).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{target} has a corpus of {count}");
}

/// What fuzzing found stays found: bytes that once broke a promise are tried with every test run.
#[test]
fn client_hello() {
    replay("client_hello", targets::client_hello);
}

/// As above.
#[test]
fn proxy_header() {
    replay("proxy_header", targets::proxy_header);
}

/// As above.
#[test]
fn http_head() {
    replay("http_head", targets::http_head);
}

/// As above.
#[test]
fn config() {
    replay("config", targets::config);
}

/// As above; the model of a relay is in the target.
#[test]
fn session() {
    replay("session", targets::session);
}

/// Hellos of real clients are read, whole and in two records cut anywhere: one that our builder would never make too.
#[test]
fn hellos_of_real_clients() {
    let clients: [(&str, Option<&str>, &[&str]); 8] = [
        ("chromium", Some("demo.fiscalismia.com"), &["h2", "http/1.1"]),
        ("curl", Some("fiscalismia.com"), &["h2", "http/1.1"]),
        ("node", Some("node.example"), &["h2"]),
        ("openssl-no-sni", None, &[]),
        ("openssl-tls10", Some("old.example"), &[]),
        ("openssl-tls12", Some("backend.fiscalismia.com"), &[]),
        ("openssl-tls13", Some("demo.fiscalismia.com"), &["h2", "http/1.1"]),
        ("python", Some("monitoring.fiscalismia.com"), &[]),
    ];
    for (client, sni, alpn) in clients {
        let raw = fs::read(fuzz_directory().join("corpus/client_hello").join(client)).unwrap();
        let (header, message) = raw.split_at(5);
        let cut = |offset: usize| {
            let (head, tail) = message.split_at(offset);
            [&header[..3], &len(head), head, &header[..3], &len(tail), tail].concat()
        };
        for raw in (1..message.len()).map(cut).chain([raw.clone()]) {
            let mut reader = Reader::default();
            let Verdict::Hello(hello) = reader.read(&raw) else { panic!("{client}") };
            assert_eq!(hello.sni, sni.map(str::as_bytes), "{client}");
            assert!(hello.alpn().eq(alpn.iter().map(|protocol| protocol.as_bytes())), "{client}");
        }
    }
}

fn len(payload: &[u8]) -> [u8; 2] {
    u16::try_from(payload.len()).unwrap().to_be_bytes()
}
