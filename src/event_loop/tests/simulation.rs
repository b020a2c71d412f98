//! Many scripted clients and servers, clock steps, reloads and errors of the kernel against the real loop, beside a model that
//! is as naive as can be: what a peer sent, and how far the other has read it. Any seed replays:
//! `SEED=7 cargo test --lib simulation`.
use std::collections::HashMap;
use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::rig::Rig;
use super::weather::{Struck, Weather};
use crate::policy::random::Random;
use crate::wire::hello_builder::HelloBuilder;
use crate::wire::proxy_header::LOCAL;

/// Seeds that a plain `cargo test` plays; `SEEDS` says otherwise.
const SEEDS: u64 = 150;
/// So many seeds bring every error that a call can give.
const MANY: usize = 10_000;
const STEPS: usize = 150;
/// Length of a PROXY v2 header for IPv4, without TLVs.
const HEADER: usize = 28;
/// Bytes that are more than one read of a relay: a few in a row, and it splices.
const BULK: usize = 70_000;
/// Where a hello has its random bytes: behind the headers of record and handshake, and the version (RFC 8446 section 4.1.2).
const RANDOM_AT: usize = 11;
/// No deadline of the configuration is later.
const AGE: Duration = Duration::from_secs(100);

/// Without this, with some order of events, a client ends twice or never, a byte is lost, a counter is wrong, a gauge
/// stays up, or the loop spins.
#[test]
fn simulation() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (count, struck) = (seeds.clone().count(), Struck::default());
    for seed in seeds {
        // The seed of a failure stands in its output.
        println!("SEED={seed}");
        let mut play = Play::new(seed, &struck);
        for _ in 0..STEPS {
            play.step();
        }
        play.finish();
    }
    let missing = struck.missing();
    println!("Errors that no call has given: {missing:?}");
    assert!(count < MANY || missing.is_empty(), "{missing:?}");
}

/// One end of a connection, a client's or a server's.
#[expect(clippy::struct_excessive_bools, reason = "what has happened to it, in any order")]
struct End {
    /// `None`: gone.
    stream: Option<TcpStream>,
    /// The hello of its connection.
    hello: Vec<u8>,
    side: Side,
    /// Bytes sent, the client's hello among them.
    sent: usize,
    /// Bytes read.
    read: usize,
    has_finished: bool,
    has_reset: bool,
    /// Its connection was cut.
    was_reset: bool,
    /// It read FIN.
    saw_fin: bool,
}

struct Play {
    rig: Rig,
    random: Random,
    servers: Vec<TcpListener>,
    clients: Vec<End>,
    /// By the client's number, once its hello has come.
    served: HashMap<usize, End>,
    /// Bytes of PROXY header in front of each hello.
    header: usize,
    /// Connections whose hello has not come whole.
    fresh: Vec<(TcpStream, Vec<u8>)>,
    /// No deadline is due and no reload ends connections: a side that reads FIN has read everything.
    is_calm: bool,
    weather: Weather,
}

impl Play {
    fn new(seed: u64, struck: &Struck) -> Play {
        let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED);
        random.next();
        let servers: Vec<TcpListener> = (0..2)
            .map(|_| {
                let server = TcpListener::bind("127.0.0.1:0").unwrap();
                server.set_nonblocking(true).unwrap();
                server
            })
            .collect();
        let is_calm = random.below(2) == 0;
        let header = if random.below(2) == 0 { HEADER } else { 0 };
        let rig = Rig::of(&config(&servers, if is_calm { 0 } else { random.below(5) }, header));
        let weather = Weather::of(&mut random, struck);
        let (clients, served, fresh) = Default::default();
        Play { rig, random, servers, clients, served, header, fresh, is_calm, weather }
    }

    fn step(&mut self) {
        if self.random.below(32) == 0 {
            self.transfer();
        }
        let most = [1, 100, 100, 3_000, 3_000, 50_000][self.random.below(6) as usize];
        let most = self.random.below(most) as usize + 1;
        match self.random.below(16) {
            0..3 => self.connect(),
            3 => self.each_client(|id, client| client.send(id, client.hello.len().saturating_sub(client.sent))),
            4 | 5 => self.any_client(|id, client| client.send(id, most)),
            6 => self.any_client(|id, client| _ = client.read(id, most)),
            7 => self.any_client(|_, client| client.finish()),
            8 => self.any_client(|_, client| client.reset()),
            9 => self.serve(),
            10 => self.any_served(|id, server| server.send(id, most)),
            11 => self.any_served(|id, server| _ = server.read(id, most)),
            12 => self.any_served(|_, server| server.finish()),
            13 => self.any_served(|_, server| server.reset()),
            14 if !self.is_calm => self.rig.pass(Duration::from_millis(self.random.below(6_000))),
            15 if !self.is_calm && self.random.below(4) == 0 => {
                let variant = self.random.below(5);
                // A reload that the kernel refuses changes nothing, and so nothing that has to hold.
                let _ = self.weather.during(|| self.rig.try_adopt(&config(&self.servers, variant, self.header)));
            }
            _ => self.rig.pass(Duration::from_micros(self.random.below(100))),
        }
        if self.random.below(3) > 0 {
            self.weather.during(|| self.rig.turn());
        }
        if self.random.below(8) == 0 {
            self.weather.during(|| self.rig.turns());
        }
        self.check_bytes();
    }

    fn connect(&mut self) {
        if self.clients.iter().filter(|client| client.stream.is_some()).count() >= 12 {
            return;
        }
        let stream = TcpStream::connect(self.rig.address()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let id = self.clients.len();
        self.clients.push(End::new(stream, id, Side::Client));
        let part = self.random.below(600) as usize;
        if let Some(client) = self.clients.last_mut() {
            client.send(id, part);
        }
    }

    /// One side sends much, and the other reads it.
    fn transfer(&mut self) {
        let is_open = |id: &usize| self.served[id].can_send() && self.clients[*id].can_send();
        let mut open: Vec<usize> = self.served.keys().copied().filter(is_open).collect();
        // The table has its order from a random key.
        open.sort_unstable();
        let Some(id) = open.get(self.random.below(open.len().max(1) as u32) as usize).copied() else { return };
        let is_up = self.random.below(2) == 0;
        for _ in 0..6 {
            let (Some(client), Some(server)) = (self.clients.get_mut(id), self.served.get_mut(&id)) else { return };
            let (from, to) = if is_up { (client, server) } else { (server, client) };
            from.send(id, BULK);
            self.weather.during(|| self.rig.turn());
            to.read(id, usize::MAX);
        }
    }

    fn any_client(&mut self, act: impl FnOnce(usize, &mut End)) {
        let id = self.random.below(self.clients.len().max(1) as u32) as usize;
        if let Some(client) = self.clients.get_mut(id) {
            act(id, client);
        }
    }

    fn each_client(&mut self, act: impl Fn(usize, &mut End)) {
        for (id, client) in self.clients.iter_mut().enumerate() {
            act(id, client);
        }
    }

    fn any_served(&mut self, act: impl FnOnce(usize, &mut End)) {
        let id = self.random.below(self.clients.len().max(1) as u32) as usize;
        if let Some(server) = self.served.get_mut(&id) {
            act(id, server);
        }
    }

    /// Takes what the proxy has connected, and sees by the hello which client it is for.
    fn serve(&mut self) {
        for server in &self.servers {
            while let Ok((stream, _)) = server.accept() {
                stream.set_nonblocking(true).unwrap();
                self.fresh.push((stream, Vec::new()));
            }
        }
        for (mut stream, mut bytes) in std::mem::take(&mut self.fresh) {
            let mut room = vec![0; self.header + RANDOM_AT + 8];
            let left = room.len() - bytes.len();
            match stream.read(&mut room[..left]) {
                Ok(0) => continue,
                Ok(n) => bytes.extend_from_slice(&room[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => continue,
            }
            if bytes.len() < room.len() {
                self.fresh.push((stream, bytes));
                continue;
            }
            let (header, bytes) = bytes.split_at(self.header);
            assert!(header.is_empty() || header.starts_with(&LOCAL[..12]), "no PROXY header: {header:?}");
            let id = u64::from_be_bytes(bytes[RANDOM_AT..].try_into().unwrap()) as usize;
            let mut end = End::new(stream, id, Side::Server);
            end.read = bytes.len();
            assert!(end.hello.starts_with(bytes), "the hello of {id} has changed");
            let before = self.served.insert(id, end);
            assert!(before.is_none(), "{id} has two servers");
        }
    }

    /// The model: no side has read more than the other has sent, and a side that reads the end has read everything.
    fn check_bytes(&self) {
        for (id, server) in &self.served {
            let client = &self.clients[*id];
            let sent = client.sent;
            assert!(server.read <= sent && client.read <= server.sent, "bytes out of thin air for {id}");
            if self.is_calm && !self.weather.has_ended_any() && !client.has_reset && !server.has_reset {
                assert!(!client.was_reset && !server.was_reset, "{id} was cut for nothing");
                assert!(!server.saw_fin || client.has_finished && server.read == sent, "{id} lost bytes on the way up");
                assert!(!client.saw_fin || server.has_finished && client.read == server.sent, "{id} lost bytes down");
            }
        }
    }

    /// All read everything and go; then all timeouts are over.
    fn finish(&mut self) {
        self.read_all();
        self.each_client(|_, client| client.finish());
        for server in self.served.values_mut() {
            server.finish();
        }
        self.read_all();
        self.weather.clear();
        self.read_all();
        for _ in 0..4 {
            self.rig.pass(AGE);
            self.rig.turns();
        }
        let snapshot = self.rig.snapshot();
        assert_eq!((snapshot.connections, snapshot.pipes.used, snapshot.half_closed), (0, 0, 0));
        assert_eq!(snapshot.process.https.accepted.total(), self.clients.len() as u64);
        assert_eq!(snapshot.process.closes.iter().sum::<u64>(), self.clients.len() as u64, "a client ends once");
        assert!(snapshot.routes.iter().all(|route| (route.open, route.queued) == (0, 0)));
        assert!(snapshot.servers.iter().all(|server| server.open == 0));
        let sum = |ends: &mut dyn Iterator<Item = usize>| ends.sum::<usize>() as u64;
        let up = sum(&mut self.served.values().map(|server| server.read));
        let sent_up = sum(&mut self.clients.iter().map(|client| client.sent));
        let down = sum(&mut self.clients.iter().map(|client| client.read));
        let sent_down = sum(&mut self.served.values().map(|server| server.sent));
        let https = &snapshot.process.https;
        assert!((up..=sent_up).contains(&https.bytes_up), "{} bytes up, of {sent_up}, {up}", https.bytes_up);
        assert!((down..=sent_down).contains(&https.bytes_down), "{} down, of {sent_down}, {down}", https.bytes_down);
        self.rig.check_gauges();
    }
}

impl Play {
    /// All read what is on its way to them.
    fn read_all(&mut self) {
        let mut is_more = true;
        while is_more {
            self.weather.during(|| self.rig.turns());
            self.serve();
            is_more = false;
            for (id, client) in self.clients.iter_mut().enumerate() {
                is_more |= client.read(id, usize::MAX);
            }
            for (id, server) in &mut self.served {
                is_more |= server.read(*id, usize::MAX);
            }
        }
        self.check_bytes();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl End {
    fn new(stream: TcpStream, id: usize, side: Side) -> End {
        End {
            stream: Some(stream),
            hello: hello(id),
            side,
            sent: 0,
            read: 0,
            has_finished: false,
            has_reset: false,
            was_reset: false,
            saw_fin: false,
        }
    }

    /// The byte at a place of what a side sends.
    fn byte(&self, id: usize, side: Side, at: usize) -> u8 {
        let other = || (at ^ (at >> 8) ^ (id * 31) ^ ((side as usize) * 101)) as u8;
        if side == Side::Client { self.hello.get(at).copied().unwrap_or_else(other) } else { other() }
    }

    /// Sends as many bytes, or as many as are taken; behind the hello only when that is sent.
    fn send(&mut self, id: usize, most: usize) {
        let left = self.hello.len().saturating_sub(self.sent);
        let most = if self.side == Side::Client && left > 0 { most.min(left) } else { most.min(200_000) };
        let bytes: Vec<u8> = (self.sent..self.sent + most).map(|at| self.byte(id, self.side, at)).collect();
        let Some(stream) = self.stream.as_mut().filter(|_| !self.has_finished) else { return };
        match stream.write(&bytes) {
            Ok(n) => self.sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.lose(),
        }
    }

    /// Reads as many bytes, or as many as are there, and holds them to what the other sends. Answers whether there was anything.
    fn read(&mut self, id: usize, most: usize) -> bool {
        let other = if self.side == Side::Client { Side::Server } else { Side::Client };
        let mut room = [0; 16 * 1024];
        let before = (self.read, self.saw_fin);
        let mut left = most;
        while left > 0 {
            let Some(stream) = self.stream.as_mut().filter(|_| !self.saw_fin) else { break };
            let size = left.min(room.len());
            match stream.read(&mut room[..size]) {
                Ok(0) => self.saw_fin = true,
                Ok(n) => {
                    for (at, got) in (self.read..).zip(&room[..n]) {
                        assert_eq!(*got, self.byte(id, other, at), "byte {at} of {id}");
                    }
                    self.read += n;
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.lose();
                    return true;
                }
            }
        }
        before != (self.read, self.saw_fin)
    }

    fn can_send(&self) -> bool {
        self.stream.is_some() && !self.has_finished
    }

    fn finish(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
            self.has_finished = true;
        }
    }

    fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            self.has_reset = true;
        }
    }

    /// The proxy has reset it.
    fn lose(&mut self) {
        self.stream = None;
        self.was_reset = true;
    }
}

fn hello(id: usize) -> Vec<u8> {
    let mut random = [7; 32];
    random[..8].copy_from_slice(&(id as u64).to_be_bytes());
    HelloBuilder::new().random(random).sni("a.test").build()
}

/// Variants: 0 plain; 1 few connections a server; 2 a server that refuses first; 3 sources limited; 4 no route for the name.
fn config(servers: &[TcpListener], variant: u64, header: usize) -> String {
    let address = |server: &TcpListener| server.local_addr().unwrap();
    let most = if variant == 1 { r#", "max_connections": 2"# } else { "" };
    let mut list: Vec<String> =
        servers.iter().map(|server| format!(r#"{{ "address": "{}"{most} }}"#, address(server))).collect();
    if variant == 2 {
        // Nothing listens on port 1, and no connection can start from an address that this host does not have.
        list.push(r#"{ "address": "127.0.0.1:1" }"#.to_owned());
        list.push(r#"{ "address": "127.0.0.1:1", "name": "nowhere", "source": "192.0.2.7" }"#.to_owned());
    }
    // What a header says of an address that is not the listener's, the kernel is asked for.
    let (listen, protocol) = if header > 0 { ("0.0.0.0", "v2") } else { ("127.0.0.1", "off") };
    // What a reload has to bind.
    let redirect = if variant % 2 == 1 { r#""redirect": { "listen": ["127.0.0.1:0"] },"# } else { "" };
    let limits = if variant == 3 { r#""limits": { "per_source": { "concurrent": 3 } },"# } else { "" };
    let name = if variant == 4 { "b.test" } else { "a.test" };
    format!(
        r#"{{ "listen": ["{listen}:0"], "reject": "close", "retries": 2, {limits} {redirect}
            "timeouts": {{ "client_hello": "5s", "connect": "3s", "tunnel": "20s", "half_closed": "10s" }},
            "routes": {{ "a": {{ "sni": ["{name}"], "proxy_protocol": "{protocol}", "health_check": {{ "type": "off" }},
                "servers": [{}] }} }} }}"#,
        list.join(",")
    )
}
