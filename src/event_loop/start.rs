//! From nothing to a loop that is ready to turn.
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use mio::{Poll, Token as MioToken};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::accept::Accepting;
use super::admins::Admins;
use super::alarm::Alarm;
use super::clock::Clock;
use super::control::Phase;
use super::manager::Told;
use super::redirects::Redirects;
use super::sessions::Sessions;
use super::{EventLoop, listeners};
use crate::access_log::AccessLog;
use crate::admin::Credentials;
use crate::config::{self, Config};
use crate::context::Context;
use crate::fleet::Fleet;
use crate::metrics::{Histograms, History, Process};
use crate::net::{Inherited, Slots, Token};
use crate::policy::fds::{Demand, Shares};
use crate::policy::health::Spread;
use crate::policy::time::Time;
use crate::policy::timers::Timers;
use crate::probe;
use crate::service::{self, Service};
use crate::session::Shared;

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
        let fds = Fds::raise();
        fds.share_out(&config)?;
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
        let fds = fds.measure(spare.as_ref());
        let shares = fds.share_out(&config)?;
        let now = clock.now();
        let epoch = clock.epoch(now).unwrap_or_default();
        let sessions = Sessions::new(Shared::new(config.limits.per_source.as_ref(), random()));
        let context = Context {
            now,
            fleet: Fleet::new(&config, &mut spread(&config, now)),
            config: Rc::new(config),
            process: Process::new(epoch, histograms),
            sessions: 0,
            redirects: 0,
            admins: 0,
            log,
            timers: Timers::new(),
            registry,
            fallen: Vec::new(),
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
            listeners,
            inherited,
            sessions,
            probes: Slots::new(),
            redirects: Redirects::new(),
            admins: Admins::new(credentials),
            history: History::default(),
            fds,
            spare,
            service,
            told: Told::default(),
            context,
        };
        event_loop.begin(shares);
        Ok(event_loop)
    }

    fn begin(&mut self, shares: Shares) {
        self.context.log.set_epoch(self.epoch);
        self.share_out_fds(shares);
        self.take_sample();
        self.banner();
        probe::schedule(&mut self.context);
        self.context.log.flush(&self.context.registry);
        self.arm_watchdog();
        self.tell_ready();
    }

    /// Gives clients and pipes what the fd limit holds.
    pub(super) fn share_out_fds(&mut self, shares: Shares) {
        self.sessions.shared.capacity = shares.connections;
        self.sessions.shared.pipes.allow(shares.pipes as usize);
    }
}

impl Fds {
    /// Fds that there may be.
    pub(super) fn limit(self) -> u64 {
        self.limit
    }

    /// Raises the fd limit to the hard limit. None are in use as far as is known.
    fn raise() -> Fds {
        let limits = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
        if let Err(error) = raised {
            log::warn!("the fd limit stays at {:?}, below the hard limit: {error}", limits.current);
        }
        let limit = if raised.is_ok() { limits.maximum } else { limits.current }.unwrap_or(u64::MAX);
        Fds { limit, used: 0 }
    }

    /// Sees how many are in use. The lowest free fd, which `spare` was, is a good guess at that.
    fn measure(self, spare: Option<&OwnedFd>) -> Fds {
        let used = spare.map_or(32, |spare| spare.as_raw_fd() as u64 + 1);
        log::debug!("the fd limit is {}, {used} are in use before the first client", self.limit);
        Fds { used, ..self }
    }

    /// What `config` asks for, beside what is in use.
    pub(super) fn demand(self, config: &Config) -> Demand {
        Demand::of(config).with_used(self.used)
    }

    /// What clients and pipes get under `config`.
    ///
    /// # Errors
    /// A sentence: the limit does not hold a single client.
    pub(super) fn share_out(self, config: &Config) -> Result<Shares, String> {
        self.demand(config).check(self.limit)
    }
}

/// An fd that can be given up when there is no other.
pub(super) fn spare_fd() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// How first probes are spread over time.
pub(super) fn spread(config: &Config, now: Time) -> Spread {
    Spread::new(now, config.routes.iter().map(|route| route.servers.len() as u32).sum())
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The one source of randomness in std; it is keyed anew for each process.
    RandomState::new().hash_one(std::process::id())
}
