//! A stand-in for systemd (`sd_listen_fds(3)`, `sd_pid_notify_with_fds(3)`): holds the listening socket, stores a
//! process's fds, and starts the next process with both.
use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::client::Client;
use super::lines::{From, Lines};
use super::places::{Folder, free_address};
use super::program::program;
use super::wait_until;

/// Fds by name, as the process stored them.
type Store = Arc<Mutex<Vec<(String, OwnedFd)>>>;

/// A service with a file descriptor store, and its running process. Killed when dropped.
pub(crate) struct Manager {
    pub(crate) address: SocketAddr,
    pub(crate) lines: Lines,
    /// What is started.
    pub(crate) program: PathBuf,
    /// A piece of shell that runs in the process before the program does, such as `ulimit -n 64`.
    pub(crate) before: &'static str,
    /// None where the program opens its own.
    sockets: Vec<OwnedFd>,
    store: Store,
    folder: Folder,
    child: Option<Child>,
    readers: Vec<JoinHandle<()>>,
}

impl Manager {
    /// Starts the program with the socket of its `listen` passed to it, and waits until it is ready.
    pub(crate) fn start(config: Value) -> Manager {
        let address = free_address();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(4096).unwrap();
        Manager::start_with(config, address, vec![socket.into()])
    }

    /// Starts the program without any socket but what it leaves to itself.
    pub(crate) fn start_without_sockets(config: Value) -> Manager {
        Manager::start_with(config, free_address(), Vec::new())
    }

    fn start_with(mut config: Value, address: SocketAddr, sockets: Vec<OwnedFd>) -> Manager {
        config["listen"] = json!([address]);
        let folder = Folder::new();
        folder.write("lb.json", &config.to_string());
        let (lines, store) = (Lines::default(), Store::default());
        hear(folder.path().join("notify"), lines.clone(), Arc::clone(&store));
        let mut manager = Manager {
            address,
            lines,
            program: program(),
            before: "",
            sockets,
            store,
            folder,
            child: None,
            readers: Vec::new(),
        };
        manager.spawn();
        manager
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Writes the configuration that the next process reads.
    pub(crate) fn configure(&self, mut config: Value) {
        config["listen"] = json!([self.address]);
        self.configure_text(&config.to_string());
    }

    pub(crate) fn configure_text(&self, text: &str) {
        self.folder.write("lb.json", text);
    }

    /// Starts the next process and waits until it is ready.
    pub(crate) fn spawn(&mut self) {
        let start = self.lines.len();
        self.spawn_unready();
        self.lines.wait(start, |from, line| (from == From::Notify && line == "READY=1").then_some(()));
    }

    /// Starts the next process.
    pub(crate) fn spawn_unready(&mut self) {
        let stored = self.store.lock().unwrap();
        let names = self.sockets.iter().map(|_| "https");
        let names: Vec<&str> = names.chain(stored.iter().map(|(name, _)| &**name)).collect();
        let fds = self.sockets.iter().chain(stored.iter().map(|(_, fd)| fd));
        let mappings = (3..).zip(fds).map(|(child_fd, fd)| FdMapping { parent_fd: fd.try_clone().unwrap(), child_fd });
        // With exec, the process that LISTEN_PID names is the program.
        let script = format!("{}\nexport LISTEN_PID=$$\nexec \"$0\" \"$@\"", self.before);
        let mut command = Command::new("sh");
        command
            .args(["-e", "-c", &script])
            .arg(&self.program)
            .args(["run", "--config"])
            .arg(self.folder.path().join("lb.json"))
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("FDSTORE", "1")
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.fd_mappings(mappings.collect()).unwrap().spawn().unwrap();
        self.readers.push(self.lines.follow(From::Stderr, child.stderr.take().unwrap()));
        self.readers.push(self.lines.follow(From::Stdout, child.stdout.take().unwrap()));
        drop(stored);
        self.child = Some(child);
    }

    /// Ends the process and starts the next: how long nobody let clients in.
    pub(crate) fn restart(&mut self) -> Duration {
        let began = Instant::now();
        self.signal(Signal::TERM);
        assert!(self.wait_for_exit(), "the process failed:\n{:?}", self.lines);
        self.spawn();
        began.elapsed()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// What `/proc` says of the process.
    pub(crate) fn proc(&self, file: &str) -> String {
        let id = self.child.as_ref().unwrap().id();
        std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap()
    }

    /// Waits for the end of the process, and for its last line: whether it ended well.
    pub(crate) fn wait_for_exit(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        wait_until("the process ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status.is_some_and(|status| status.success())
    }

    /// How many fds are stored.
    pub(crate) fn stored(&self) -> usize {
        self.store.lock().unwrap().len()
    }

    /// What the relays hold that the last process has left: bytes that go up, and bytes that go down, by their clients.
    pub(crate) fn held_by_parked_relays(&self) -> HashMap<SocketAddr, [i64; 2]> {
        let mut held = HashMap::new();
        self.change_state(|state| {
            let relays = state["sessions"].as_array().unwrap().iter().filter(|entry| entry["has_server"] == true);
            held.extend(relays.map(|entry| {
                let source = entry["record"]["source"].as_str().unwrap().parse().unwrap();
                (source, [0, 1].map(|way| entry["held"][way]["len"].as_i64().unwrap()))
            }));
        });
        held
    }

    /// Changes the state that the last process has left, as a program of another version would have written it.
    pub(crate) fn change_state(&self, change: impl FnOnce(&mut Value)) {
        self.change_bytes(|bytes| {
            let (len, rest) = bytes.split_first_chunk::<8>().unwrap();
            let (sections, behind) = rest.split_at(u64::from_le_bytes(*len) as usize);
            let mut state = serde_json::from_slice(sections).unwrap();
            change(&mut state);
            let sections = state.to_string();
            [&(sections.len() as u64).to_le_bytes(), sections.as_bytes(), behind].concat()
        });
    }

    /// Has the next process find other bytes for its state.
    pub(crate) fn replace_state(&self, bytes: &[u8]) {
        self.change_bytes(|_| bytes.to_vec());
    }

    /// The state is a file in memory, of which the first message in the stored socket has an fd, its last. That file is
    /// rewritten; the message is only looked at.
    fn change_bytes(&self, change: impl FnOnce(&[u8]) -> Vec<u8>) {
        let store = self.store.lock().unwrap();
        let (_, parcel) = &store[0];
        let mut file = File::from(receive(parcel.as_fd(), RecvFlags::PEEK).1.pop().unwrap());
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let changed = change(&bytes);
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        file.write_all(&changed).unwrap();
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        if thread::panicking() {
            println!("{:?}", self.lines);
            return;
        }
        let panicked = self.lines.of(From::Stderr).iter().any(|line| line.contains("panicked at"));
        assert!(!panicked, "the program panicked:\n{:?}", self.lines);
    }
}

/// Does what the process asks for, on a thread of its own that ends with the folder.
fn hear(path: PathBuf, lines: Lines, store: Store) {
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    thread::spawn(move || {
        while path.exists() {
            let (bytes, mut fds) = receive(socket.as_fd(), RecvFlags::empty());
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let has = |wanted: &str| text.lines().any(|line| line == wanted);
            let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
            let mut store = store.lock().unwrap();
            if has("FDSTORE=1") {
                // systemd drops what it polls once the other end is closed.
                assert!(has("FDPOLL=0"), "{text}");
                store.extend(fds.drain(..).map(|fd| (name.clone(), fd)));
            }
            if has("FDSTOREREMOVE=1") {
                store.retain(|(stored, _)| *stored != name);
            }
            drop(store);
            // A barrier's fd is closed once everything before it has been done: here.
            drop(fds);
            for line in text.lines() {
                lines.push(From::Notify, line.to_owned());
            }
        }
    });
}

/// The next message: its bytes, none if none came in time, and its fds.
fn receive(socket: BorrowedFd<'_>, flags: RecvFlags) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = vec![0; 4096];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(socket, parts, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC).map_or(0, |got| got.bytes);
    let mut fds = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = part {
            fds.extend(some);
        }
    }
    bytes.truncate(length);
    (bytes, fds)
}
