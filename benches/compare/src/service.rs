//! A stand-in for systemd: holds a service's listening socket and the fds that it stores, and passes both to the next
//! process (`sd_listen_fds(3)`, `sd_pid_notify_with_fds(3)`).
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketType, bind, listen, recvmsg,
    socket_with, sockopt,
};

use crate::load::NONBLOCK;

const PATIENCE: Duration = Duration::from_secs(20);

/// Fds by name, as the process stored them.
type Store = Arc<Mutex<Vec<(String, OwnedFd)>>>;

/// A service with a file descriptor store.
pub struct Service {
    socket: OwnedFd,
    store: Store,
    notify: PathBuf,
    ready: Receiver<()>,
}

impl Service {
    /// One that listens at `address`, and is spoken to over a socket in `dir`.
    pub fn new(address: SocketAddr, dir: &Path) -> io::Result<Service> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, NONBLOCK, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, 4096)?;
        let (notify, store, (told, ready)) = (dir.join("notify"), Store::default(), channel());
        let _ = std::fs::remove_file(&notify);
        let ear = UnixDatagram::bind(&notify)?;
        ear.set_read_timeout(Some(Duration::from_secs(1)))?;
        let kept = Arc::clone(&store);
        thread::spawn(move || while hear(&ear, &kept, &told).is_ok() {});
        Ok(Service { socket, store, notify, ready })
    }

    /// Starts a process of it.
    pub fn spawn(&self, command: &Command) -> io::Result<Child> {
        let stored = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = ["https"].into_iter().chain(stored.iter().map(|(name, _)| &**name)).collect();
        let fds = [&self.socket].into_iter().chain(stored.iter().map(|(_, fd)| fd));
        let mappings = (3..).zip(fds).map(|(child_fd, fd)| Ok(FdMapping { parent_fd: fd.try_clone()?, child_fd }));
        // With exec, the process that LISTEN_PID names is the program.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "export LISTEN_PID=$$; exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args())
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("FDSTORE", "1")
            .env("NOTIFY_SOCKET", &self.notify)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        shell.fd_mappings(mappings.collect::<io::Result<_>>()?).map_err(io::Error::other)?;
        shell.spawn()
    }

    /// Waits until the process that was started says that it serves.
    pub fn wait_until_ready(&self) -> Result<(), String> {
        self.ready.recv_timeout(PATIENCE).map_err(|_| "the process does not say that it is ready".into())
    }
}

/// Takes one message; an error says that nobody waits for them any more.
fn hear(ear: &UnixDatagram, store: &Store, told: &Sender<()>) -> Result<(), ()> {
    let Some((text, mut fds)) = receive(ear) else {
        return if Arc::strong_count(store) > 1 { Ok(()) } else { Err(()) };
    };
    let has = |wanted: &str| text.lines().any(|line| line == wanted);
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    if has("FDSTORE=1") {
        store.extend(fds.drain(..).map(|fd| (name.clone(), fd)));
    }
    if has("FDSTOREREMOVE=1") {
        store.retain(|(stored, _)| *stored != name);
    }
    if has("READY=1") { told.send(()).map_err(|_| ()) } else { Ok(()) }
}

/// The next message and its fds; `None`: none came in time.
fn receive(ear: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut bytes = vec![0; 4096];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(ear.as_fd(), parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?.bytes;
    let fds = ancillary.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().collect();
    Some((String::from_utf8_lossy(&bytes[..length]).into_owned(), fds))
}
