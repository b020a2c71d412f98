//! The real program, started with a configuration of its own.
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::client::Client;
use super::lines::{From, Lines};
use super::log::Entry;
use super::places::{Folder, free_address};
use super::program::program;
use super::wait_until;

/// A running proxy; killed when dropped. Fails the test if it ended by itself or wrote of a panic.
pub(crate) struct Proxy {
    child: Child,
    folder: Folder,
    /// The first address of `listen`.
    pub(crate) address: SocketAddr,
    pub(crate) lines: Lines,
    readers: Vec<JoinHandle<()>>,
    /// Its end is no failure.
    may_end: bool,
    /// Its stdout, where nobody reads it.
    pub(crate) unread: Option<ChildStdout>,
}

/// How a proxy is started, beyond its configuration.
#[derive(Default)]
pub(crate) struct Launch {
    /// A piece of shell that runs in the process before the program does, such as `ulimit -n 64`.
    pub(crate) before: &'static str,
    /// A program that runs the program, such as [`super::namespace::ON_LB`].
    pub(crate) within: &'static str,
    /// Leave its stdout unread.
    pub(crate) deaf: bool,
    /// Its stdin.
    pub(crate) stdin: Option<OwnedFd>,
}

impl Launch {
    /// With a socket that listens at `address`, as systemd hands one over, `sd_listen_fds(3)`: descriptor 3 of the process
    /// that `LISTEN_PID` names. It takes IPv4 as well as IPv6, which the proxy's own sockets never do.
    pub(crate) fn with_socket(address: SocketAddr) -> Launch {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(128).unwrap();
        Launch {
            before: "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_FDNAMES=https LISTEN_PID=$$",
            stdin: Some(socket.into()),
            ..Launch::default()
        }
    }
}

impl Proxy {
    /// Starts the program and waits until it says that it is ready. `listen` gets a free address if there is none.
    pub(crate) fn start(config: Value) -> Proxy {
        Proxy::launch(config, Launch::default())
    }

    pub(crate) fn launch(mut config: Value, launch: Launch) -> Proxy {
        if config["listen"].is_null() {
            config["listen"] = json!([free_address()]);
        }
        let address = config["listen"][0].as_str().unwrap().parse().unwrap();
        Proxy::launch_as(&config, address, launch)
    }

    /// Starts it with this configuration as it is.
    pub(crate) fn launch_as(config: &Value, address: SocketAddr, launch: Launch) -> Proxy {
        let folder = Folder::new();
        let file = folder.write("lb.json", &config.to_string());
        let lines = Lines::default();
        listen_for_notifications(&folder.path().join("notify"), lines.clone());
        let mut child = command(&launch)
            .args(["run", "--config"])
            .arg(&file)
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .stdin(launch.stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut readers = vec![lines.follow(From::Stderr, child.stderr.take().unwrap())];
        let unread = if launch.deaf { child.stdout.take() } else { None };
        readers.extend(child.stdout.take().map(|stdout| lines.follow(From::Stdout, stdout)));
        let proxy = Proxy { child, folder, address, lines, readers, may_end: false, unread };
        proxy.wait_for_notification(0, "READY=1");
        if proxy.unread.is_none() {
            // The last line of the banner, which READY may overtake on its way here.
            proxy.wait_for_notice("Limits: ");
        }
        proxy
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops it where it is, until `Signal::CONT`. The signal is sent before it takes effect: an event in between would be
    /// worked on alone.
    pub(crate) fn halt(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until("it has stopped", || fs::read_to_string(&stat).unwrap().contains(") T "));
    }

    /// The system call that it is in, as `/proc/PID/syscall` (proc(5)) has its number; `running` where it is in none.
    pub(crate) fn system_call(&self) -> String {
        self.proc("syscall").split_ascii_whitespace().next().unwrap().to_owned()
    }

    /// The system call in which it waits for something to happen.
    pub(crate) fn sleeps_in(&self) -> String {
        let mut call = String::new();
        wait_until("it sleeps", || {
            call = self.system_call();
            self.proc("stat").contains(") S ") && call == self.system_call() && call.parse::<u64>().is_ok()
        });
        call
    }

    /// Writes `text` as the configuration and has it read; answers once the program has done with it, good or bad.
    pub(crate) fn reload_text(&self, text: &str) {
        self.folder.write("lb.json", text);
        let start = self.lines.len();
        self.signal(Signal::HUP);
        self.wait_for_notification(start, "RELOADING=1");
        self.wait_for_notification(start, "READY=1");
    }

    /// Writes `text` as the configuration and asks for it to be read, whatever goes on.
    pub(crate) fn reload_again(&self, text: &str) {
        self.folder.write("lb.json", text);
        self.signal(Signal::HUP);
    }

    /// The same for a configuration without `listen`, which stays as it was.
    pub(crate) fn reload(&self, mut config: Value) {
        if config["listen"].is_null() {
            config["listen"] = json!([self.address]);
        }
        self.reload_text(&config.to_string());
    }

    /// Waits for a line of a notification to systemd.
    pub(crate) fn wait_for_notification(&self, start: usize, wanted: &str) {
        self.lines.wait(start, |from, line| (from == From::Notify && line == wanted).then_some(()));
    }

    /// Waits for a line of the log with `words` in it.
    pub(crate) fn wait_for_notice(&self, words: &str) -> String {
        self.lines.wait(0, |from, line| (from == From::Stdout && line.contains(words)).then(|| line.to_owned()))
    }

    /// Connection lines so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lines.of(From::Stdout).iter().filter_map(|line| Entry::parse(line)).collect()
    }

    /// The first line of `step` about the client at `client`, waiting for it.
    pub(crate) fn entry(&self, client: SocketAddr, step: &str) -> Entry {
        self.lines.wait(0, |from, line| {
            let entry = (from == From::Stdout).then(|| Entry::parse(line))??;
            (entry.client == client && entry.step == step).then_some(entry)
        })
    }

    /// The line about the end of the connection of the client at `client`, waiting for it.
    pub(crate) fn close_of(&self, client: SocketAddr) -> Entry {
        self.entry(client, "CLOSE")
    }

    /// Lines of the log that are about no connection.
    pub(crate) fn other_lines(&self) -> Vec<String> {
        self.lines.of(From::Stdout).into_iter().filter(|line| Entry::parse(line).is_none()).collect()
    }

    /// CPU time used so far, user and system: the program has one thread.
    pub(crate) fn cpu_time(&self) -> Duration {
        let schedstat = self.proc("schedstat");
        Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
    }

    /// CPU time that it uses in the next `span`.
    pub(crate) fn busy_during(&self, span: Duration) -> Duration {
        let before = self.cpu_time();
        thread::sleep(span);
        self.cpu_time().saturating_sub(before)
    }

    pub(crate) fn open_fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// A file of /proc about the process.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Waits for the end of the process, which is then no failure, and for its last line.
    pub(crate) fn wait_for_exit(mut self) -> (ExitStatus, Lines) {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.may_end = true;
        self.read_to_end();
        (status.unwrap(), self.lines.clone())
    }

    fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let ended = self.child.try_wait().unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.read_to_end();
        if thread::panicking() {
            // The lines that led to the failure; stdout is shown for failed tests only.
            println!("{:?}", self.lines);
            return;
        }
        assert!(self.may_end || ended.is_none(), "the program ended by itself, {ended:?}:\n{:?}", self.lines);
        let panicked = self.lines.of(From::Stderr).iter().any(|line| line.contains("panicked at"));
        assert!(!panicked, "the program panicked:\n{:?}", self.lines);
    }
}

fn command(launch: &Launch) -> Command {
    let program = program();
    if launch.before.is_empty() && launch.within.is_empty() {
        return Command::new(program);
    }
    let mut command = Command::new("sh");
    // With exec, the process that was started is the program, whatever came before.
    command.args(["-e", "-c", &format!("{}\nexec {} \"$0\" \"$@\"", launch.before, launch.within)]).arg(program);
    command
}

/// Keeps what the program tells the service manager. Ends with the program's folder: nobody can write to it any more.
fn listen_for_notifications(path: &Path, lines: Lines) {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = path.to_owned();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while path.exists() {
            let Ok(n) = socket.recv(&mut buffer) else { continue };
            for line in String::from_utf8_lossy(&buffer[..n]).lines() {
                lines.push(From::Notify, line.to_owned());
            }
        }
    });
}
