//! The floor: a proxy that only makes the system calls. It parses nothing, picks nothing, has no limits and no
//! timeouts, and ends on errors that a real proxy must survive.
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventFlags};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, acceptfrom_with, bind, connect, listen,
    recv, send, shutdown, socket_with, sockopt,
};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

const NONBLOCK: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
const LISTENER: u64 = u64::MAX;
const SCRATCH: usize = 1 << 20;
const HEADER: usize = 28;

/// Two sockets; direction 0 is up, 1 is down, and reads from the socket of the same number.
struct Relay {
    sockets: [OwnedFd; 2],
    ended: [bool; 2],
    left: [Vec<u8>; 2],
    pipes: Option<[(OwnedFd, OwnedFd); 2]>,
    in_pipe: [usize; 2],
}

struct Bare {
    epoll: OwnedFd,
    relays: Vec<Option<Relay>>,
    free: Vec<usize>,
    clients: Vec<Option<OwnedFd>>,
    server: SocketAddr,
    scratch: Vec<u8>,
    splice: bool,
}

pub fn serve(address: SocketAddr, server: SocketAddr, splice: bool) -> Result<()> {
    let listener = socket_with(AddressFamily::INET, SocketType::STREAM, NONBLOCK, None)?;
    bind(&listener, &address)?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    listen(&listener, 4096)?;
    let mut bare = Bare {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        relays: Vec::new(),
        free: Vec::new(),
        clients: Vec::new(),
        server,
        scratch: vec![0; SCRATCH],
        splice,
    };
    bare.register(&listener, LISTENER)?;
    let mut events = [epoll::Event { flags: EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
    loop {
        let count = epoll::wait(&bare.epoll, events.as_mut_slice(), None)?;
        let mut gone = Vec::new();
        for event in &events[..count] {
            let flags = event.flags;
            match event.data.u64() {
                LISTENER => bare.accept(&listener)?,
                key => {
                    let (slot, side) = (key as usize / 2, key as usize % 2);
                    if !bare.drive(slot, side, flags).unwrap_or(false) {
                        bare.relays[slot] = None;
                        bare.clients[slot] = None;
                        gone.push(slot);
                    }
                }
            }
        }
        gone.sort_unstable();
        gone.dedup();
        bare.free.append(&mut gone);
    }
}

impl Bare {
    fn register(&self, fd: &OwnedFd, key: u64) -> Result<()> {
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(key), interest)
    }

    fn accept(&mut self, listener: &OwnedFd) -> Result<()> {
        while let Ok((client, _)) = acceptfrom_with(listener, NONBLOCK) {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.relays.push(None);
                self.clients.push(None);
                self.relays.len() - 1
            });
            self.register(&client, slot as u64 * 2)?;
            self.clients[slot] = Some(client);
            self.begin(slot)?;
        }
        Ok(())
    }

    /// Reads the hello, and sends it on with a PROXY header before it as soon as the kernel takes it.
    fn begin(&mut self, slot: usize) -> Result<()> {
        let Some(client) = &self.clients[slot] else { return Ok(()) };
        let hello = match recv(client, &mut self.scratch[HEADER..], RecvFlags::empty()) {
            Err(Errno::AGAIN) => return Ok(()),
            other => other?.1,
        };
        self.scratch[..HEADER]
            .copy_from_slice(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x01\x01\x02\x02");
        let server = socket_with(AddressFamily::INET, SocketType::STREAM, NONBLOCK, None)?;
        sockopt::set_tcp_nodelay(&server, true)?;
        match connect(&server, &self.server) {
            Err(Errno::INPROGRESS) => {}
            other => other?,
        }
        let bytes = &self.scratch[..HEADER + hello];
        let sent = send(&server, bytes, SendFlags::NOSIGNAL).unwrap_or(0);
        let left = [bytes[sent..].to_vec(), Vec::new()];
        self.register(&server, slot as u64 * 2 + 1)?;
        let pipes = if self.splice { Some([pipe()?, pipe()?]) } else { None };
        self.relays[slot] = self.clients[slot].take().map(|client| Relay {
            sockets: [client, server],
            ended: [false; 2],
            left,
            pipes,
            in_pipe: [0; 2],
        });
        Ok(())
    }

    /// Does what an event on one side of a connection allows; whether the connection goes on.
    fn drive(&mut self, slot: usize, side: usize, flags: EventFlags) -> Result<bool> {
        if self.clients[slot].is_some() {
            self.begin(slot)?;
            return Ok(true);
        }
        let Some(relay) = &mut self.relays[slot] else { return Ok(true) };
        if flags.contains(EventFlags::OUT) && relay.holds(1 - side) {
            relay.forward(1 - side, &mut self.scratch, true)?;
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP) {
            relay.forward(side, &mut self.scratch, flags.contains(EventFlags::RDHUP))?;
        }
        Ok(!(relay.ended[0] && relay.ended[1]))
    }
}

impl Relay {
    fn holds(&self, direction: usize) -> bool {
        !self.left[direction].is_empty() || self.in_pipe[direction] > 0
    }

    fn forward(&mut self, direction: usize, scratch: &mut [u8], ending: bool) -> Result<()> {
        if self.ended[direction] {
            return Ok(());
        }
        let moved = match self.pipes {
            Some(_) => self.splice(direction),
            None => self.copy(direction, scratch, ending),
        };
        match moved {
            Ok(()) => {
                self.ended[direction] = true;
                let other = &self.sockets[1 - direction];
                if self.ended[1 - direction] { Ok(()) } else { shutdown(other, Shutdown::Write) }
            }
            Err(Errno::AGAIN) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Moves bytes until the end of the direction (`Ok`) or until a socket has no more for now (`AGAIN`).
    /// `ending`: the end may have come already, so a short read is not the last one.
    fn copy(&mut self, direction: usize, scratch: &mut [u8], ending: bool) -> Result<()> {
        let (from, to) = (&self.sockets[direction], &self.sockets[1 - direction]);
        let left = &mut self.left[direction];
        if !left.is_empty() {
            let sent = send(to, left, SendFlags::NOSIGNAL)?;
            left.drain(..sent);
        }
        loop {
            let count = recv(from, &mut *scratch, RecvFlags::empty())?.1;
            if count == 0 {
                return Ok(());
            }
            let sent = match send(to, &scratch[..count], SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => 0,
                other => other?,
            };
            if sent < count {
                left.extend_from_slice(&scratch[sent..count]);
                return Err(Errno::AGAIN);
            }
            if count < scratch.len() && !ending {
                return Err(Errno::AGAIN);
            }
        }
    }

    fn splice(&mut self, direction: usize) -> Result<()> {
        let Some(pipes) = &self.pipes else { return Ok(()) };
        let (from, to) = (&self.sockets[direction], &self.sockets[1 - direction]);
        let (out_of, into) = &pipes[direction];
        let left = &mut self.left[direction];
        if !left.is_empty() {
            let sent = send(to, left, SendFlags::NOSIGNAL)?;
            left.drain(..sent);
        }
        loop {
            if self.in_pipe[direction] == 0 {
                match step(from, into, SCRATCH)? {
                    0 => return Ok(()),
                    count => self.in_pipe[direction] = count,
                }
            }
            self.in_pipe[direction] -= step(out_of, to, self.in_pipe[direction])?;
        }
    }
}

fn step(from: impl AsFd, to: impl AsFd, most: usize) -> Result<usize> {
    splice(from, None, to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let ends = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&ends.1, SCRATCH)?;
    Ok(ends)
}
