//! Pipes for splice(2), pooled. A direction holds one only while bytes are in it.
use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{self, PipeFlags, SpliceFlags};

use super::kernel::{Call, ask};
use super::stream::Stream;

/// The size to ask for, in bytes. A user without `CAP_SYS_RESOURCE` gets it until all pipes of that user take
/// `pipe-user-pages-soft` (64 MiB); then less, and at last two pages (pipe(7)).
const PIPE_ROOMS: [usize; 2] = [1024 * 1024, 256 * 1024];
/// Through a smaller pipe, splicing costs more than copying.
const MIN_SIZE: usize = 64 * 1024;
/// The most empty pipes that are kept for the next bulk transfer.
const MAX_KEPT: usize = 16;
/// The most directions that copy bulk in haste. Each may hold 160 KiB in memory, and 1 MiB in the kernel.
pub(super) const MAX_PLACES: usize = 64;

/// A pipe, and the number of bytes in it.
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    room: u32,
    held: u32,
}

/// The idle pipes, and how many there may be in all; and the places of bulk that is copied instead.
pub struct Pipes {
    empty: Vec<Pipe>,
    lent: usize,
    most: usize,
    /// The kernel refused a pipe. Ask again once a lent pipe has come back.
    refused: bool,
    /// The kernel does not splice sockets: no pipe is lent any more.
    useless: bool,
    /// How many more directions may copy bulk in haste.
    places: usize,
}

impl Pipes {
    /// At most `most` pipes at once (two fds each); 0 turns splicing off.
    #[must_use]
    pub fn new(most: usize) -> Pipes {
        Pipes { empty: Vec::new(), lent: 0, most, refused: false, useless: false, places: MAX_PLACES }
    }

    /// Sets how many pipes there may be at once.
    pub fn allow(&mut self, most: usize) {
        self.most = if self.useless { 0 } else { most };
        self.empty.truncate(self.most);
    }

    /// Lends no pipe from now on, as the kernel does not splice.
    pub(super) fn forbid(&mut self) {
        self.useless = true;
        self.allow(0);
    }

    /// An empty pipe; `None` if too many are lent, or the kernel refuses.
    pub fn lend(&mut self) -> Option<Pipe> {
        if self.lent >= self.most {
            return None;
        }
        let mut pipe = self.empty.pop();
        if pipe.is_none() && !self.refused {
            pipe = Pipe::open();
            // With no pipe lent out, nothing would clear `refused`: keep asking.
            self.refused = pipe.is_none() && self.lent > 0;
        }
        self.lent += usize::from(pipe.is_some());
        pipe
    }

    /// Takes a pipe back. One that still holds bytes is closed.
    pub fn give_back(&mut self, pipe: Pipe) {
        self.lent -= 1;
        self.refused = false;
        if pipe.held == 0 && self.empty.len() < MAX_KEPT.min(self.most) {
            self.empty.push(pipe);
        }
    }

    /// Takes a place for a direction that copies bulk. Answers whether there was one.
    pub(super) fn take_place(&mut self) -> bool {
        let is_free = self.places > 0;
        self.places -= usize::from(is_free);
        is_free
    }

    /// Gives such a place back, if the direction has one.
    pub(super) fn give_up_place(&mut self, has_place: &mut bool) {
        self.places += usize::from(std::mem::take(has_place));
    }

    /// How many places are taken.
    #[cfg(test)]
    pub fn taken_places(&self) -> usize {
        MAX_PLACES - self.places
    }

    /// How many pipes hold bytes now.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// How many empty pipes are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.empty.len()
    }

    /// How many pipes there may be at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }
}

impl Pipe {
    fn open() -> Option<Pipe> {
        let (out, into) = ask(Call::Pipe, || pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)).ok()?;
        let granted =
            PIPE_ROOMS.iter().find_map(|room| ask(Call::Pipe, || pipe::fcntl_setpipe_size(&into, *room)).ok());
        let room = granted.or_else(|| pipe::fcntl_getpipe_size(&into).ok())?;
        (room >= MIN_SIZE).then_some(Pipe { out, into, room: room as u32, held: 0 })
    }

    /// Whether no byte is in the pipe.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves bytes from the socket into this empty pipe. Answers their number, 0 at the peer's FIN, `None` if there are
    /// none for now. In a full pipe, `EAGAIN` would not mean that the socket is empty.
    pub(super) fn fill(&mut self, from: &mut Stream) -> Result<Option<usize>, Errno> {
        match splice(&*from, &self.into, self.room as usize) {
            Ok(n) => {
                self.held = n as u32;
                Ok(Some(n))
            }
            Err(Errno::AGAIN) => {
                from.emptied();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads all bytes out of the pipe.
    pub(super) fn empty(&mut self) -> Result<Vec<u8>, Errno> {
        let mut all = vec![0; self.held()];
        while self.held > 0 {
            let at = all.len() - self.held();
            let room = all.get_mut(at..).unwrap_or_default();
            let n = retry_on_intr(|| ask(Call::Read, || rustix::io::read(&self.out, &mut *room)))?;
            if n == 0 {
                return Err(Errno::IO);
            }
            self.held -= n as u32;
        }
        Ok(all)
    }

    /// How many bytes are in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held as usize
    }

    /// Moves bytes from the pipe into the socket. Some may have been moved before an error.
    pub(super) fn drain(&mut self, to: &mut Stream) -> Result<(), Errno> {
        while self.held > 0 {
            match splice(&self.out, &*to, self.held()) {
                Ok(n) => self.held -= n as u32,
                Err(Errno::AGAIN) => {
                    to.filled();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether an error means that the kernel, or a layer such as gVisor or seccomp, does not splice sockets at all. A
/// broken socket gives other errors.
pub(super) fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)
}

fn splice(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, most: usize) -> Result<usize, Errno> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    retry_on_intr(|| ask(Call::Splice, || pipe::splice(&from, None, &to, None, most, flags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, the log counts fewer bytes than went to a peer before it reset.
    #[test]
    fn what_had_gone_before_an_error_is_known() {
        let (peer, mut own) = Stream::pair();
        let mut pipe = Pipe::open().unwrap();
        pipe.held = rustix::io::write(&pipe.into, &vec![7; 512 * 1024]).unwrap() as u32;
        let before = pipe.held();
        // Its RST answers the first bytes, and meets the rest.
        drop(peer);
        pipe.drain(&mut own).unwrap_err();
        assert!(pipe.held() > 0 && pipe.held() < before, "{} of {before} are left", pipe.held());
    }
}
