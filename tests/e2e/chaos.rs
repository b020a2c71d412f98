//! No byte is lost, held back or added, by the kernel's figures of both sockets of every relay.
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::client::Client;
use crate::kit::namespace::skip;
use crate::kit::oracle;
use crate::kit::origin::{Expect, Origin, Visit};
use crate::kit::proxy::Proxy;
use crate::kit::stream::Seeded;
use crate::kit::wait_until;

/// Clients at once that keep to no order.
const CLIENTS: u64 = 16;
/// Looks at what the relays hold while everything goes on.
const LOOKS: usize = 20;
/// The most that a relay may hold of one direction in a pipe.
const MOST_IN_PIPE: i64 = 1 << 20;
/// The same in memory: one read of bulk, by one of the few that hold what their sink does not take. Of the others' bulk that stays with
/// the kernel.
const MOST_IN_MEMORY: i64 = 164 * 1024;

/// Without this, what a short write leaves over could be written twice, or not at all.
#[test]
fn copied_bytes_are_all_accounted_for() {
    chaos("off", MOST_IN_MEMORY);
}

/// Without this, what lies in a pipe could be forgotten.
#[test]
fn spliced_bytes_are_all_accounted_for() {
    let most = chaos("auto", MOST_IN_PIPE);
    assert!(most > 0, "not even the relay of a client that does not read held a byte: nothing was spliced");
}

/// The most that a relay held of one direction, which may be `allowed`.
fn chaos(zero_copy: &str, allowed: i64) -> i64 {
    if !oracle::is_available() {
        skip("chaos", "ss is not installed");
        return 1;
    }
    let calm = Origin::echo("calm");
    let mut origins = [Origin::serve(Expect::Header, disorderly), Origin::serve(Expect::Header, disorderly)];
    let mut config = config(&calm, &origins, zero_copy);
    let proxy = Proxy::start(config.clone());
    let sleep = proxy.sleeps_in();
    let (over, mut most, mut looked_at) = (AtomicBool::new(false), 0, 0);
    let mut stalled = proxy.connect();
    stalled.hello("calm.test");
    let stalled = stall(stalled);
    let calm_clients: Vec<Client> = thread::scope(|scope| {
        // A look that fails must not leave them running: the scope waits for them.
        let _over = SetOnDrop(&over);
        for seed in 1..=CLIENTS {
            let (over, proxy) = (&over, &proxy);
            scope.spawn(move || {
                let mut numbers = Seeded::new(seed);
                while !over.load(Ordering::Relaxed) {
                    drop(come(proxy.address, &mut numbers));
                }
            });
        }
        let one_look = |look| {
            match look % 5 {
                1 => {
                    config["retries"] = json!(look);
                    proxy.reload(config.clone());
                }
                3 => {
                    // Its clients are ended as soon as a probe finds out.
                    origins[0].stop_listening();
                    thread::sleep(Duration::from_millis(100));
                    origins[0] = Origin::serve_at(origins[0].address, Expect::Header, disorderly);
                }
                _ => {}
            }
            let mut client = proxy.connect();
            client.hello("calm.test").send(&vec![b'c'; look * 5_000]);
            thread::sleep(Duration::from_millis(20));
            for held in look_at(&proxy, &sleep, &[&calm, &origins[0], &origins[1]]) {
                assert!(held.iter().all(|bytes| (0..=allowed).contains(bytes)), "look {look}: a relay holds {held:?}");
                most = held.into_iter().fold(most, i64::max);
                looked_at += 1;
            }
            client
        };
        (0..LOOKS).map(one_look).collect()
    });
    assert!(looked_at > LOOKS, "{looked_at} relays were looked at");
    drop(stalled);
    let mut calm_clients = calm_clients;
    for (look, client) in calm_clients.iter_mut().enumerate() {
        assert_eq!(client.greeting(), "calm");
        let mut back = vec![0; crate::kit::hello::hello("calm.test").len() + look * 5_000];
        client.stream.read_exact(&mut back).unwrap();
    }
    // Everything has gone through, and nothing is left within. The log says when the others have gone: to look takes long on a
    // busy machine.
    wait_until("only the calm ones are left", || {
        let lines = proxy.entries();
        let count = |step| lines.iter().filter(|line| line.step == step).count();
        count("ACCEPT") - count("CLOSE") == LOOKS
    });
    let left = look_at(&proxy, &sleep, &[&calm]);
    assert_eq!(left, vec![[0, 0]; LOOKS]);
    most
}

/// What the relay of each connection to these origins holds, one moment for all: between two turns, for within one
/// bytes are passed on before they are taken from their socket.
fn look_at(proxy: &Proxy, sleep: &str, origins: &[&Origin]) -> Vec<[i64; 2]> {
    wait_until("it stops between two turns", || {
        proxy.halt();
        let stopped_in = proxy.system_call();
        if stopped_in != sleep {
            proxy.signal(Signal::CONT);
        }
        stopped_in == sleep
    });
    let sockets = oracle::sockets_of(proxy.pid());
    proxy.signal(Signal::CONT);
    oracle::held_by_relays(&sockets, proxy.address, origins).into_values().collect()
}

/// A client that says more than fits on the way there and back, and reads nothing: its relay has to hold some of it.
pub(crate) fn stall(mut client: Client) -> Client {
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while client.stream.write(&[b's'; 8 * 1024]).is_ok() {}
    client
}

/// A client that says much or little, reads or does not, and ends in one way or another.
fn come(to: SocketAddr, numbers: &mut Seeded) -> io::Result<()> {
    let mut client = Client::new(TcpStream::connect(to)?);
    client.stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    client.stream.set_write_timeout(Some(Duration::from_millis(50)))?;
    client.stream.write_all(&crate::kit::hello::hello("a.test"))?;
    let mut buffer = vec![b'x'; 256 * 1024];
    for _ in 0..numbers.below(30) {
        match numbers.below(12) {
            0 => client.stream.shutdown(Shutdown::Write)?,
            1 => thread::sleep(Duration::from_millis(5)),
            2..7 => {
                let count = numbers.below(buffer.len());
                let _ = client.stream.write(&buffer[..count])?;
            }
            _ => _ = client.stream.read(&mut buffer)?,
        }
    }
    if numbers.below(3) == 0 {
        client.reset();
    }
    Ok(())
}

/// A server that sends back what comes, as long as it pleases.
fn disorderly(mut visit: Visit) {
    let port = visit.peer.port();
    let mut numbers = Seeded::new(port.into());
    let mut buffer = vec![0; 64 * 1024];
    let mut go = || -> io::Result<()> {
        loop {
            let n = visit.stream.read(&mut buffer)?;
            match numbers.below(60) {
                _ if n == 0 => return Ok(()),
                0 => visit.stream.shutdown(Shutdown::Write)?,
                // With bytes unread, this is a reset.
                1 => return Ok(()),
                2..6 => thread::sleep(Duration::from_millis(5)),
                _ => {}
            }
            visit.stream.write_all(&buffer[..n])?;
        }
    };
    drop(go());
}

fn config(calm: &Origin, origins: &[Origin; 2], zero_copy: &str) -> Value {
    json!({
        "routes": {
            "calm": { "sni": ["calm.test"], "servers": [calm.server()] },
            "a": { "sni": ["a.test"], "servers": [origins[0].server(), origins[1].server()], "on_down": "close" }
        },
        "health_check": { "interval": "50ms", "fall": 1, "rise": 1 },
        "zero_copy": zero_copy,
        "reject": "close"
    })
}

/// Sets it when dropped.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
