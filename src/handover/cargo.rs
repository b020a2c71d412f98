//! What this process leaves for the next one, and what the previous one left for it.
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::parcel::{Parcel, send};
use super::state::State;

/// What goes to the next process.
#[derive(Default)]
pub struct Cargo<'a> {
    /// The state, which says what each fd is.
    pub state: State,
    first: Vec<BorrowedFd<'a>>,
    fds: Vec<BorrowedFd<'a>>,
}

impl<'a> Cargo<'a> {
    /// Adds an fd that the next process needs before it can know whether it starts.
    pub fn push_first(&mut self, fd: BorrowedFd<'a>) {
        self.first.push(fd);
    }

    /// Adds an fd after the others.
    pub fn push(&mut self, fd: BorrowedFd<'a>) {
        self.fds.push(fd);
    }

    /// Puts everything in flight. Answers the end of the socket pair from which it can be received.
    ///
    /// # Errors
    /// The kernel's: out of fds or memory, or the user has too many fds in flight.
    pub fn send(self) -> io::Result<OwnedFd> {
        send(&self.first, &self.state.into_bytes(), &self.fds)
    }
}

/// What came from the previous process.
pub struct Delivery {
    /// The state, which says what each fd is.
    pub state: State,
    /// The fds that this process needs before it can know whether it starts.
    pub first: Vec<OwnedFd>,
    parcel: Parcel,
}

/// The fds of a delivery, in order.
pub struct Incoming {
    parcel: Parcel,
    ready: VecDeque<OwnedFd>,
    /// Whether a message was lost: nobody knows how many fds it had, so those behind it are nobody's.
    is_broken: bool,
    /// The most fds that one message had.
    most: usize,
}

impl Delivery {
    /// Looks at what is in flight at `receiver`. It stays in flight until [`open`](Delivery::open).
    ///
    /// # Errors
    /// A sentence: nothing is in flight, or it is not a state.
    pub fn look(receiver: OwnedFd) -> Result<Delivery, String> {
        let parcel = Parcel::new(receiver);
        let (first, state) = parcel.look().map_err(|error| error.to_string())?;
        Ok(Delivery { state: State::from_bytes(&state)?, first, parcel })
    }

    /// The state and the fds. From here on no other process can take them up.
    #[must_use]
    pub fn open(self) -> (State, Incoming) {
        // Received already, by `look`.
        drop(self.parcel.pull());
        (self.state, Incoming { parcel: self.parcel, ready: VecDeque::new(), is_broken: false, most: 0 })
    }
}

impl Incoming {
    /// The next fd; `None` after the last, or if the fd limit left no room for the next ones.
    pub fn pull(&mut self) -> Option<OwnedFd> {
        if self.ready.is_empty() && !self.is_broken {
            match self.parcel.pull() {
                Ok(fds) => {
                    self.ready.extend(fds.into_iter().flatten());
                    self.most = self.most.max(self.ready.len());
                }
                Err(_) => self.is_broken = true,
            }
        }
        self.ready.pop_front()
    }

    /// The most fds that come at once, as far as is known. The kernel closes those for which there is no room, which to a peer looks
    /// like an orderly end.
    #[must_use]
    pub fn at_once(&self) -> usize {
        self.most
    }

    /// Calls `drop` for each remaining fd.
    pub fn drop_rest(mut self, mut drop: impl FnMut(OwnedFd)) {
        self.ready.drain(..).for_each(&mut drop);
        loop {
            match self.parcel.pull() {
                Ok(Some(fds)) => fds.into_iter().for_each(&mut drop),
                // The kernel dropped the fds of this message. Their number is free for those of the next.
                Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    /// Without this, connections that the next process cannot take over end like orderly ones.
    #[test]
    fn what_is_left_is_known() {
        let files: Vec<File> = (0..40).map(|_| File::open("/dev/null").unwrap()).collect();
        let mut cargo = Cargo::default();
        for file in &files {
            cargo.push(file.as_fd());
        }
        let (_, mut fds) = Delivery::look(cargo.send().unwrap()).unwrap().open();
        let kept: Vec<_> = (0..3).map(|_| fds.pull().unwrap()).collect();
        let mut rest = 0;
        fds.drop_rest(|_| rest += 1);
        assert_eq!(kept.len() + rest, 40);
    }

    /// Without this, state arrives without its fds, or only the first message's fds arrive.
    #[test]
    fn what_goes_comes() {
        let files: Vec<File> = (0..99).map(|_| File::open("/dev/null").unwrap()).collect();
        let mut cargo = Cargo::default();
        cargo.state.put("count", &files.len()).unwrap();
        for file in &files {
            cargo.push(file.as_fd());
        }
        let (mut state, mut fds) = Delivery::look(cargo.send().unwrap()).unwrap().open();
        assert_eq!(state.take::<usize>("count"), Ok(99));
        assert_eq!(std::iter::from_fn(|| fds.pull()).count(), 99);
    }
}
