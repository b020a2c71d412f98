//! 11. A log reader that stalls or goes away costs log lines, not traffic.
use std::io::Read;

use serde_json::{Value, json};

use crate::kit::hello::hello;
use crate::kit::log::Entry;
use crate::kit::origin::Origin;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

/// Three lines each: several times what a pipe holds, 64 KiB, and what the proxy may keep.
const CONNECTIONS: usize = 4_000;

/// Without this, a log reader that stalls stops all traffic.
#[test]
fn a_pipe_that_nobody_reads() {
    let origin = Origin::echo("a");
    let mut proxy = start(&origin);
    connections(&proxy);
    // Read at last, it tells whole lines, and how many are missing.
    let mut stdout = proxy.unread.take().unwrap();
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    wait_until("the log says how many lines it lost", || {
        // Lines that are written now follow upon those that were kept.
        assert_eq!(proxy.connect().hello("a.test").greeting(), "a");
        let n = stdout.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..n]);
        String::from_utf8_lossy(&text).lines().any(|line| line.contains("lost"))
    });
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (told, rest): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| Entry::parse(line).is_some());
    assert!(told.len() < 3 * CONNECTIONS, "nothing was lost");
    assert!(rest.iter().any(|line| line.contains("lost")), "{rest:#?}");
}

/// Without this, a log reader that goes away ends the process.
#[test]
fn a_pipe_that_is_closed() {
    let origin = Origin::echo("a");
    let mut proxy = start(&origin);
    drop(proxy.unread.take());
    connections(&proxy);
}

fn start(origin: &Origin) -> Proxy {
    let config: Value = json!({ "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } } });
    Proxy::launch(config, Launch { deaf: true, ..Launch::default() })
}

fn connections(proxy: &Proxy) {
    for _ in 0..CONNECTIONS {
        let mut client = proxy.connect();
        assert_eq!(client.hello("a.test").greeting(), "a");
        client.expect(&hello("a.test")).finish();
        client.end();
    }
}
