//! The memory that a client costs the program, whatever the client does.
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use crate::kit::client::Client;
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::manager::Manager;
use crate::kit::origin::{Expect, Origin, Visit};
use crate::kit::places::free_address;
use crate::kit::proxy::Proxy;
use crate::kit::sockets::unread_of;
use crate::kit::wait_until;

const CLIENTS: usize = 250;
/// Clients that may take nothing before the kernel keeps the least for each.
const FIRST: usize = 64;

/// Without this, clients that send unfinished hellos make the program use several times the memory of their bytes.
#[test]
fn an_unfinished_hello_costs_little_more_than_its_bytes() {
    let origin = Origin::echo("a");
    let proxy = start(&origin, "auto");
    let before = resident(&proxy.proc("status"));
    // A hello of 32 KiB in records of three bytes, without its end: the first 20 KiB, and then what comes after.
    let mut hello = vec![1, 0, 0x7F, 0xFC];
    hello.resize(32 * 1024, 7);
    let raw: Vec<u8> = hello.chunks(3).flat_map(|piece| [&[22, 3, 1, 0, 3], piece].concat()).collect();
    let (first, rest) = raw[..raw.len() - 16].split_at(20 * 1000);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.stream.write_all(first).unwrap();
    }
    wait_until("all of it is read", || unread(&proxy) == 0);
    let each = (resident(&proxy.proc("status")) - before) / CLIENTS;
    assert!(each < 22 * 1024, "{each} bytes for each hello of {} so far", first.len());
    for client in &mut clients {
        // Those for which there is no more memory are closed.
        let _ = client.stream.write_all(rest);
    }
    wait_until("there is no memory for some of them", || {
        proxy.entries().iter().any(|line| line.step == "CLOSE" && line.ts() == "RC")
    });
    let all = resident(&proxy.proc("status")) - before;
    assert!(all < CLIENTS * 22 * 1024 + (12 << 20), "{all} bytes for {CLIENTS} hellos");
    // Others are served meanwhile.
    let mut guest = proxy.connect();
    assert_eq!(guest.hello("a.test").greeting(), "a");
}

/// Without this, each client that reads slowly costs 89 kB of the program's memory, or 600 kB of the kernel's.
#[test]
fn a_slow_reader_costs_less_than_20_kb() {
    for zero_copy in ["off", "auto"] {
        let origin = Origin::serve_on(on_ethernet(), Expect::Header, send_much);
        let proxy = start(&origin, zero_copy);
        let before = resident(&proxy.proc("status"));
        let mut readers: Vec<Client> = (0..CLIENTS).map(|_| narrow(proxy.address)).collect();
        for reader in &mut readers {
            reader.hello("a.test");
        }
        let mut room = vec![0; 4_000];
        for _ in 0..150 {
            for reader in &mut readers {
                reader.stream.read_exact(&mut room).unwrap();
            }
            sleep(Duration::from_millis(5));
        }
        // What the program does not read is in the kernel's memory, which a container pays for as well.
        let unread = unread_of(origin.address);
        let much = unread.iter().filter(|bytes| **bytes > 80 * 1024).count();
        assert!(much <= FIRST, "{much} of {} have more than 80 KiB there, zero_copy {zero_copy}", unread.len());
        let each = resident(&proxy.proc("status")).saturating_sub(before) / CLIENTS;
        assert!(each < 20_000, "{each} bytes for each slow reader, zero_copy {zero_copy}");
        drop(readers);
    }
}

/// Without this, a fast transfer from a server on the same host stands still once others have stalled: a segment of a loopback interface
/// does not fit in what the kernel keeps beside many of them.
#[test]
fn a_transfer_goes_on_beside_stalled_ones() {
    for zero_copy in ["off", "auto"] {
        goes_on_beside_stalled_ones(&Origin::serve(Expect::Header, send_much), zero_copy);
    }
}

/// Without this, the same is so where the server has a small buffer, by which its segments look smaller than they are.
#[test]
fn a_transfer_from_a_server_with_a_small_buffer_goes_on_beside_stalled_ones() {
    for zero_copy in ["off", "auto"] {
        let listener = TcpListener::bind(free_address()).unwrap();
        SockRef::from(&listener).set_recv_buffer_size(8 * 1024).unwrap();
        goes_on_beside_stalled_ones(&Origin::serve_on(listener, Expect::Header, send_much), zero_copy);
    }
}

fn goes_on_beside_stalled_ones(origin: &Origin, zero_copy: &str) {
    const STALLED: usize = 70;
    let proxy = start(origin, zero_copy);
    let connect = || {
        let mut client = proxy.connect();
        client.hello("a.test");
        client
    };
    let mut room = vec![0; 3 << 20];
    let mut fast: Vec<Client> = (0..8).map(|_| connect()).collect();
    for client in &mut fast {
        client.stream.read_exact(&mut room).unwrap();
    }
    let _stalled: Vec<Client> = (0..STALLED).map(|_| connect()).collect();
    wait_until("servers wait", || unread_of(origin.address).iter().filter(|bytes| **bytes > 0).count() >= STALLED);
    for client in &mut fast {
        for _ in 0..3 {
            client.stream.read_exact(&mut room).unwrap();
        }
    }
}

/// Without this, an idle connection costs more memory, in the process that accepted it or in the next.
#[test]
fn an_idle_connection_costs_400_bytes() {
    idle_connections_cost_400_bytes(500, 2_000);
}

/// Without this, docs/how-cheap.md names another memory of thousands of idle connections than they take.
#[test]
#[ignore = "4,000 connections at once, and so as many fds"]
fn thousands_of_idle_connections_cost_400_bytes_each() {
    idle_connections_cost_400_bytes(500, 4_000);
}

/// `many` beside `few`, for what comes with the first connections is not the others'. Tables grow by doubling, so both
/// numbers are right below a power of two. Memory comes in pages, of which a few more or less make no difference to so many.
fn idle_connections_cost_400_bytes(few: usize, many: usize) {
    let [before, after] = [few, many].map(with_idle_connections);
    for (what, before, after) in [("let in", before.0, after.0), ("taken over", before.1, after.1)] {
        let each = (after - before) / (many - few);
        println!("{what}: {each} bytes for each connection");
        assert!(each <= 400, "{each} bytes for each of {many} idle connections that were {what}");
    }
}

/// What a process has that has let so many connections in, and one that took them over.
fn with_idle_connections(count: usize) -> (usize, usize) {
    // It never accepts, so that the connections take no fds of this process.
    let server = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    server.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    server.listen(4_096).unwrap();
    let server = server.local_addr().unwrap().as_socket().unwrap();
    let mut manager = Manager::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [server], "health_check": { "type": "off" } } },
    }));
    let connect = || {
        let mut client = manager.connect();
        client.hello("a.test");
        client
    };
    let _clients: Vec<Client> = std::iter::repeat_with(connect).take(count).collect();
    wait_until("all of them are connected", || {
        let lines = manager.lines.of(From::Stdout);
        lines.iter().filter_map(|line| Entry::parse(line)).filter(|entry| entry.step == "CONNECT").count() == count
    });
    let let_in = resident(&manager.proc("status"));
    manager.restart();
    (let_in, resident(&manager.proc("status")))
}

/// A client that can have little on its way to it.
fn narrow(to: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&to.into()).unwrap();
    Client::new(socket.into())
}

/// A listener whose connections have segments of 1,400 bytes. A loopback interface has others.
fn on_ethernet() -> TcpListener {
    let listener = TcpListener::bind(free_address()).unwrap();
    SockRef::from(&listener).set_tcp_mss(1_400).unwrap();
    listener
}

/// A server that sends 12.5 MiB once it is asked.
fn send_much(mut visit: Visit) {
    let _ = visit.stream.read(&mut [0; 4096]);
    for _ in 0..50 {
        if visit.stream.write_all(&vec![7; 256 * 1024]).is_err() {
            break;
        }
    }
}

fn start(origin: &Origin, zero_copy: &str) -> Proxy {
    Proxy::start(json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
        "timeouts": { "client_hello": "5m" },
        "log": { "connections": "close" },
        "zero_copy": Value::from(zero_copy),
    }))
}

/// Memory that only the program has, in bytes, by its `status` in `/proc`.
fn resident(status: &str) -> usize {
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    anonymous.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// Bytes that clients have sent and the program has not read.
fn unread(proxy: &Proxy) -> usize {
    crate::kit::sockets::unread(proxy.address).iter().sum()
}
