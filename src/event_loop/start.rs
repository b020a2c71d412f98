//! From nothing to a loop that is ready to turn.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use mio::{Poll, Token as MioToken};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::accept::Accepting;
use super::alarm::Alarm;
use super::clock::Clock;
use super::control::Phase;
use super::manager::Told;
use super::{EventLoop, listeners};
use crate::access_log::AccessLog;
use crate::admin::{self, Credentials};
use crate::config::{self, Config, OWN_DESCRIPTORS, SIDE_CONNECTIONS, ZeroCopy};
use crate::context::{Context, UniqueIds};
use crate::fleet::Fleet;
use crate::metrics::{Histograms, History, Process, Room};
use crate::net::{Inherited, Pipes, Slots, Token};
use crate::policy::health::Spread;
use crate::policy::per_second::PerSecond;
use crate::policy::rate_limit::RateLimit;
use crate::policy::time::Time;
use crate::policy::timers::{Deadline, SlotDeadlines, Timers};
use crate::probe;
use crate::redirect;
use crate::service::{self, Service};
use crate::session::SCRATCH_ROOM;

/// Redirect and admin endpoints get an fd for each of their clients, but together no more than this part of all.
const OTHERS_SHARE: u64 = 8;
const _: () = assert!(SIDE_CONNECTIONS == (redirect::MOST_CLIENTS + admin::MOST_CLIENTS) as u64);
/// Most pipes that bulk transfers may hold at once.
const MOST_PIPES: u64 = 1024;

/// How the process's fds are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fds {
    pub(super) limit: u64,
    /// In use before the first client.
    used: u64,
}

/// What is in the way of a start, a line each.
struct Errors(Vec<String>);

impl From<String> for Errors {
    fn from(error: String) -> Errors {
        Errors(vec![error])
    }
}

impl From<Vec<String>> for Errors {
    fn from(errors: Vec<String>) -> Errors {
        Errors(errors)
    }
}

/// The second, if both are fine; else the errors of both: whoever mends the first wants to know of the others too.
fn both<T>(first: Result<(), Vec<String>>, second: Result<T, Vec<String>>) -> Result<T, Vec<String>> {
    match (first, second) {
        (Ok(()), second) => second,
        (Err(errors), Ok(_)) => Err(errors),
        (Err(first), Err(second)) => Err([first, second].concat()),
    }
}

/// Puts the file's name in front, as errors of the configuration have it.
pub(super) fn in_file(path: &Path, errors: &[String]) -> Vec<String> {
    errors.iter().map(|error| format!("{}: {error}", path.display())).collect()
}

impl EventLoop {
    pub(super) fn start(path: &Path) -> Result<EventLoop, Vec<String>> {
        let config = config::load(path).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        EventLoop::with(path, config).map_err(|Errors(errors)| errors)
    }

    fn with(path: &Path, config: Config) -> Result<EventLoop, Errors> {
        // Before anything takes an fd: what is passed has the lowest numbers, and one that is missing is to be noticed.
        let inherited = service::sockets().and_then(Inherited::new)?;
        let service = Service::from_environment().map_err(|error| format!("NOTIFY_SOCKET: {error}"))?;
        let poll = Poll::new().map_err(|error| format!("no poll to be had: {error}"))?;
        let registry = poll.registry().try_clone().map_err(|error| format!("no poll to be had: {error}"))?;
        let alarm = Alarm::new(&registry).map_err(|error| format!("no timer to be had: {error}"))?;
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| format!("signals: {error}"))?;
        let token: MioToken = Token::Signals.into();
        registry.register(&mut signals, token, mio::Interest::READABLE).map_err(|error| format!("signals: {error}"))?;
        let mut listeners = Slots::new();
        let opened = listeners::open(&config, &inherited, &mut listeners, &registry);
        let credentials = Credentials::load(config.admin.stats_credentials.as_ref());
        let credentials = both(opened, credentials).map_err(|errors| in_file(path, &errors))?;
        let log = AccessLog::stdout(config.log).map_err(|error| format!("standard output: {error}"))?;
        let histograms = Histograms::new().map_err(|error| format!("histograms: {error}"))?;
        let mut clock = Clock::start();
        let spare = spare_fd().ok();
        let fds = Fds::measure(spare.as_ref());
        let now = clock.now();
        let epoch = clock.epoch(now).unwrap_or_default();
        let context = Context {
            now,
            fleet: Fleet::new(&config, &mut spread(&config, now)),
            sources: config.limits.per_source.as_ref().map(RateLimit::new).unwrap_or_default(),
            refused: 0,
            config: Rc::new(config),
            process: Process::new(epoch, histograms),
            sessions: 0,
            capacity: 0,
            redirects: 0,
            admins: 0,
            log,
            deadlines: SlotDeadlines::new(),
            admin_deadlines: SlotDeadlines::new(),
            timers: Timers::new(),
            registry,
            spoken: Time::ZERO,
            scratch: vec![0; SCRATCH_ROOM],
            room: Room::default(),
            pipes: Pipes::new(0),
            roomy: Vec::new(),
            fallen: Vec::new(),
            unique_ids: UniqueIds::new(random()),
        };
        let mut event_loop = EventLoop {
            path: path.to_owned(),
            poll,
            signals,
            clock,
            alarm,
            epoch,
            started: epoch,
            phase: Phase::Serving,
            accepting: Accepting::Freely,
            is_full: false,
            redirect_rate: PerSecond::new(redirect::MOST_A_SECOND),
            next_redirect: Deadline::default(),
            listeners,
            inherited,
            sessions: Slots::new(),
            probes: Slots::new(),
            redirects: Slots::new(),
            again: Vec::new(),
            later: VecDeque::new(),
            admins: Slots::new(),
            admins_again: Vec::new(),
            credentials,
            history: History::default(),
            fds,
            spare,
            service,
            told: Told::default(),
            context,
        };
        event_loop.begin();
        Ok(event_loop)
    }

    fn begin(&mut self) {
        self.context.log.set_epoch(self.epoch);
        self.share_out_fds();
        self.take_sample();
        self.banner();
        probe::schedule(&mut self.context);
        self.context.log.flush(&self.context.registry);
        self.arm_watchdog();
        self.tell_ready();
    }

    /// Gives clients and pipes what the fd limit holds.
    pub(super) fn share_out_fds(&mut self) {
        let context = &mut self.context;
        let most = |listen: &[SocketAddr], most: usize| if listen.is_empty() { 0 } else { most as u64 };
        let config = &context.config;
        let others = most(&config.redirect, redirect::MOST_CLIENTS) + most(&config.admin.listen, admin::MOST_CLIENTS);
        let (clients, pipes) = self.fds.share_out(config.limits.connections.into(), others);
        context.capacity = clients;
        context.pipes.allow(if context.config.zero_copy == ZeroCopy::Auto { pipes as usize } else { 0 });
    }
}

impl Fds {
    /// Fds that there may be.
    pub(super) fn limit(self) -> u64 {
        self.limit
    }

    /// Raises the fd limit to the hard limit, and sees how many are in use. The lowest free fd, which `spare` was, is a
    /// good guess at that.
    fn measure(spare: Option<&OwnedFd>) -> Fds {
        let limits = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
        if let Err(error) = raised {
            log::warn!("the fd limit stays at {:?}, below the hard limit: {error}", limits.current);
        }
        let limit = if raised.is_ok() { limits.maximum } else { limits.current }.unwrap_or(u64::MAX);
        let used = spare.map_or(32, |spare| spare.as_raw_fd() as u64 + 1);
        log::debug!("the fd limit is {limit}, {used} are in use before the first client");
        Fds { limit, used }
    }

    /// How many clients, with two sockets each, and how many pipes, with two ends each, there may be beside others with one.
    fn share_out(self, wanted: u64, others: u64) -> (u64, u64) {
        let others = others.min(self.limit / OTHERS_SHARE);
        let free = self.limit.saturating_sub(self.used + OWN_DESCRIPTORS + others);
        let left = free.saturating_sub(wanted.saturating_mul(2)) / 2;
        let pipes = left.max(self.limit / 64).min(MOST_PIPES);
        (wanted.min(free.saturating_sub(pipes * 2) / 2).max(1), pipes)
    }
}

/// An fd that can be given up when there is no other.
pub(super) fn spare_fd() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// How first probes are spread over time.
pub(super) fn spread(config: &Config, now: crate::policy::time::Time) -> Spread {
    Spread::new(now, config.routes.iter().map(|route| route.servers.len() as u32).sum())
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The one source of randomness in std; it is keyed anew for each process.
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, clients are let in whose servers then cannot be connected to.
    #[test]
    fn every_client_has_two_fds() {
        for limit in [64, 256, 1024, 4096, 20_000, 524_288] {
            let fds = Fds { limit, used: 12 };
            for (wanted, others) in [(1, 0), (10, 160), (4096, 32), (1_000_000, 160)] {
                let (clients, pipes) = fds.share_out(wanted, others);
                let shared = OWN_DESCRIPTORS + others.min(limit / 8) + clients * 2 + pipes * 2;
                assert!(clients >= 1 && clients <= wanted);
                assert!(12 + shared <= limit, "{limit} {wanted}: {clients} {pipes}");
                assert!(pipes >= 1);
            }
        }
        assert_eq!(Fds { limit: 20_000, used: 12 }.share_out(4096, 160).0, 4096);
    }
}
