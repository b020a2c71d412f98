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

/// Headers that differ from good and bad ones by some bytes break no promise either. `HEADERS=1000000` tries more of
/// them.
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

/// The same numbers for the same seed: Knuth's MMIX constants.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * bound as u64) >> 32) as usize
    }
}
