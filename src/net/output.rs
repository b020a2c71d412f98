//! Standard output without waiting: a reader that stalls costs lines, never time.
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::token::Token;

/// Bytes that wait for a stalled reader; lines beyond are lost and counted.
const MOST_WAITING: usize = 1024 * 1024;

/// A buffer in front of a file descriptor that is never waited for.
pub struct Output {
    fd: OwnedFd,
    is_socket: bool,
    watched: bool,
    stalled: bool,
    waiting: Vec<u8>,
    lost: u64,
}

impl Output {
    /// Writes to this process's standard output.
    ///
    /// A pipe or terminal is opened anew with `O_NONBLOCK`, because the flag belongs to the open file, which the shell and
    /// others share. systemd's journal hands over a socket, which takes `MSG_DONTWAIT` with each send. A file never stalls.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn stdout() -> io::Result<Output> {
        Output::to(io::stdout().as_fd().try_clone_to_owned()?)
    }

    /// The same to another file.
    ///
    /// # Errors
    /// The kernel's.
    pub fn to(fd: OwnedFd) -> io::Result<Output> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        let is_socket = kind == FileType::Socket;
        let fd = if kind == FileType::Fifo || fd.is_terminal() { reopen(fd)? } else { fd };
        Ok(Output { fd, is_socket, watched: false, stalled: false, waiting: Vec::new(), lost: 0 })
    }

    /// Whether a person reads it.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.fd.is_terminal()
    }

    /// Where a line is to be appended, newline and all; `None` when there is no room for it, and it counts as lost.
    pub fn line(&mut self) -> Option<&mut Vec<u8>> {
        if self.waiting.len() < MOST_WAITING {
            return Some(&mut self.waiting);
        }
        self.lost += 1;
        None
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the reader takes nothing for now.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Lines lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Counts lines that another process has lost.
    pub fn add_lost(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// Notes that the reader takes bytes again.
    pub fn note_writable(&mut self) {
        self.stalled = false;
    }

    /// Writes what the reader takes. Where it stalls, the poll reports [`Token::Output`] when it goes on.
    pub fn flush(&mut self, registry: &Registry) {
        let mut done = 0;
        while !self.stalled {
            let Some(rest @ [_, ..]) = self.waiting.get(done..) else { break };
            match self.write(rest) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.stalled = true;
                    self.watch(registry);
                }
                Err(_) => {
                    // Nobody will ever read this: the pipe's reader has gone, the disk is full.
                    self.lost += rest.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
                    done = self.waiting.len();
                }
            }
        }
        self.waiting.drain(..done);
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.is_socket {
            return rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        rustix::io::write(&self.fd, bytes)
    }

    fn watch(&mut self, registry: &Registry) {
        if !self.watched {
            let fd = self.fd.as_raw_fd();
            self.watched = registry.register(&mut SourceFd(&fd), Token::Output.into(), Interest::WRITABLE).is_ok();
        }
    }
}

/// The same pipe or terminal as an open file of its own, which does not block.
fn reopen(fd: OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
        return Ok(own);
    }
    // No /proc, or a terminal of another user: then the flag is set for all who share the open file.
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}
