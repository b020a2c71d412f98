//! Admin clients that are slow, many or hostile delay neither TLS clients nor each other.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use socket2::{Domain, Socket, Type};

use crate::http::{connect, get, json as stats, start};
use crate::kit::load::under_load;
use crate::kit::origin::Origin;
use crate::kit::places::free_address;
use crate::kit::wait_until;
use crate::prometheus::Exposition;

/// Less than the 5 s after which an idle client has to go.
const SOON: Duration = Duration::from_secs(3);

/// Without this, a hanging monitoring system, or an attacker on the private network, locks other admin clients out.
#[test]
fn a_hundred_idle_clients_keep_nobody_out() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let mut idle: Vec<TcpStream> = (0..100).map(|_| connect(admin)).collect();
    for stream in &mut idle {
        // Whoever was sent away already has broken off.
        drop(stream.write_all(b"GET /metr"));
    }
    let mut soon = 0;
    wait_until("fifty are answered while the idle are there", || {
        let started = Instant::now();
        assert_eq!(get(admin, "/health").body, "ok\n");
        soon += u32::from(started.elapsed() < SOON);
        soon == 50
    });
}

/// Without this, a client that does not read a large answer costs more than one buffer.
#[test]
fn an_answer_that_is_not_read_is_given_up() {
    let (proxy, admin) = start(json!({ "routes": routes(1000) }));
    let (before, fds) = (memory(&proxy.proc("status")), proxy.open_fds());
    let mut deaf: Vec<TcpStream> = (0..32).map(|_| with_little_room(admin)).collect();
    for stream in &mut deaf {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lb\r\n\r\n").unwrap();
    }
    assert_eq!(get(admin, "/health").body, "ok\n");
    let grown = memory(&proxy.proc("status")).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} kB more for 32 clients");
    wait_until("they are given up", || proxy.open_fds() <= fds);
    for stream in &mut deaf {
        // Only what was written before they were given up can still be read: not the end of the answer.
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes));
        assert!(!bytes.ends_with(b"0\r\n\r\n"), "a whole answer of {} bytes fits into a socket", bytes.len());
    }
    assert_eq!(get(admin, "/health").body, "ok\n");
}

/// Without this, an HTTP/1.0 client takes a partial answer for a whole one with half of the series: only a reset
/// differs from the end.
#[test]
fn an_answer_that_is_cut_off_ends_with_a_reset() {
    let (proxy, admin) = start(json!({ "routes": routes(1000) }));
    let fds = proxy.open_fds();
    for version in ["1.0", "1.1"] {
        wait_until("nobody is there from before", || proxy.open_fds() <= fds);
        // One client more than there may be makes one go: of those that do not take their answer, the one that was given
        // something last the longest ago.
        let mut deaf: Vec<TcpStream> = (0..33)
            .map(|_| {
                let mut deaf = with_little_room(admin);
                deaf.write_all(format!("GET /metrics HTTP/{version}\r\nHost: lb\r\n\r\n").as_bytes()).unwrap();
                assert_eq!(deaf.read(&mut [0]).unwrap(), 1);
                deaf
            })
            .collect();
        let ends: Vec<_> =
            deaf.iter_mut().map(|deaf| deaf.read_to_end(&mut Vec::new()).map_err(|error| error.kind())).collect();
        assert!(ends.contains(&Err(std::io::ErrorKind::ConnectionReset)), "HTTP/{version}: {ends:?}");
        // Whole answers differ by the digits of what counts on meanwhile, once in each of four thousand series and
        // more; one that is cut off lacks what did not fit into its socket, megabytes.
        let whole = ends.iter().flatten().max();
        assert!(ends.iter().flatten().all(|bytes| bytes + 64 * 1024 > *whole.unwrap()), "HTTP/{version}: {ends:?}");
    }
}

/// Without this, every client waits for milliseconds while the page of a thousand routes is made at once.
#[test]
fn clients_are_served_while_large_answers_are_made() {
    let origin = Origin::echo("here");
    let mut routes = routes(1000);
    routes.insert("echo".into(), json!({ "sni": ["echo.test"], "servers": [origin.server()] }));
    let (proxy, admin) = start(json!({ "routes": routes, "log": { "connections": "off" } }));
    let turns = || {
        let metrics = Exposition::parse(&get(admin, "/metrics").body);
        metrics.value("fiscalismia_lb_turn_duration_seconds_count") as usize
    };
    let client = || {
        let mut client = proxy.connect();
        client.hello("echo.test");
        assert_eq!(client.greeting(), "here");
    };
    // Each turn counts the one before, and the snapshot is taken in the first of an answer's.
    let without = { (turns(), turns()) };
    under_load(1, client, |load| {
        for path in ["/metrics", "/stats", "/stats.json", "/stats;csv", "/metrics"] {
            let answer = get(admin, path);
            assert_eq!(answer.status, 200);
            assert!(answer.body.len() > 90_000, "{path}: {}", answer.body.len());
            load.wait_for(2);
        }
    });
    // Between the two snapshots the first answer was written: in small pieces, each a turn.
    let pieces = get(admin, "/metrics").body.len() / (32 * 1024);
    assert!(without.1 - without.0 > pieces, "{} turns for an answer of {pieces} pieces", without.1 - without.0);
}

/// Without this, admin clients count as clients, or take connections from them.
#[test]
fn admin_clients_take_no_clients_room() {
    let origin = Origin::echo("here");
    let (proxy, admin) = start(json!({
        "limits": { "connections": 1 }, "routes": { "r": { "sni": ["*"], "servers": [origin.server()] } } }));
    let idle: Vec<TcpStream> = (0..20).map(|_| connect(admin)).collect();
    let mut client = proxy.connect();
    client.hello("a.test");
    assert_eq!(client.greeting(), "here");
    let now = stats(admin);
    assert_eq!((&now["connections"], &now["frontends"][0]["sessions"]["now"]), (&json!(1), &json!(1)));
    let mut waiting = proxy.connect();
    waiting.hello("a.test");
    assert_eq!(get(admin, "/health").body, "ok\n", "a full house is no reason to be silent");
    drop(client);
    assert_eq!(waiting.greeting(), "here");
    drop((idle, waiting));
    wait_until("all have gone", || stats(admin)["connections"] == 0);
}

/// A client whose own kernel takes little ahead of it.
fn with_little_room(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn routes(count: u16) -> Map<String, Value> {
    let off = json!({ "type": "off" });
    let route = |i| json!({ "sni": [format!("r{i}.test")], "servers": [format!("127.0.0.1:{}", 1000 + i)], "health_check": off });
    (0..count).map(|i| (format!("route-{i}"), route(i))).collect()
}

/// Resident memory in kB.
fn memory(status: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
