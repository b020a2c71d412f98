//! Replays the fuzz corpus through the functions of the fuzz targets, and checks that the hellos of real clients in it
//! read as those clients were told to send them.
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

/// Without this, a hello that fuzzing once found to break a promise breaks it again.
#[test]
fn client_hello() {
    replay("client_hello", targets::client_hello);
}

/// Without this, a PROXY header that fuzzing once found to break a promise breaks it again.
#[test]
fn proxy_header() {
    replay("proxy_header", targets::proxy_header);
}

/// Without this, a header that differs by some bytes from a known one breaks a promise. `HEADERS=1000000` tries more.
#[test]
fn proxy_headers_with_other_bytes() {
    let wanted: u64 = std::env::var("HEADERS").map_or(20_000, |text| text.parse().unwrap());
    let corpus: Vec<Vec<u8>> = fs::read_dir(fuzz_directory().join("corpus/proxy_header"))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let mut random = Random(13);
    for _ in 0..wanted {
        let mut bytes = corpus.get(random.below(corpus.len())).unwrap().clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            let byte = random.below(256) as u8;
            match random.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => {
                    if let Some(place) = bytes.get_mut(at) {
                        *place = byte;
                    }
                }
            }
        }
        targets::proxy_header(&bytes);
    }
}

/// Without this, a request head that fuzzing once found to break a promise breaks it again.
#[test]
fn http_head() {
    replay("http_head", targets::http_head);
}

/// Without this, a configuration that fuzzing once found to break a promise breaks it again.
#[test]
fn config() {
    replay("config", targets::config);
}

/// Without this, a sequence of events that fuzzing once found to break a relay breaks it again. The target has the
/// model.
#[test]
fn session() {
    replay("session", targets::session);
}

/// Without this, a real client's hello is misread, whole or in two records cut anywhere, where our own builder's hello
/// is not.
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

/// The same numbers for the same seed: Knuth's MMIX constants.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * bound as u64) >> 32) as usize
    }
}
