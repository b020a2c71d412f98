//! A running proxy, and its costs so far.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::client::Job;
use crate::load::{Load, Target};
use crate::peer::{Kind, Peer, Setup, sni};
use crate::service::Service;

/// The cores of the two sides.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub proxy: usize,
    pub load: usize,
}

/// A proxy that serves.
pub struct Proxy {
    child: Child,
    /// The process that does the work.
    pid: u32,
    pub address: SocketAddr,
    logged: Arc<AtomicU64>,
    /// From the start of the program to the end of the first connection that it served.
    pub first_served: Duration,
    names: usize,
    command: Command,
    /// What starts it again.
    service: Option<Service>,
    core: usize,
    /// The process has others, which end with it if it is asked to.
    has_master: bool,
}

/// What a stretch of work cost the proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Instructions in user and in kernel mode, where perf counts them.
    pub instructions: Option<(f64, f64)>,
    /// System calls, where perf may look at the kernel's tracepoints.
    pub calls: Option<f64>,
    pub cpu: Duration,
    pub wall: Duration,
}

/// Pins the calling thread, and what it starts from here on, to one core.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

impl Proxy {
    /// Starts `peer` on its core and waits until a connection went through it.
    pub fn start(peer: &Peer, setup: Setup, load: &mut Load, cores: Cores, dir: &Path) -> Result<Proxy, String> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(text)?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = peer.command(setup, port, load.origin_port, dir).map_err(text)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let service = if setup.master && peer.kind == Kind::FiscalismiaLb {
            Some(Service::new(address, dir).map_err(text)?)
        } else {
            None
        };
        pin(cores.proxy).map_err(text)?;
        let begun = Instant::now();
        let child = match &service {
            Some(service) => service.spawn(&command),
            None => command.spawn(),
        };
        pin(cores.load).map_err(text)?;
        let child = child.map_err(|error| format!("{}: {error}", peer.label))?;
        let mut proxy = Proxy {
            pid: child.id(),
            child,
            command,
            service,
            core: cores.proxy,
            has_master: setup.master || peer.kind == Kind::Sozu,
            address,
            logged: Arc::default(),
            first_served: Duration::ZERO,
            names: setup.routes,
        };
        proxy.drain();
        if let Some(service) = &proxy.service {
            service.wait_until_ready()?;
        }
        proxy.first(load, begun).map_err(|why| format!("{}: {why}", peer.label))?;
        if peer.kind == Kind::Sozu {
            proxy.pid = proxy.worker()?;
        }
        Ok(proxy)
    }

    /// Reads what the proxy prints, so that it never waits for us, and counts the bytes.
    fn drain(&mut self) {
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            self.child.stdout.take().map(|stream| Box::new(stream) as _),
            self.child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for mut stream in streams.into_iter().flatten() {
            let logged = Arc::clone(&self.logged);
            thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    logged.fetch_add(count as u64, Ordering::Relaxed);
                    if std::env::var_os("COMPARE_SHOW").is_some() {
                        let _ = io::stderr().write_all(&buffer[..count]);
                    }
                }
            });
        }
    }

    fn first(&mut self, load: &mut Load, begun: Instant) -> Result<(), String> {
        let target = self.target(517);
        loop {
            if let Some(status) = self.child.try_wait().map_err(text)? {
                return Err(format!("ended at once: {status}; COMPARE_SHOW=1 shows what it prints"));
            }
            let opened = load.open(&target, Job::Short);
            match opened {
                Ok(_) => break,
                Err(rustix::io::Errno::CONNREFUSED) if begun.elapsed() < Duration::from_secs(20) => {
                    thread::sleep(Duration::from_micros(200));
                }
                Err(other) => return Err(format!("connect: {other}")),
            }
        }
        load.finish(1)?;
        self.first_served = begun.elapsed();
        load.settle()?;
        load.clear();
        Ok(())
    }

    pub fn target(&self, hello_bytes: usize) -> Target {
        Target { proxy: self.address, names: (0..self.names).map(sni).collect(), hello_bytes }
    }

    /// Bytes that the proxy has printed.
    pub fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    /// The one child of a process that only looks after it.
    fn worker(&self) -> Result<u32, String> {
        let children = self.proc(&format!("task/{}/children", self.pid))?;
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).ok_or_else(|| "no worker".into())
    }

    /// Ends it and starts it again, as its service manager would: the others of those that can have a reload for that.
    pub fn restart(&mut self, peer: &Peer) -> Result<(), String> {
        let Some(service) = &self.service else { return self.reload(peer) };
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(text)?;
        self.child.wait().map_err(text)?;
        pin(self.core).map_err(text)?;
        self.child = service.spawn(&self.command).map_err(text)?;
        self.pid = self.child.id();
        service.wait_until_ready()?;
        self.drain();
        Ok(())
    }

    /// Asks it to read its configuration anew.
    pub fn reload(&mut self, peer: &Peer) -> Result<(), String> {
        let signal = if peer.kind == Kind::Haproxy { Signal::USR2 } else { Signal::HUP };
        kill_process(Pid::from_child(&self.child), signal).map_err(text)
    }

    fn proc(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    }

    /// A figure of /proc/PID/status, in bytes.
    pub fn status(&self, key: &str) -> Result<u64, String> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.ok_or_else(|| format!("no {key} in /proc/PID/status"))? * 1024)
    }

    /// Size of the program's file.
    pub fn binary_size(&self) -> Result<u64, String> {
        fs::metadata(format!("/proc/{}/exe", self.pid)).map(|file| file.len()).map_err(text)
    }

    /// How many file descriptors it has open.
    pub fn fds(&self) -> Result<usize, String> {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map(Iterator::count).map_err(text)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), signal).map_err(text)
    }

    /// Time on the CPU so far, all threads.
    pub fn cpu(&self) -> Result<Duration, String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).map_err(text)?;
        let mut total = 0;
        for task in tasks {
            let schedstat = fs::read_to_string(task.map_err(text)?.path().join("schedstat")).map_err(text)?;
            total += schedstat.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(total))
    }

    /// What the proxy spends while `work` runs.
    pub fn cost(&self, dir: &Path, work: impl FnOnce() -> Result<(), String>) -> Result<Cost, String> {
        let perf = Perf::attach(self.pid, dir);
        let (cpu, begun) = (self.cpu()?, Instant::now());
        let done = work();
        let (wall, cpu) = (begun.elapsed(), self.cpu()?.saturating_sub(cpu));
        let counts = perf.and_then(Perf::stop).unwrap_or_default();
        done?;
        Ok(Cost { instructions: counts.0, calls: counts.1, cpu, wall })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.has_master && kill_process(Pid::from_child(&self.child), Signal::TERM).is_ok() {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(3) && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const INSTRUCTIONS: &str = "instructions:u,instructions:k";
/// Counts where the machine has no counters, too, and does not slow the process down as strace does.
const CALLS: &str = "raw_syscalls:sys_enter";

/// Instructions in user and in kernel mode, and system calls; each where it could be counted.
type Counts = (Option<(f64, f64)>, Option<f64>);

/// `perf stat` on one process, told over two FIFOs when to count.
struct Perf {
    child: Child,
    control: File,
    acks: File,
}

impl Perf {
    /// `None` where there is no perf, or it may not count.
    fn attach(pid: u32, dir: &Path) -> Option<Perf> {
        let both = format!("{INSTRUCTIONS},{CALLS}");
        [both.as_str(), INSTRUCTIONS].iter().find_map(|events| Perf::count(events, pid, dir))
    }

    fn count(events: &str, pid: u32, dir: &Path) -> Option<Perf> {
        let (control, acks) = (dir.join("perf-control"), dir.join("perf-acks"));
        for fifo in [&control, &acks] {
            let _ = fs::remove_file(fifo);
            mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).ok()?;
        }
        let open = |fifo: &Path| OpenOptions::new().read(true).write(true).open(fifo).ok();
        let child = Command::new("perf")
            .args(["stat", "-x,", "-D", "-1", "-e", events])
            .arg("--control")
            .arg(format!("fifo:{},{}", control.display(), acks.display()))
            .args(["-p", &pid.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut perf = Perf { child, control: open(&control)?, acks: open(&acks)? };
        perf.tell("enable\n")?;
        Some(perf)
    }

    fn tell(&mut self, command: &str) -> Option<()> {
        self.control.write_all(command.as_bytes()).ok()?;
        let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
        let mut wait = [PollFd::new(&self.acks, PollFlags::IN)];
        if poll(&mut wait, Some(&patience)) != Ok(1) {
            return None;
        }
        self.acks.read(&mut [0; 16]).ok().map(|_| ())
    }

    fn stop(mut self) -> Option<Counts> {
        self.tell("disable\n")?;
        kill_process(Pid::from_child(&self.child), Signal::INT).ok()?;
        let mut said = String::new();
        self.child.stderr.take()?.read_to_string(&mut said).ok()?;
        let count = |event: &str| -> Option<f64> {
            said.lines().find(|line| line.contains(event))?.split(',').next()?.parse().ok()
        };
        Some((count("instructions:u").zip(count("instructions:k")), count(CALLS)))
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
