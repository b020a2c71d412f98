//! Builds a loop that is ready to turn.
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use signal_hook_mio::v1_0::Signals;

use super::admins::Admins;
use super::clock::{Clock, MachineTime, TimeSource};
use super::control::Control;
use super::door::Door;
use super::fds::Fds;
use super::handover::{self, Deliveries};
use super::listeners::Listeners;
use super::operator::{NoSignals, Operator, SignalSource};
use super::poller::Poller;
use super::probes::Probes;
use super::redirects::Redirects;
use super::sessions::Sessions;
use super::{EventLoop, banner, operator};
use crate::access_log::{AccessLog, Backend, Messages};
use crate::admin::Credentials;
use crate::config::{self, Config, File, plain};
use crate::context::{Clients, Context};
use crate::fleet::Fleet;
use crate::metrics::{History, Process};
use crate::net::Output;
use crate::policy::fds::Shares;
use crate::policy::health::Spread;
use crate::policy::time::Time;
use crate::policy::timers::Timers;
use crate::probe;
use crate::session::Shared;
use crate::systemd::{self, Inherited, Manager, Passed};

/// What the process gets from its environment.
pub struct Host {
    /// File descriptors that the process may open.
    pub fds: Fds,
    /// Listening sockets that systemd passed.
    pub sockets: Inherited,
    /// The control socket that systemd passed.
    pub control: Option<UnixListener>,
    /// What previous processes left.
    pub parcels: Vec<Result<OwnedFd, String>>,
    /// The service manager.
    pub manager: Manager,
    /// Messages through the log crate.
    pub messages: Messages,
    /// The output of the log.
    pub output: Output,
    /// The source of signals.
    pub signals: Box<dyn SignalSource>,
    /// The source of time.
    pub time: Box<dyn TimeSource>,
}

/// Errors that prevent the start, a line each.
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

/// The second result if both succeeded; otherwise the errors of both, so that an operator sees all of them.
fn both<T>(first: Result<(), Vec<String>>, second: Result<T, Vec<String>>) -> Result<T, Vec<String>> {
    match (first, second) {
        (Ok(()), second) => second,
        (Err(errors), Ok(_)) => Err(errors),
        (Err(first), Err(second)) => Err([first, second].concat()),
    }
}

/// The error of the kernel under the name of what failed.
fn named(what: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {}", plain(&error))
}

/// Puts the file's name in front of each error, as errors of the configuration have it.
pub(super) fn in_file(path: &Path, errors: &[String]) -> Vec<String> {
    errors.iter().map(|error| format!("{}: {error}", path.display())).collect()
}

/// A loop for this process, with the configuration at `path`.
pub(super) fn start(path: &Path, backend: &Backend) -> Result<EventLoop, Vec<String>> {
    // Before anything opens an fd: passed fds have the lowest numbers, and a missing one must be noticed.
    let passed = systemd::passed();
    // Early, because a signal that comes before its handler ends the process.
    let signals = operator::signals().map_err(named("signals")).map_err(|error| vec![error])?;
    let file =
        config::load(path).map_err(|errors| errors.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>())?;
    let fds = Fds::raise();
    fds.share_out(&file.config).map_err(|error| vec![error])?;
    let host = Host::with(passed, signals, fds).map_err(|error| vec![error])?;
    backend.turn_to(&host.messages);
    EventLoop::new(path, file, host)
}

impl Host {
    /// A host with file descriptors, a log and time only: no sockets, no signals, and the manager that the environment
    /// names.
    ///
    /// # Errors
    /// `$NOTIFY_SOCKET` names an address that does not work.
    pub fn bare(fds: Fds, output: Output, time: Box<dyn TimeSource>) -> io::Result<Host> {
        let (sockets, parcels, manager) = (Inherited::default(), Vec::new(), Manager::from_environment()?);
        Ok(Host {
            messages: Messages::default(),
            fds,
            sockets,
            control: None,
            parcels,
            manager,
            output,
            signals: Box::new(NoSignals),
            time,
        })
    }

    fn with(passed: Result<Passed, String>, signals: Signals, fds: Fds) -> Result<Host, String> {
        let Passed { sockets, control, parcels } = passed?;
        let output = Output::stdout().map_err(named("standard output"))?;
        let bare = Host::bare(fds, output, Box::new(MachineTime)).map_err(named("NOTIFY_SOCKET"))?;
        Ok(Host { sockets, control, parcels, signals: Box::new(signals), ..bare })
    }
}

impl EventLoop {
    /// A loop that is ready to turn.
    ///
    /// # Errors
    /// A line each: an address cannot be bound, the fd limit is too low for a client, or the kernel cannot create a poll.
    pub fn new(path: &Path, file: File, host: Host) -> Result<EventLoop, Vec<String>> {
        EventLoop::with(path, file, host).map_err(|Errors(errors)| errors)
    }

    fn with(path: &Path, file: File, host: Host) -> Result<EventLoop, Errors> {
        let File { config, text } = file;
        let Host { mut fds, sockets, control, parcels, manager, messages, output, signals, time } = host;
        let poller = Poller::new().map_err(named("cannot create the poll"))?;
        let registry = poller.registry().try_clone().map_err(named("cannot create the poll"))?;
        let operator = Operator::new(path, text, signals, &registry).map_err(named("signals"))?;
        let mut deliveries = Deliveries::look(parcels);
        let mut listeners = Listeners::new(sockets, deliveries.listeners(), &config);
        let mut control = Control::new(control);
        let opened = listeners.open(&config, &registry);
        listeners.note_owners(&config);
        let socket = both(opened, control.open(config.control.as_deref(), &registry).map_err(|error| vec![error]));
        let socket = socket.map(|socket| control.put(socket, &registry));
        let credentials = Credentials::load(config.admin.stats_credentials.as_ref());
        let credentials = both(socket, credentials).map_err(|errors| in_file(path, &errors))?;
        let clock = Clock::new(time, deliveries.beginning());
        fds.measure();
        let shares = fds.share_out(&config)?;
        let now = clock.now();
        let sessions = Sessions::new(Shared::new(config.limits.per_source.as_ref(), random()));
        let context = Context {
            now,
            fleet: Fleet::new(&config, &mut spread(&config, now)),
            process: Process::new(clock.epoch()),
            log: AccessLog::new(output, config.log).with(messages),
            config: Arc::new(config),
            clients: Clients::default(),
            to_hand_on: Vec::new(),
            timers: Timers::new(),
            registry,
            told_no_port: None,
            fallen: Vec::new(),
        };
        let mut event_loop = EventLoop {
            poller,
            clock,
            door: Door::new(listeners, fds),
            sessions,
            probes: Probes::default(),
            redirects: Redirects::new(),
            admins: Admins::new(credentials),
            control,
            manager,
            operator,
            history: History::default(),
            context,
        };
        // Nothing may fail from here on: what has been received cannot be left to another process.
        event_loop.get_ready(shares, deliveries);
        Ok(event_loop)
    }

    fn get_ready(&mut self, shares: Shares, deliveries: Deliveries) {
        self.context.log.set_epoch(self.clock.epoch());
        self.share_out_fds(shares);
        banner::say(self);
        handover::take_up(self, deliveries);
        self.take_sample();
        probe::schedule(&mut self.context);
        self.context.log.flush(self.context.now, &self.context.registry);
        self.manager.arm_watchdog(&mut self.context);
        self.manager.ready(&self.context);
    }
}

/// Spreads the first probes over time.
pub(super) fn spread(config: &Config, now: Time) -> Spread {
    Spread::new(now, config.routes.iter().map(|route| route.servers.len() as u32).sum())
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // std's only source of randomness; it has another key in each process.
    RandomState::new().hash_one(std::process::id())
}
