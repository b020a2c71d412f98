//! One client: its hello, then the job it was given.
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, connect, recv, send, socket_with, sockopt};

use crate::hello::Order;
use crate::load::{NONBLOCK, Tally};
use crate::transfer::{Next, give, take};

/// Bytes of an answer to a short connection.
const ANSWER: u64 = 1024;
/// What a client that reads nothing has room for.
const LITTLE: usize = 4096;
/// Bytes of a ping and of its echo.
const PING: usize = 64;

/// What a client does after its hello was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Reads `ANSWER` bytes, then closes.
    Short,
    /// Reads this many bytes.
    Down(u64),
    /// Writes this many bytes.
    Up(u64),
    /// Sends `PING` bytes and waits for them to come back, this many times.
    Ping(u64),
    /// Is sent this many bytes, and reads none of them.
    Stall(u64),
    /// Nothing.
    Idle,
}

pub struct Client {
    /// The hello, while the socket has not taken it.
    hello: Option<Vec<u8>>,
    job: Job,
    stage: Stage,
    /// Bytes, or rounds, to the end of the stage.
    left: u64,
    /// Connect, or the start of the ping round.
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Hello,
    Ready,
    Going,
}

impl Job {
    /// What the origin is told to do for it.
    pub fn order(self) -> Order {
        match self {
            Job::Short => Order::Answer(ANSWER),
            Job::Down(bytes) | Job::Stall(bytes) => Order::Send(bytes),
            Job::Up(bytes) => Order::Take(bytes),
            Job::Ping(_) | Job::Idle => Order::Echo,
        }
    }
}

impl Client {
    pub fn connect(proxy: SocketAddr, hello: &[u8], job: Job) -> rustix::io::Result<(OwnedFd, Client)> {
        let since = Instant::now();
        let fd = socket_with(AddressFamily::INET, SocketType::STREAM, NONBLOCK, None)?;
        if let Job::Stall(_) = job {
            sockopt::set_socket_recv_buffer_size(&fd, LITTLE)?;
        }
        match connect(&fd, &proxy) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(other) => return Err(other),
        }
        // Loopback has the handshake behind it when connect returns; elsewhere the hello waits for the event.
        let hello = match send(&fd, hello, SendFlags::NOSIGNAL) {
            Ok(_) => None,
            Err(Errno::AGAIN) => Some(hello.to_vec()),
            Err(other) => return Err(other),
        };
        let left = if job == Job::Short { ANSWER } else { 1 };
        Ok((fd, Client { hello, job, stage: Stage::Hello, left, since }))
    }

    /// Whether it is at moving many bytes.
    pub fn moves_bulk(&self) -> bool {
        self.stage == Stage::Going && matches!(self.job, Job::Down(_) | Job::Up(_))
    }

    /// Bytes, or rounds, that it has yet to go through.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Begins the job of a connection whose hello was answered.
    pub fn go(&mut self, fd: &OwnedFd) -> Result<(), String> {
        let (left, first) = match self.job {
            Job::Down(bytes) => (bytes, 1),
            Job::Up(bytes) => (bytes, 0),
            Job::Ping(rounds) => (rounds, PING),
            Job::Stall(_) => (0, 1),
            Job::Short | Job::Idle => (0, 0),
        };
        self.stage = Stage::Going;
        self.left = left;
        self.since = Instant::now();
        if first > 0 {
            send(fd, &[0; PING][..first], SendFlags::NOSIGNAL).map_err(|error| format!("go: {error}"))?;
        }
        Ok(())
    }

    /// Does what the socket allows. `ended`: the proxy may have closed it.
    pub fn drive(&mut self, fd: &OwnedFd, scratch: &mut [u8], tally: &mut Tally, ended: bool) -> Result<Next, String> {
        if let Some(bytes) = &self.hello {
            match send(fd, bytes, SendFlags::NOSIGNAL) {
                Ok(_) => self.hello = None,
                Err(Errno::AGAIN) => return Ok(Next::Wait),
                Err(other) => return Err(format!("connect: {other}")),
            }
        }
        match self.stage {
            Stage::Hello => self.read_answer(fd, scratch, tally, ended),
            Stage::Ready => Ok(Next::Wait),
            Stage::Going => self.work(fd, scratch, tally),
        }
    }

    fn read_answer(
        &mut self,
        fd: &OwnedFd,
        scratch: &mut [u8],
        tally: &mut Tally,
        ended: bool,
    ) -> Result<Next, String> {
        let next = take(fd, scratch, &mut self.left)?;
        // After a short read, only another one tells of the end.
        let next = if next == Next::Wait && ended { take(fd, scratch, &mut self.left)? } else { next };
        if next != Next::Done {
            return Ok(next);
        }
        if self.job == Job::Short {
            tally.latencies.push(self.since.elapsed().as_nanos() as u64);
            tally.finished += 1;
            return Ok(Next::Done);
        }
        self.stage = Stage::Ready;
        tally.ready += 1;
        Ok(Next::Wait)
    }

    fn work(&mut self, fd: &OwnedFd, scratch: &mut [u8], tally: &mut Tally) -> Result<Next, String> {
        let next = match self.job {
            Job::Down(_) => take(fd, scratch, &mut self.left)?,
            Job::Up(_) => give(fd, scratch, &mut self.left)?,
            Job::Ping(_) => self.ping(fd, scratch, tally)?,
            Job::Short | Job::Stall(_) | Job::Idle => Next::Wait,
        };
        match (next, self.job) {
            // One byte from the origin says that it has everything.
            (Next::Done, Job::Up(_)) => {
                (self.job, self.left) = (Job::Down(1), 1);
                Ok(Next::Again)
            }
            (Next::Done, _) => {
                tally.finished += 1;
                Ok(Next::Done)
            }
            _ => Ok(next),
        }
    }

    fn ping(&mut self, fd: &OwnedFd, scratch: &mut [u8], tally: &mut Tally) -> Result<Next, String> {
        match recv(fd, &mut scratch[..], RecvFlags::empty()) {
            Ok((PING, _)) => {}
            Ok((count, _)) => return Err(format!("{count} bytes came back for a ping of {PING}")),
            Err(Errno::AGAIN) => return Ok(Next::Wait),
            Err(other) => return Err(format!("ping: {other}")),
        }
        let now = Instant::now();
        tally.latencies.push((now - self.since).as_nanos() as u64);
        self.since = now;
        self.left -= 1;
        if self.left == 0 {
            return Ok(Next::Done);
        }
        send(fd, &scratch[..PING], SendFlags::NOSIGNAL).map_err(|error| format!("ping: {error}"))?;
        Ok(Next::Wait)
    }
}
