//! The fd that systemd stores for the next process (`sd_pid_notify_with_fds(3)`, and systemd's page on the file
//! descriptor store).
use std::env;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg_addr};
use rustix::pipe::{PipeFlags, pipe_with};
use sd_notify::NotifyState;

use super::notify::Notifier;

/// The name of the one stored fd. It leads the next process to everything else.
pub(super) const PARCEL: &str = "parked";
/// How long systemd may take to store an fd, as `sd_notify_barrier(3)` allows.
pub(super) const BARRIER: Duration = Duration::from_secs(5);

/// Whether systemd can store an fd: `$FDSTORE` holds the number (`systemd.exec(5)`), and is unset without a store.
pub(super) fn has_room() -> bool {
    env::var("FDSTORE").is_ok_and(|most| most.parse::<u32>().is_ok_and(|most| most > 0))
}

impl Notifier {
    /// Has systemd store an fd in place of any other, and waits for at most `patience` until it has: systemd may ignore a
    /// message whose sender has exited. systemd must not poll the fd (`FDPOLL=0`), as its other end closes with this
    /// process.
    ///
    /// # Errors
    /// The kernel's, or systemd did not answer in time. It stores nothing then: what this process goes on with must not
    /// come to the next one as well.
    pub(super) fn keep(&self, fd: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
        self.forget();
        let kept = self
            .tell_with(&format!("FDSTORE=1\nFDNAME={PARCEL}\nFDPOLL=0\n"), fd)
            .and_then(|()| self.wait_until_heard(patience));
        // A systemd that is only slow reads this after the fd.
        kept.inspect_err(|_| self.forget())
    }

    /// Waits until systemd has read all messages before (`sd_notify_barrier(3)`).
    fn wait_until_heard(&self, patience: Duration) -> io::Result<()> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        self.tell_with("BARRIER=1", writer.as_fd())?;
        drop(writer);
        let timeout = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut closed = [PollFd::new(&reader, PollFlags::empty())];
        match rustix::io::retry_on_intr(|| poll(&mut closed, Some(&timeout)))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Has systemd drop what it stores.
    pub(super) fn forget(&self) {
        self.tell(&[NotifyState::Custom(&format!("FDSTOREREMOVE=1\nFDNAME={PARCEL}"))], SendFlags::empty());
    }

    fn tell_with(&self, text: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
        let Some((socket, address)) = &self.ear else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        let fds = [fd];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg_addr(socket, address, &[IoSlice::new(text.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// Without this, a systemd that answers too late gives the next process the connections that this one has gone on
    /// with: bytes come twice.
    #[test]
    fn what_is_not_stored_in_time_is_not_stored() {
        let path = env::temp_dir().join(format!("fiscalismia-lb-store-{}", std::process::id()));
        let systemd = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str());
        let (fd, _other) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let kept = notifier.keep(fd.as_fd(), Duration::ZERO);
        assert_eq!(kept.unwrap_err().kind(), io::ErrorKind::TimedOut);
        systemd.set_nonblocking(true).unwrap();
        let mut bytes = [0; 256];
        let mut heard =
            || systemd.recv(&mut bytes).map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned());
        let said: Vec<String> = (0..4).map(|_| heard().unwrap().lines().next().unwrap().to_owned()).collect();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(said, ["FDSTOREREMOVE=1", "FDSTORE=1", "BARRIER=1", "FDSTOREREMOVE=1"]);
    }
}
