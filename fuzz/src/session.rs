//! A session between a client and a server on loopback, driven step by step by a script, against a naive model: a queue
//! of bytes and flags for each direction.
#![allow(clippy::disallowed_types, reason = "client and server have sockets")]
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use fiscalismia_lb::access_log::Output;
use fiscalismia_lb::config;
use fiscalismia_lb::event_loop::{EventLoop, Fds, Host, TimeSource};
use fiscalismia_lb::metrics::{Phase, Snapshot};
use fiscalismia_lb::policy::time::{Time, UnixTime};
use fiscalismia_lb::vocabulary::{CloseReason, DropReason};
use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use fiscalismia_lb::wire::proxy_header::{self, Header, Parsed};
use mio::Events;
use socket2::{Domain, SockRef, Socket, Type};

const HELLO_TIMEOUT: Duration = Duration::from_millis(100);
const TUNNEL: Duration = Duration::from_millis(400);
const HALF_CLOSED: Duration = Duration::from_millis(200);
/// Nobody lives so long without a byte, nor with one that came late: loopback has timers of its own.
const AGE: Duration = Duration::from_secs(2);
/// What a socket takes at once that holds nothing, however small its buffers are.
const SURE_TO_FIT: usize = 1024;
/// Rounds of a millisecond in which what must come has to come.
const PATIENCE: usize = 10_000;

/// Every byte comes through once and in order, and FIN behind the last of them; RST comes through as RST; timeouts come
/// when they are due and not before; and nothing of it is left in the end.
pub fn session(data: &[u8]) {
    let Some((&setup, script)) = data.split_first() else { return };
    let mut play = Play::new(setup);
    for &step in script.iter().take(256) {
        play.step(step);
    }
    play.finish();
    play.check();
}

struct Play {
    proxy: Proxy,
    origin: Socket,
    /// Bound and not listening: its address refuses.
    _closed: Socket,
    client: Party,
    server: Party,
    hello: usize,
    /// When a byte or a FIN has gone through for sure.
    heard: Time,
    /// When the script has done something.
    busy: Time,
}

/// One of the two, and the model of its direction.
#[derive(Default)]
struct Party {
    /// `None`: not connected yet, or gone with a reset.
    stream: Option<TcpStream>,
    /// What it will send first.
    opening: VecDeque<u8>,
    /// What it has sent and the other has not read yet.
    sent: VecDeque<u8>,
    /// How many bytes it has sent in all.
    total: usize,
    has_finished: bool,
    has_reset: bool,
    /// How the connection ended for it.
    saw: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
}

/// The event loop, with time of its own.
struct Proxy {
    event_loop: EventLoop,
    events: Events,
    time: Rc<Cell<u64>>,
    /// As it was after the last turn.
    seen: Snapshot,
    has_timed_out: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

struct Scripted(Rc<Cell<u64>>);

impl TimeSource for Scripted {
    fn monotonic(&self) -> u64 {
        self.0.get()
    }

    fn wall(&self) -> UnixTime {
        UnixTime::from_micros(self.0.get())
    }
}

impl Play {
    /// The bits of `setup`: nothing is spliced, the client's buffers are small, the server's are, a server before it
    /// refuses.
    fn new(setup: u8) -> Play {
        let bit = |n: u8| setup >> n & 1 == 1;
        let [origin, closed] = [socket(bit(2)), socket(false)].map(|socket| {
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
            socket
        });
        origin.listen(1).unwrap();
        origin.set_nonblocking(true).unwrap();
        let mut proxy = Proxy::new(bit(3).then_some(&closed), &origin, !bit(0));
        let client = socket(bit(1));
        client.connect(&proxy.address().into()).unwrap();
        client.set_nonblocking(true).unwrap();
        proxy.turns_until("a client is let in", |proxy| proxy.seen.connections == 1);
        let opening: VecDeque<u8> = HelloBuilder::new().sni("a.test").build().into();
        Play {
            proxy,
            origin,
            _closed: closed,
            hello: opening.len(),
            client: Party { stream: Some(client.into()), opening, ..Party::default() },
            server: Party::default(),
            heard: Time::ZERO,
            busy: Time::ZERO,
        }
    }

    /// Three bits say what is done, the other five how much of it.
    fn step(&mut self, step: u8) {
        let how_much = step >> 3;
        let bytes = 1 << (how_much % 18);
        let cut = self.is_cut();
        self.meet();
        match step & 7 {
            0 => self.send(Side::Client, bytes),
            1 => self.send(Side::Server, bytes),
            2 => self.client.read(&mut self.server, bytes, cut),
            3 => self.server.read(&mut self.client, bytes, cut),
            4 => return self.tick(Duration::from_millis(10 * (u64::from(how_much) + 1))),
            5 => self.end(Side::Client, how_much >= 24),
            6 => self.end(Side::Server, how_much >= 24),
            _ => self.proxy.turn(Duration::ZERO),
        }
        self.busy = self.proxy.now();
    }

    fn party(&mut self, side: Side) -> &mut Party {
        if side == Side::Client { &mut self.client } else { &mut self.server }
    }

    fn send(&mut self, side: Side, bytes: usize) {
        let before = self.proxy.moved(side);
        let party = self.party(side);
        let is_idle = party.sent.is_empty();
        let sent = party.send(bytes);
        if is_idle && (1..=SURE_TO_FIT).contains(&sent) && self.proxy.is_open() {
            self.proxy.turns_until("bytes that fit go through", |proxy| proxy.moved(side) > before || proxy.is_over());
            self.heard = self.proxy.now();
        }
    }

    fn end(&mut self, side: Side, with_reset: bool) {
        let party = self.party(side);
        let is_idle = party.sent.is_empty() && party.stream.is_some();
        party.end(with_reset);
        // With a FIN from either side the kernel is done with a connection: it hears no reset any more.
        let is_done = self.client.has_finished && self.server.has_finished;
        if with_reset && !is_done && (side == Side::Client || is_idle) {
            self.proxy.turns_until("a reset ends it", Proxy::is_over);
        } else if is_idle && self.proxy.is_open() {
            self.proxy.turns_until("a FIN goes through", |proxy| !proxy.is_open());
            self.heard = self.proxy.now();
        }
    }

    /// Has the server take the connection once the proxy has made it, and holds the PROXY header to the truth.
    fn meet(&mut self) {
        if self.server.stream.is_some() || self.server.has_reset {
            return;
        }
        let Ok((socket, _)) = self.origin.accept() else { return };
        socket.set_read_timeout(Some(AGE)).unwrap();
        let mut stream = TcpStream::from(socket);
        let mut bytes = Vec::new();
        while proxy_header::parse(&bytes) == Parsed::Incomplete {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => bytes.extend(byte),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The reset of its client has overtaken the header.
                Err(_) if self.client.has_reset => {
                    self.server.saw = Some(End::Reset);
                    break;
                }
                other => panic!("{other:?} after {bytes:?}"),
            }
        }
        if let Some(client) = &self.client.stream
            && let Parsed::Header { header: Header::Client { source, .. }, .. } = proxy_header::parse(&bytes)
        {
            assert_eq!(source, client.local_addr().unwrap());
        }
        stream.set_nonblocking(true).unwrap();
        self.server.stream = Some(stream);
    }

    /// Time goes by, for a proxy that has nothing else to do.
    fn tick(&mut self, step: Duration) {
        self.proxy.turns();
        if self.client.total >= self.hello {
            self.proxy.turns_until("a whole hello has a server", |proxy| proxy.is_over() || proxy.is_routed());
        }
        let has_timed_out = self.proxy.expire(step);
        let now = self.proxy.now();
        if has_timed_out {
            let timeout = match (self.proxy.is_routed(), self.client.has_finished || self.server.has_finished) {
                (false, _) => HELLO_TIMEOUT,
                (true, true) => HALF_CLOSED,
                (true, false) => TUNNEL,
            };
            assert!(now >= self.heard + timeout, "its time was not over");
        }
        assert!(self.proxy.is_over() || now < self.busy + AGE, "its time was over");
    }

    /// Whether the proxy may end the connection as it likes.
    fn is_cut(&self) -> bool {
        self.proxy.has_timed_out || !self.proxy.is_routed()
    }

    /// Both read all that comes and then go in peace.
    fn finish(&mut self) {
        for round in 0.. {
            self.proxy.turn(Duration::from_millis(1));
            self.meet();
            let cut = self.is_cut();
            self.client.read(&mut self.server, usize::MAX, cut);
            self.server.read(&mut self.client, usize::MAX, cut);
            if self.client.sent.is_empty() || !self.proxy.is_routed() {
                self.client.end(false);
            }
            if self.server.sent.is_empty() {
                self.server.end(false);
            }
            if self.proxy.is_over() && self.client.is_over() && self.server.is_over() {
                return;
            }
            assert!(round < PATIENCE, "it never ends");
        }
    }

    fn check(self) {
        let Play { client, server, .. } = &self;
        if !self.is_cut() && !client.has_reset && !server.has_reset {
            assert_eq!((client.saw, server.saw), (Some(End::Fin), Some(End::Fin)));
            assert_eq!(self.proxy.closes(CloseReason::Done), 1);
        }
        for (one, other) in [(client, server), (server, client)] {
            let may_see = self.is_cut() || one.has_reset;
            assert!(may_see || other.saw != Some(End::Reset), "a reset out of thin air");
            let must_see = !self.is_cut() && one.has_reset && !one.has_finished;
            assert!(!must_see || other.stream.is_none() || other.saw == Some(End::Reset), "a reset got lost");
        }
        let https = &self.proxy.seen.process.https;
        for (party, counted) in [(client, https.bytes_up), (server, https.bytes_down)] {
            let range = party.total - party.sent.len()..=party.total;
            assert!(
                !self.proxy.is_routed() || range.contains(&(counted as usize)),
                "{counted} is not within {range:?}"
            );
        }
        let seen = &self.proxy.seen;
        assert_eq!(seen.process.closes.iter().sum::<u64>(), 1);
        assert_eq!((seen.connections, seen.pipes.used), (0, 0));
        assert!(seen.routes.iter().all(|route| (route.open, route.queued) == (0, 0)));
        assert!(seen.servers.iter().all(|server| server.open == 0));
    }
}

impl Party {
    /// Sends as many bytes, or as many as are taken; how many were.
    fn send(&mut self, most: usize) -> usize {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.has_finished && self.saw.is_none()) else {
            return 0;
        };
        let start = self.total;
        let bytes: Vec<u8> = if self.opening.is_empty() {
            (start..start + most).map(|n| (n ^ n >> 7) as u8).collect()
        } else {
            self.opening.iter().copied().take(most).collect()
        };
        let n = match stream.write(&bytes) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // The kernel tells an error once: no read will.
            Err(_) => {
                self.saw = Some(End::Reset);
                0
            }
        };
        self.opening.drain(..n.min(self.opening.len()));
        self.sent.extend(&bytes[..n]);
        self.total += n;
        n
    }

    /// Reads as many bytes, or as many as there are, of what `other` sent.
    fn read(&mut self, other: &mut Party, most: usize, is_cut: bool) {
        let mut room = [0; 16 * 1024];
        let mut left = most;
        while let Some(stream) = self.stream.as_mut().filter(|_| left > 0 && self.saw.is_none()) {
            let size = left.min(room.len());
            match stream.read(&mut room[..size]) {
                Ok(0) => {
                    assert!(is_cut || other.has_finished && other.sent.is_empty(), "a FIN out of thin air");
                    self.saw = Some(End::Fin);
                }
                Ok(n) => {
                    assert!(other.sent.drain(..n).eq(room[..n].iter().copied()), "other bytes came");
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.saw = Some(End::Reset),
            }
        }
    }

    /// Sends FIN, or RST.
    fn end(&mut self, with_reset: bool) {
        let Some(stream) = &self.stream else { return };
        if with_reset {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
            self.has_reset = true;
            self.stream = None;
        } else if !self.has_finished {
            // Fails where the connection is over already.
            let _ = stream.shutdown(Shutdown::Write);
            self.has_finished = true;
        }
    }

    fn is_over(&self) -> bool {
        self.stream.is_none() || self.saw.is_some()
    }
}

impl Proxy {
    fn new(refusing: Option<&Socket>, good: &Socket, is_spliced: bool) -> Proxy {
        let servers: Vec<String> = refusing
            .into_iter()
            .chain([good])
            .map(|socket| format!("\"{}\"", socket.local_addr().unwrap().as_socket().unwrap()))
            .collect();
        let config = format!(
            r#"{{
                "listen": ["127.0.0.1:0"], "retries": 1, "reject": "close", "log": {{ "connections": "off" }},
                "zero_copy": "{}", "health_check": {{ "type": "off" }},
                "routes": {{ "a": {{ "sni": ["a.test"], "servers": [{}] }} }},
                "timeouts": {{ "client_hello": "{}ms", "tunnel": "{}ms", "half_closed": "{}ms" }}
            }}"#,
            if is_spliced { "auto" } else { "off" },
            servers.join(","),
            HELLO_TIMEOUT.as_millis(),
            TUNNEL.as_millis(),
            HALF_CLOSED.as_millis()
        );
        let config = config::parse("script", &config).unwrap();
        let file = config::File { config, text: "".into() };
        let time = Rc::new(Cell::new(0));
        let output = Output::to(File::create("/dev/null").unwrap().into()).unwrap();
        let host = Host::bare(Fds::at_most(1000), output, Box::new(Scripted(Rc::clone(&time)))).unwrap();
        let mut event_loop = EventLoop::new(Path::new("script"), file, host).unwrap();
        let seen = event_loop.snapshot();
        Proxy { event_loop, events: Events::with_capacity(8), time, seen, has_timed_out: false }
    }

    fn address(&self) -> SocketAddr {
        self.event_loop.addresses().next().unwrap()
    }

    fn now(&self) -> Time {
        Time::from_micros(self.time.get())
    }

    /// One turn, which sleeps no longer than `patience`.
    fn turn(&mut self, patience: Duration) {
        let latest = self.now() + patience;
        self.event_loop.turn(&mut self.events, latest).unwrap();
        self.seen = self.event_loop.snapshot();
        let silent =
            [CloseReason::ClientSilent, CloseReason::ServerSilent, CloseReason::Dropped(DropReason::HelloTimeout)];
        self.has_timed_out = silent.into_iter().any(|reason| self.closes(reason) > 0);
    }

    /// As many turns as there is something to do.
    fn turns(&mut self) {
        self.turn(Duration::ZERO);
        while !self.events.is_empty() || self.event_loop.is_busy() {
            self.turn(Duration::ZERO);
        }
    }

    fn turns_until(&mut self, what: &str, done: impl Fn(&Proxy) -> bool) {
        for _ in 0..PATIENCE {
            if done(self) {
                return;
            }
            self.turn(Duration::from_millis(1));
        }
        panic!("waited in vain: {what}");
    }

    /// Time goes by; whether that ended the session.
    fn expire(&mut self, step: Duration) -> bool {
        let had_timed_out = self.has_timed_out;
        self.time.set(self.time.get() + step.as_micros() as u64);
        self.turn(Duration::ZERO);
        self.has_timed_out && !had_timed_out
    }

    fn is_over(&self) -> bool {
        self.seen.process.https.accepted.total() > 0 && self.seen.connections == 0
    }

    /// Bytes that have gone through from a side.
    fn moved(&self, from: Side) -> usize {
        let https = &self.seen.process.https;
        if from == Side::Client { https.bytes_up as usize } else { https.bytes_down as usize }
    }

    /// Whether a server was found for the session.
    fn is_routed(&self) -> bool {
        self.seen.routes.iter().any(|route| route.traffic.connects > 0)
    }

    /// Whether bytes are to go through both ways.
    fn is_open(&self) -> bool {
        self.seen.phases[Phase::Relay as usize] > 0 && self.seen.half_closed == 0
    }

    fn closes(&self, reason: CloseReason) -> u64 {
        self.seen.process.closes[reason.index()]
    }
}

/// A socket, with buffers as small as the kernel lets them be or as it likes them.
fn socket(is_small: bool) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if is_small {
        socket.set_recv_buffer_size(1).unwrap();
        socket.set_send_buffer_size(1).unwrap();
        // The kernel sizes its peer's send buffer by it.
        socket.set_tcp_mss(536).unwrap();
    }
    socket
}
