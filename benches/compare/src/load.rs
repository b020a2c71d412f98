//! The clients and the origin, in one thread and one epoll set, so that both stay on one core.
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, bind, getsockname, listen, socket_with, sockopt,
};

use crate::client::{Client, Job};
use crate::hello::hello;
use crate::origin::Origin;
use crate::transfer::Next;

const CHUNK: usize = 128 << 10;
/// The same where pings go beside bulk: what they wait for is to be the proxy, not the load.
const CHUNK_BESIDE_PINGS: usize = 16 << 10;
const STALLED: Duration = Duration::from_secs(20);
pub const NONBLOCK: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
const BOTH_WAYS: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::OUT).union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

/// Where clients connect and what their hellos look like.
#[derive(Clone, Debug)]
pub struct Target {
    pub proxy: SocketAddr,
    pub names: Vec<String>,
    pub hello_bytes: usize,
}

/// What clients went through since the tally was last taken.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections whose job is done.
    pub finished: usize,
    /// Connections whose hello was answered and that wait to be told to go.
    pub ready: usize,
    /// A short connection from connect to end, or a ping round, each in ns.
    pub latencies: Vec<u64>,
    /// Clients whose connection failed, where that is no failure of the run.
    pub lost: usize,
    failure: Option<String>,
}

pub struct Load {
    epoll: OwnedFd,
    slots: Vec<Option<Sock>>,
    free: Vec<usize>,
    unfinished: VecDeque<usize>,
    /// Of the connections that move bulk, only one has its turn between two looks for pings.
    pub pings_first: bool,
    /// A client whose connection fails is counted, and no failure of the run.
    pub forgiving: bool,
    scratch: Box<[u8]>,
    pub tally: Tally,
    pub origin_port: u16,
    opened: usize,
}

struct Sock {
    fd: OwnedFd,
    role: Role,
}

enum Role {
    Listener,
    Client(Client),
    Origin(Origin),
}

impl Load {
    /// An origin that listens on every IPv4 address at a port of the kernel's choice, and no client yet.
    pub fn new() -> rustix::io::Result<Load> {
        let listener = socket_with(AddressFamily::INET, SocketType::STREAM, NONBLOCK, None)?;
        bind(&listener, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
        listen(&listener, 4096)?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        let port = SocketAddr::try_from(getsockname(&listener)?)?.port();
        let mut load = Load {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            slots: Vec::new(),
            free: Vec::new(),
            unfinished: VecDeque::new(),
            pings_first: false,
            forgiving: false,
            scratch: vec![0; CHUNK].into(),
            tally: Tally::default(),
            origin_port: port,
            opened: 0,
        };
        load.insert(Sock { fd: listener, role: Role::Listener })?;
        Ok(load)
    }

    fn insert(&mut self, sock: Sock) -> rustix::io::Result<usize> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        epoll::add(&self.epoll, &sock.fd, epoll::EventData::new_u64(slot as u64), BOTH_WAYS)?;
        self.slots[slot] = Some(sock);
        Ok(slot)
    }

    /// Connects one client and sends its hello; the slot it has.
    pub fn open(&mut self, target: &Target, job: Job) -> rustix::io::Result<usize> {
        let name = &target.names[self.opened % target.names.len()];
        self.opened += 1;
        let (fd, client) = Client::connect(target.proxy, &hello(name, target.hello_bytes, job.order()), job)?;
        self.insert(Sock { fd, role: Role::Client(client) })
    }

    /// Waits for events, at most `patience`, and handles them; whether there were any.
    fn turn(&mut self, patience: Duration) -> Result<bool, String> {
        let patience = if self.unfinished.is_empty() { patience } else { Duration::ZERO };
        let timeout =
            Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: i64::from(patience.subsec_nanos()) };
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
        let count = match epoll::wait(&self.epoll, events.as_mut_slice(), Some(&timeout)) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(other) => return Err(format!("epoll_wait: {other}")),
        };
        let worked = count > 0 || !self.unfinished.is_empty();
        let late = if self.pings_first { 1 } else { self.unfinished.len() };
        let late: Vec<usize> = self.unfinished.drain(..late.min(self.unfinished.len())).collect();
        for event in &events[..count] {
            let (slot, flags) = (event.data.u64() as usize, event.flags);
            if !self.pings_first || !self.moves_bulk(slot) {
                self.drive(slot, flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP));
            } else if !self.unfinished.contains(&slot) && !late.contains(&slot) {
                self.unfinished.push_back(slot);
            }
        }
        for slot in late {
            self.drive(slot, true);
        }
        match self.tally.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(worked),
        }
    }

    fn moves_bulk(&self, slot: usize) -> bool {
        match self.slots.get(slot) {
            Some(Some(Sock { role: Role::Client(client), .. })) => client.moves_bulk(),
            Some(Some(Sock { role: Role::Origin(origin), .. })) => origin.moves_bulk(),
            _ => false,
        }
    }

    /// Lets the connection in `slot` do what it can. `ended`: a short read is not the last one.
    fn drive(&mut self, slot: usize, ended: bool) {
        let Some(mut sock) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        let scratch = &mut self.scratch[..if self.pings_first { CHUNK_BESIDE_PINGS } else { CHUNK }];
        let next = match &mut sock.role {
            Role::Listener => self.accept(&sock.fd),
            Role::Client(client) => client.drive(&sock.fd, scratch, &mut self.tally, ended),
            Role::Origin(origin) => origin.drive(&sock.fd, scratch, ended),
        };
        match next {
            Ok(Next::Done) => return self.free.push(slot),
            Ok(Next::Again) => self.unfinished.push_back(slot),
            Ok(Next::Wait) => {}
            Err(why) => {
                match sock.role {
                    Role::Client(_) if self.forgiving => {
                        eprintln!("a client is lost: {why}");
                        self.tally.lost += 1;
                    }
                    Role::Client(_) => self.tally.failure = Some(why),
                    _ => {}
                }
                return self.free.push(slot);
            }
        }
        self.slots[slot] = Some(sock);
    }

    fn accept(&mut self, listener: &OwnedFd) -> Result<Next, String> {
        loop {
            match accept_with(listener, NONBLOCK) {
                Ok(fd) => {
                    let slot = self
                        .insert(Sock { fd, role: Role::Origin(Origin::Hello(Vec::new())) })
                        .map_err(|error| format!("epoll_ctl: {error}"))?;
                    self.drive(slot, false);
                }
                Err(Errno::AGAIN) => return Ok(Next::Wait),
                Err(Errno::CONNABORTED) => {}
                Err(other) => return Err(format!("accept: {other}")),
            }
        }
    }

    fn turn_until(&mut self, what: &str, done: impl Fn(&Tally) -> bool) -> Result<(), String> {
        let mut last = Instant::now();
        while !done(&self.tally) {
            if self.turn(Duration::from_secs(1))? {
                last = Instant::now();
            } else if last.elapsed() > STALLED {
                return Err(format!("{what}: nothing has moved for {} s", STALLED.as_secs()));
            }
        }
        Ok(())
    }

    /// `count` short connections, `at_once` of them at a time.
    pub fn short(&mut self, target: &Target, count: usize, at_once: usize) -> Result<(), String> {
        let ended = |tally: &Tally| tally.finished + tally.lost;
        let begun = ended(&self.tally);
        for opened in 0..count {
            self.open(target, Job::Short).map_err(|error| format!("connect: {error}"))?;
            self.turn_until("short connections", |tally| begun + opened + 1 - ended(tally) < at_once)?;
        }
        self.turn_until("short connections", |tally| ended(tally) >= begun + count)
    }

    /// Short connections, `at_once` of them at a time, until it is `over`.
    pub fn keep_busy(&mut self, target: &Target, at_once: usize, over: &AtomicBool) -> Result<(), String> {
        let ended = |tally: &Tally| tally.finished + tally.lost;
        let before = ended(&self.tally);
        let mut opened = 0;
        while !over.load(Ordering::Relaxed) {
            while before + opened - ended(&self.tally) < at_once {
                opened += 1;
                if self.open(target, Job::Short).is_err() {
                    self.tally.lost += 1;
                    break;
                }
            }
            self.turn(Duration::from_millis(10))?;
        }
        self.turn_until("short connections", |tally| ended(tally) >= before + opened)
    }

    /// Opens `count` connections and waits until the origin has answered each; the slots they have.
    pub fn prepare(&mut self, target: &Target, count: usize, job: Job) -> Result<Vec<usize>, String> {
        let there = |tally: &Tally| tally.ready + tally.lost;
        let begun = there(&self.tally);
        let mut slots = Vec::new();
        for opened in 0..count {
            slots.push(self.open(target, job).map_err(|error| format!("connect: {error}"))?);
            self.turn_until("opening connections", |tally| begun + opened + 1 - there(tally) < 32)?;
        }
        self.turn_until("opening connections", |tally| there(tally) >= begun + count)?;
        Ok(slots)
    }

    /// Starts the jobs of prepared connections.
    pub fn go(&mut self, slots: &[usize]) -> Result<(), String> {
        for &slot in slots {
            if let Some(Sock { role: Role::Client(client), fd }) = &mut self.slots[slot] {
                match client.go(fd) {
                    Err(_) if self.forgiving => {
                        self.tally.lost += 1;
                        self.slots[slot] = None;
                        self.free.push(slot);
                        continue;
                    }
                    gone => gone?,
                }
            }
            self.unfinished.push_back(slot);
        }
        Ok(())
    }

    /// Bytes that the client in `slot` has yet to move.
    pub fn left(&self, slot: usize) -> u64 {
        match self.slots.get(slot) {
            Some(Some(Sock { role: Role::Client(client), .. })) => client.left(),
            _ => 0,
        }
    }

    /// Turns until `count` jobs have finished since the tally was last taken.
    pub fn finish(&mut self, count: usize) -> Result<(), String> {
        self.turn_until("waiting for the transfers", |tally| tally.finished >= count)
    }

    /// Turns until `count` clients have finished or are lost since the tally was last taken.
    pub fn all_end(&mut self, count: usize) -> Result<(), String> {
        self.turn_until("waiting for the clients", |tally| tally.finished + tally.lost >= count)
    }

    /// Turns until nothing moves for a while.
    pub fn settle(&mut self) -> Result<(), String> {
        while self.turn(Duration::from_millis(30))? {}
        Ok(())
    }

    /// Drops every connection; only the origin's listener stays.
    pub fn clear(&mut self) {
        self.unfinished.clear();
        self.pings_first = false;
        self.forgiving = false;
        for slot in 1..self.slots.len() {
            if self.slots[slot].take().is_some() {
                self.free.push(slot);
            }
        }
        self.tally = Tally::default();
    }
}
