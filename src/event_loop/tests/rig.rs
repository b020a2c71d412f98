//! A loop with scripted time, and peers on loopback.
#![allow(clippy::disallowed_types, reason = "clients and servers have sockets")]
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Registry, Token};

use super::super::{EventLoop, Fds, Host, SignalSource, TimeSource, reload};
use socket2::SockRef;

use crate::config;
use crate::metrics::Snapshot;
use crate::net::Output;
use crate::policy::time::{Time, UnixTime};
use crate::wire::hello_builder::HelloBuilder;

/// Rounds of a millisecond in which loopback brings what was sent.
pub(super) const ROUNDS: usize = 10_000;

pub(super) struct Rig {
    event_loop: EventLoop,
    time: Rc<Cell<u64>>,
    signals: Rc<RefCell<Vec<i32>>>,
    events: Events,
    server: Option<TcpListener>,
    /// What the server has accepted.
    served: Vec<TcpStream>,
}

/// A client, and nothing else.
pub(super) struct Client(TcpStream);

struct Scripted(Rc<Cell<u64>>);

struct Signals(Rc<RefCell<Vec<i32>>>);

impl TimeSource for Scripted {
    fn monotonic(&self) -> u64 {
        self.0.get()
    }

    fn wall(&self) -> UnixTime {
        UnixTime::from_micros(self.0.get())
    }
}

impl Source for Signals {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

impl SignalSource for Signals {
    fn take(&mut self) -> Vec<i32> {
        self.0.take()
    }
}

pub(super) fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn hello() -> Vec<u8> {
    HelloBuilder::new().sni("a.test").build()
}

fn config_of(server: SocketAddr, server_keys: &str, keys: &str) -> String {
    format!(
        r#"{{ "listen": ["127.0.0.1:0"], "health_check": {{ "type": "off" }}, {keys},
            "routes": {{ "a": {{ "sni": ["a.test"], "proxy_protocol": "off",
                "servers": [{{ "address": "{server}", {server_keys} }}] }} }} }}"#
    )
}

fn parse(text: &str) -> config::File {
    let config = config::parse("test", text).unwrap_or_else(|errors| panic!("{}", errors[0]));
    config::File { config, text: text.into() }
}

impl Rig {
    /// With more keys of the configuration.
    pub(super) fn new(keys: &str) -> Rig {
        Rig::with_server(r#""weight": 1"#, keys)
    }

    /// With more keys of the server too.
    pub(super) fn with_server(server_keys: &str, keys: &str) -> Rig {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let text = config_of(server.local_addr().unwrap(), server_keys, keys);
        Rig { server: Some(server), ..Rig::of(&text) }
    }

    /// With a whole configuration, and servers of its own.
    pub(super) fn of(text: &str) -> Rig {
        let (time, signals) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let output = Output::to(File::create("/dev/null").unwrap().into()).unwrap();
        let host = Host::bare(Fds::at_most(100_000), output, Box::new(Scripted(Rc::clone(&time)))).unwrap();
        let host = Host { signals: Box::new(Signals(Rc::clone(&signals))), ..host };
        let event_loop = EventLoop::new(Path::new("test"), parse(text), host).unwrap();
        Rig { event_loop, time, signals, events: Events::with_capacity(8), server: None, served: Vec::new() }
    }

    /// From now on the server's connections have segments of 1,400 bytes. A loopback interface has others.
    pub(super) fn be_on_ethernet(&self) {
        SockRef::from(self.server.as_ref().unwrap()).set_tcp_mss(1_400).unwrap();
    }

    /// Takes over another configuration, as a reload does.
    pub(super) fn adopt(&mut self, text: &str) {
        self.try_adopt(text).unwrap();
    }

    /// The same, where the kernel may refuse what it takes.
    pub(super) fn try_adopt(&mut self, text: &str) -> Result<(), Vec<String>> {
        reload::adopt(&mut self.event_loop, parse(text))
    }

    /// The same with other keys of the server and the file.
    pub(super) fn adopt_keys(&mut self, server_keys: &str, keys: &str) {
        let server = self.server.as_ref().unwrap().local_addr().unwrap();
        self.adopt(&config_of(server, server_keys, keys));
    }

    /// Nothing that is shared is still taken when no client is left.
    pub(super) fn check_gauges(&self) {
        let shared = &self.event_loop.sessions.shared;
        let pipes = (shared.pipes.lent(), shared.pipes.taken_places());
        let gauges = (shared.over_limits(), shared.stalled(), pipes, shared.line.is_empty());
        assert_eq!(gauges, (0, 0, (0, 0), true));
    }

    /// Relays whose client takes nothing now.
    pub(super) fn stalled(&self) -> u32 {
        self.event_loop.sessions.shared.stalled()
    }

    /// The server sends on its connection with that number as much as is taken at once.
    pub(super) fn send_much(&mut self, number: usize) {
        let stream = &mut self.served[number];
        stream.set_nonblocking(true).unwrap();
        let piece = vec![7; 64 * 1024];
        while stream.write(&piece).is_ok_and(|n| n > 0) {}
        Rig::settle();
        self.turns();
    }

    /// The server sends on its connection with that number without end, and its client reads, each on a thread of its own
    /// that ends with the rig.
    pub(super) fn flow(&self, number: usize, Client(mut client): Client) {
        let mut server = self.served[number].try_clone().unwrap();
        server.set_nonblocking(false).unwrap();
        thread::spawn(move || {
            let mut room = vec![0; 1 << 20];
            while client.read(&mut room).is_ok_and(|n| n > 0) {}
        });
        thread::spawn(move || {
            let piece = vec![7; 64 * 1024];
            while server.write_all(&piece).is_ok() {}
        });
    }

    /// Places in the line of sessions that move bulk.
    pub(super) fn in_line(&self) -> usize {
        self.event_loop.sessions.shared.line.len()
    }

    /// Bytes that have gone to clients.
    pub(super) fn down(&self) -> u64 {
        self.event_loop.sessions.iter().map(|session| session.moved().down).sum()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.event_loop.addresses().next().unwrap()
    }

    /// The address with that host where it listens.
    pub(super) fn address_at(&self, host: &str) -> SocketAddr {
        let host: IpAddr = host.parse().unwrap();
        self.event_loop.addresses().find(|address| address.ip() == host).unwrap()
    }

    /// A client whose hello has not come yet.
    pub(super) fn connect(&mut self) -> Client {
        Client(TcpStream::connect(self.address()).unwrap())
    }

    /// A client that talks to the server.
    pub(super) fn client(&mut self) -> Client {
        let mut client = self.connect();
        client.say(&hello());
        let before = self.served.len();
        for _ in 0..ROUNDS {
            self.turns();
            if self.serve() > before {
                return client;
            }
            Rig::settle();
        }
        panic!("no server for a client");
    }

    /// Has the server accept; how many it has accepted in all.
    pub(super) fn serve(&mut self) -> usize {
        while let Ok((stream, _)) = self.server.as_ref().unwrap().accept() {
            self.served.push(stream);
        }
        self.served.len()
    }

    /// What the server reads of its connection with that number, which is not less than `least` bytes.
    pub(super) fn heard(&mut self, number: usize, least: usize) -> Vec<u8> {
        let mut bytes = vec![0; least];
        for _ in 0..ROUNDS {
            self.turns();
            let stream = &mut self.served[number];
            stream.set_nonblocking(true).unwrap();
            if stream.peek(&mut bytes).is_ok_and(|n| n == least) {
                stream.read_exact(&mut bytes).unwrap();
                return bytes;
            }
            Rig::settle();
        }
        panic!("the server hears nothing");
    }

    /// The server hangs up on all.
    pub(super) fn hang_up(&mut self) {
        self.served.clear();
        Rig::settle();
    }

    /// Time goes by, and the loop does nothing.
    pub(super) fn pass(&self, duration: Duration) {
        self.time.set(self.time.get() + duration.as_micros() as u64);
    }

    /// Loopback has the time to bring what was sent.
    pub(super) fn settle() {
        thread::sleep(Duration::from_millis(1));
    }

    /// One turn that does not sleep.
    pub(super) fn turn(&mut self) {
        self.event_loop.turn(&mut self.events, Time::ZERO).unwrap();
    }

    /// Turns until nothing is left to be done.
    pub(super) fn turns(&mut self) {
        // What a turn begins may bring an event at once.
        let mut idle = 0;
        for _ in 0..ROUNDS {
            self.turn();
            let is_idle = self.events.is_empty() && !self.event_loop.is_busy();
            idle = if is_idle { idle + 1 } else { 0 };
            if idle == 2 {
                return;
            }
        }
        panic!("there is no end of turns");
    }

    /// A signal comes.
    pub(super) fn signal(&mut self, signal: i32) {
        self.signals.borrow_mut().push(signal);
        self.event_loop.obey();
    }

    /// An operator drains the process.
    pub(super) fn drain_at_leisure(&mut self) {
        self.event_loop.drain_at_leisure();
    }

    pub(super) fn is_over(&self) -> bool {
        self.event_loop.is_over()
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.event_loop.snapshot()
    }
}

impl Client {
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }
    /// Reads what has come.
    pub(super) fn take(&mut self) {
        self.0.set_nonblocking(true).unwrap();
        let mut room = vec![0; 64 * 1024];
        while self.0.read(&mut room).is_ok_and(|n| n > 0) {}
    }
}
