//! A loop with scripted time, and peers on loopback.
#![allow(clippy::disallowed_types, reason = "clients and servers have sockets")]
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Registry, Token};

use super::super::{EventLoop, Fds, Host, SignalSource, TimeSource};
use crate::config;
use crate::metrics::Snapshot;
use crate::net::Output;
use crate::policy::time::Time;
use crate::systemd::{Inherited, Manager};
use crate::wire::hello_builder::HelloBuilder;

/// Rounds of a millisecond in which loopback brings what was sent.
const PATIENCE: usize = 10_000;

pub(super) struct Rig {
    event_loop: EventLoop,
    time: Rc<Cell<u64>>,
    signals: Rc<RefCell<Vec<i32>>>,
    events: Events,
    server: TcpListener,
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

    fn wall(&self) -> u64 {
        self.0.get()
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

impl Rig {
    /// With more keys of the configuration.
    pub(super) fn new(keys: &str) -> Rig {
        Rig::with_server(r#""weight": 1"#, keys)
    }

    /// With more keys of the server too.
    pub(super) fn with_server(server_keys: &str, keys: &str) -> Rig {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let address = server.local_addr().unwrap();
        let text = format!(
            r#"{{ "listen": ["127.0.0.1:0"], "health_check": {{ "type": "off" }}, {keys},
                "routes": {{ "a": {{ "sni": ["a.test"], "proxy_protocol": "off",
                    "servers": [{{ "address": "{address}", {server_keys} }}] }} }} }}"#
        );
        let config = config::parse("test", &text).unwrap_or_else(|errors| panic!("{}", errors[0]));
        let (time, signals) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let host = Host {
            fds: Fds::at_most(100_000),
            sockets: Inherited::default(),
            parcels: Vec::new(),
            manager: Manager::from_environment().unwrap(),
            output: Output::to(File::create("/dev/null").unwrap().into()).unwrap(),
            signals: Box::new(Signals(Rc::clone(&signals))),
            time: Box::new(Scripted(Rc::clone(&time))),
        };
        let event_loop = EventLoop::new(Path::new("test"), config, host).unwrap();
        Rig { event_loop, time, signals, events: Events::with_capacity(8), server, served: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.event_loop.door.listeners.iter().next().unwrap().bound
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
        for _ in 0..PATIENCE {
            self.turns();
            self.served.extend(self.server.accept().map(|(stream, _)| stream));
            if self.served.len() > before {
                return client;
            }
            Rig::settle();
        }
        panic!("no server for a client");
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
        std::thread::sleep(Duration::from_millis(1));
    }

    /// One turn that does not sleep.
    pub(super) fn turn(&mut self) {
        self.event_loop.turn(&mut self.events, Time::ZERO).unwrap();
    }

    /// Turns until nothing is left to be done.
    pub(super) fn turns(&mut self) {
        for _ in 0..PATIENCE {
            self.turn();
            if self.events.is_empty() && self.event_loop.due() > self.event_loop.context.now {
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
}
