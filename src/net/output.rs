//! Standard output that never blocks: a reader that stalls costs lines, not time.
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::kernel::{Call, ask};
use super::token::Token;

/// The most bytes that wait for a stalled reader. Further lines are lost, and counted.
const MAX_WAITING: usize = 1024 * 1024;
/// More room for the few lines that concern more than one connection.
const RESERVED: usize = 64 * 1024;

/// As many times `stall`, the last write waits for a reader that takes a little at a time.
const MAX_STALLS: u32 = 5;

/// A buffer in front of a file descriptor that never blocks.
pub struct Output {
    fd: OwnedFd,
    is_socket: bool,
    watched: bool,
    stalled: bool,
    waiting: Vec<u8>,
    lost: u64,
    /// The most bytes that may wait.
    most: usize,
}

impl Output {
    /// Writes to this process's standard output.
    ///
    /// A pipe or terminal is opened again with `O_NONBLOCK`, because the flag belongs to the open file, which the shell
    /// and others share. systemd's journal is a socket, which takes `MSG_DONTWAIT` with each send. A file never stalls.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn stdout() -> io::Result<Output> {
        Output::to(io::stdout().as_fd().try_clone_to_owned()?)
    }

    /// As [`Output::stdout`], to another file.
    ///
    /// # Errors
    /// The kernel's.
    pub fn to(fd: OwnedFd) -> io::Result<Output> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        let is_socket = kind == FileType::Socket;
        let fd = if kind == FileType::Fifo || fd.is_terminal() { reopen(fd)? } else { fd };
        Ok(Output { fd, is_socket, watched: false, stalled: false, waiting: Vec::new(), lost: 0, most: MAX_WAITING })
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.fd.is_terminal()
    }

    /// Whether it is the file that `stream` names, as `$JOURNAL_STREAM` does (`systemd.exec(5)`).
    #[must_use]
    pub fn is_stream(&self, stream: &OsStr) -> bool {
        let own = rustix::fs::fstat(&self.fd).map(|own| format!("{}:{}", own.st_dev, own.st_ino));
        own.is_ok_and(|own| *stream == *own)
    }

    /// The buffer to append a line to, with its newline; `None` if there is no room for it, and the line counts as lost.
    pub fn line(&mut self) -> Option<&mut Vec<u8>> {
        self.room_within(self.most)
    }

    /// The same for a line that must not be lost with the others.
    pub fn rare_line(&mut self) -> Option<&mut Vec<u8>> {
        self.room_within(self.most.saturating_add(RESERVED))
    }

    /// Keeps all further lines: the process ends.
    pub fn keep_all(&mut self) {
        self.most = usize::MAX;
    }

    fn room_within(&mut self, most: usize) -> Option<&mut Vec<u8>> {
        if self.waiting.len() >= most && !self.stalled {
            // One turn can write more lines than there is room for, and the reader may be as quick as a file.
            self.write_waiting();
        }
        if self.waiting.len() < most {
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

    /// Whether the reader has stalled.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Lines lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Adds lines that the previous process lost.
    pub fn add_lost(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// Notes that the reader takes bytes again.
    pub fn note_writable(&mut self) {
        self.stalled = false;
    }

    /// Writes what the reader takes. If it stalls, the poll reports [`Token::Output`] when it goes on; if it cannot be
    /// registered, the caller tries again.
    pub fn flush(&mut self, registry: &Registry) {
        if !self.stalled && self.write_waiting() {
            self.stalled = self.watch(registry);
        }
    }

    /// Writes until all is written, the reader has taken nothing for `stall`, or a multiple of `stall` is over.
    pub fn finish(&mut self, stall: Duration) {
        let begin = Instant::now();
        let end = begin + stall * MAX_STALLS;
        let mut taken = begin;
        loop {
            let before = self.waiting.len();
            if !self.write_waiting() {
                return;
            }
            let now = Instant::now();
            if self.waiting.len() < before {
                taken = now;
            }
            let left = (taken + stall).min(end).saturating_duration_since(now);
            if left.is_zero() {
                return;
            }
            let timeout = Timespec::try_from(left).ok();
            // The write that follows reports any error.
            let _ = poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], timeout.as_ref());
        }
    }

    /// Writes what the reader takes. Answers whether it has stalled.
    fn write_waiting(&mut self) -> bool {
        let (mut done, mut stalls) = (0, false);
        while let Some(rest @ [_, ..]) = self.waiting.get(done..) {
            match self.write(rest) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    stalls = true;
                    break;
                }
                Err(_) => {
                    // No reader will ever get this: the pipe is closed, or the disk is full.
                    self.lost += rest.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
                    done = self.waiting.len();
                }
            }
        }
        self.waiting.drain(..done);
        stalls
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        ask(Call::Log, || {
            if self.is_socket {
                return rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
            rustix::io::write(&self.fd, bytes)
        })
    }

    /// Registers with the poll. Answers whether that succeeded.
    fn watch(&mut self, registry: &Registry) -> bool {
        if !self.watched {
            let fd = self.fd.as_raw_fd();
            self.watched = registry.register(&mut SourceFd(&fd), Token::Output.into(), Interest::WRITABLE).is_ok();
        }
        self.watched
    }
}

/// The same pipe or terminal as an open file of its own, which does not block.
fn reopen(fd: OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
        return Ok(own);
    }
    // No /proc, or a terminal of another user. The flag is then set for every process that shares the open file.
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use mio::Poll;
    use rustix::pipe::pipe;

    use super::*;

    /// Without this, a turn in which thousands of connections end loses lines although the log goes to a file.
    #[test]
    fn what_does_not_fit_is_written_before_it_is_lost() {
        let path = std::env::temp_dir().join(format!("lb-output-{}", std::process::id()));
        let mut output = Output::to(std::fs::File::create(&path).unwrap().into()).unwrap();
        for _ in 0..50_000 {
            output.line().unwrap().extend_from_slice(&[b'x'; 99]);
            output.line().unwrap().push(b'\n');
        }
        output.finish(Duration::ZERO);
        let written = std::fs::metadata(&path).unwrap().len();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((output.lost(), written), (0, 5_000_000));
    }

    /// Without this, lines of many connections push out the program's own last lines.
    #[test]
    fn rare_lines_have_room_of_their_own() {
        let (reader, writer) = pipe().unwrap();
        let mut output = Output::to(writer).unwrap();
        while let Some(room) = output.line() {
            room.extend_from_slice(&[b'x'; 1024]);
        }
        output.rare_line().unwrap().extend_from_slice(b"the last words");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::fs::File::from(reader).read_to_end(&mut all).unwrap();
            all
        });
        output.finish(Duration::from_secs(30));
        drop(output);
        assert!(reader.join().unwrap().ends_with(b"the last words"));
    }

    /// Without this, one failed `epoll_ctl` silences the log for good.
    #[test]
    fn an_output_that_cannot_be_watched_is_tried_again() {
        let poll = Poll::new().unwrap();
        let (reader, writer) = pipe().unwrap();
        let mut output = Output::to(writer).unwrap();
        // What is watched already cannot be watched again.
        poll.registry().register(&mut SourceFd(&output.fd.as_raw_fd()), mio::Token(7), Interest::WRITABLE).unwrap();
        output.line().unwrap().resize(200_000, b'x');
        output.flush(poll.registry());
        assert!(output.waiting() > 0 && !output.is_stalled());
        let mut room = vec![0; 200_000];
        let mut reader = std::fs::File::from(reader);
        while output.waiting() > 0 {
            assert!(reader.read(&mut room).unwrap() > 0);
            output.flush(poll.registry());
        }
    }
}
