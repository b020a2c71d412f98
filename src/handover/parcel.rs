//! State and sockets in flight from one process to the next, in a socket pair of which the service manager keeps one end.
//!
//! The manager must not be given the sockets one by one: systemd compares each fd with every one that it stores, and
//! passes all their names in one environment variable, whose length the kernel limits (`execve(2)`). Messages in a
//! socket's buffer stay there, with the fds in them, as long as any process has one end open (`unix(7)`).
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

/// Fds in one message. The kernel takes 253 (`SCM_MAX_FD`).
const MAX_FDS: usize = 250;
/// Fds in one message when there are few: a receiver with a low fd limit must have room for a whole message.
const MIN_FDS: usize = 4;
/// Messages that fit into the smallest buffer that the kernel grants, 208 KiB doubled, with a margin.
const MAX_MESSAGES: usize = 400;
/// Send buffer to ask for, in bytes; the kernel may grant less. A message takes about 1 KiB.
const SEND_BUFFER: usize = 1 << 20;

/// Puts `first` and `state`, and then `fds` in order, in flight. Answers the end from which they can be received. Of
/// `first`, only as many are sent as fit in one message with the state.
///
/// # Errors
/// The kernel's: out of fds or memory, or more fds in flight than the user may have (`ETOOMANYREFS`, `unix(7)`).
pub(super) fn send(first: &[BorrowedFd<'_>], state: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (sender, receiver) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    sockopt::set_socket_send_buffer_size(&sender, SEND_BUFFER)?;
    let mut file = File::from(memfd_create("fiscalismia-lb", MemfdFlags::CLOEXEC)?);
    file.write_all(state)?;
    // The state is the last fd of its message, where versions that know no others look for it.
    let with_state: Vec<_> = first.iter().copied().take(MAX_FDS - 1).chain([file.as_fd()]).collect();
    push(&sender, &with_state)?;
    for some in fds.chunks(fds.len().div_ceil(MAX_MESSAGES).clamp(MIN_FDS, MAX_FDS)) {
        push(&sender, some)?;
    }
    Ok(receiver)
}

/// Sends a message of fds. It carries one byte, as the kernel sends no fds without one.
fn push(sender: &OwnedFd, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut room);
    if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(sender, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What the previous process put in flight, being received.
pub(super) struct Parcel {
    receiver: OwnedFd,
}

impl Parcel {
    /// The parcel that can be received from `receiver`.
    pub(super) fn new(receiver: OwnedFd) -> Parcel {
        Parcel { receiver }
    }

    /// Receives the state, and the fds in its message, without taking them out (`MSG_PEEK`). If this process fails
    /// later, all is left for the next one. [`pull`](Parcel::pull) therefore answers these fds first.
    ///
    /// # Errors
    /// Nothing is in flight, or the last fd of the first message is not a file.
    pub(super) fn look(&self) -> io::Result<(Vec<OwnedFd>, Vec<u8>)> {
        let mut first = self.receive(RecvFlags::PEEK)?.unwrap_or_default();
        let mut file = File::from(first.pop().ok_or(io::ErrorKind::UnexpectedEof)?);
        file.rewind()?;
        let mut state = Vec::new();
        file.read_to_end(&mut state)?;
        Ok((first, state))
    }

    /// The next fds. There must be room for them under the fd limit: the kernel drops those without room, which is an
    /// error here. `None` after the last.
    ///
    /// # Errors
    /// The kernel's; `EMFILE` if some were dropped.
    pub(super) fn pull(&self) -> io::Result<Option<Vec<OwnedFd>>> {
        self.receive(RecvFlags::empty())
    }

    fn receive(&self, how: RecvFlags) -> io::Result<Option<Vec<OwnedFd>>> {
        let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let flags = how | RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = match recvmsg(&self.receiver, &mut [IoSliceMut::new(&mut [0])], &mut ancillary, flags) {
            Ok(message) if message.bytes > 0 => message,
            Ok(_) | Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                all.extend(fds);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) { Err(Errno::MFILE.into()) } else { Ok(Some(all)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, an fd is taken for another connection's, or state is cut short.
    #[test]
    fn what_goes_in_comes_out_in_order() {
        let state: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        let files: Vec<File> = (0..603_u32)
            .map(|n| {
                let mut file = File::from(memfd_create("n", MemfdFlags::CLOEXEC).unwrap());
                file.write_all(&n.to_le_bytes()).unwrap();
                file
            })
            .collect();
        let number = |fd: OwnedFd| {
            let mut file = File::from(fd);
            file.rewind().unwrap();
            let mut number = [0; 4];
            file.read_exact(&mut number).unwrap();
            u32::from_le_bytes(number)
        };
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let receiver = send(&fds[600..], &state, &fds[..600]).unwrap();
        drop(files);
        let parcel = Parcel::new(receiver);
        for _ in 0..2 {
            let (first, state_again) = parcel.look().unwrap();
            assert_eq!(first.into_iter().map(number).collect::<Vec<_>>(), [600, 601, 602]);
            assert_eq!(state_again, state);
        }
        assert_eq!(parcel.pull().unwrap().unwrap().len(), 4);
        let mut numbers = Vec::new();
        while let Some(fds) = parcel.pull().unwrap() {
            assert!(fds.len() <= MAX_FDS);
            numbers.extend(fds.into_iter().map(number));
        }
        assert_eq!(numbers, (0..600).collect::<Vec<_>>());
        assert!(parcel.pull().unwrap().is_none());
    }

    /// Without this, a stored socket without state keeps a program from starting, or makes it wait.
    #[test]
    fn an_empty_one_is_an_error() {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        assert!(Parcel::new(one.try_clone().unwrap()).look().is_err());
        sendmsg(&other, &[IoSlice::new(b"x")], &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL).unwrap();
        assert!(Parcel::new(one).look().is_err(), "a message without a file");
    }
}
