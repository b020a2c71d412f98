//! Everything that is shown, at one moment. Metrics, CSV, JSON and page are pure functions of it.
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Frontend, History, Process, Traffic, Usage};
use crate::config::Route;
use crate::policy::health::{Checked, Tally};
use crate::policy::servers::{Mode, Override, ServerIndex};
use crate::policy::time::{Time, UnixTime};
use crate::vocabulary::{CheckResult, DropReason};

/// The proxy at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The moment.
    pub now: Time,
    /// The wall-clock time of [`Time::ZERO`].
    pub epoch: UnixTime,
    /// When the service started, by the wall clock of that moment. A process that took over from another continues the
    /// same service.
    pub started: UnixTime,
    /// When this process started.
    pub process_started: UnixTime,
    /// Whether the proxy accepts no more clients.
    pub is_draining: bool,
    /// Counters of the process, with the bytes of connections that are still open.
    pub process: Process,
    /// Current clients, without those of the admin endpoints.
    pub connections: u64,
    /// Highest number of TLS clients allowed at once.
    pub capacity: u64,
    /// Highest number of fds that the process may open.
    pub most_fds: u64,
    /// Current TLS clients, by [`Phase`].
    pub phases: [u64; Phase::ALL.len()],
    /// Current connections in [`Phase::Relay`] of which one side has ended its direction.
    pub half_closed: u64,
    /// Pipes for splicing.
    pub pipes: PipesNow,
    /// Lost log lines: standard output was not read in time, or a turn had too many messages.
    pub lost_lines: u64,
    /// The addresses in the rate limit's table.
    pub sources: SourcesNow,
    /// The frontends that have listeners.
    pub frontends: Vec<FrontendNow>,
    /// Routes in the order of the file.
    pub routes: Vec<RouteNow>,
    /// Servers of all routes, in the order of the file.
    pub servers: Vec<ServerNow>,
    /// The last hour.
    pub history: History,
    /// Resources that the process uses.
    pub usage: UsageNow,
}

/// Resources that the process uses, and the kernel's table of connections. `None`: the kernel does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsageNow {
    /// CPU time so far, in seconds.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub resident: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Connections that the host's kernel tracks.
    pub conntrack_entries: Option<u64>,
    /// Highest number of connections that it can track.
    pub conntrack_max: Option<u64>,
}

/// The emptied memory of a snapshot, for the next one. With a thousand routes it is nearly a megabyte. If it were
/// freed, the kernel would fault it in again page by page, and clients would wait for that.
#[derive(Debug, Default)]
pub struct Buffers {
    /// For [`Snapshot::routes`].
    pub routes: Vec<RouteNow>,
    /// For [`Snapshot::servers`].
    pub servers: Vec<ServerNow>,
}

/// Pipes for splicing at one moment.
#[derive(Clone, Copy, Debug)]
pub struct PipesNow {
    /// Highest number of pipes.
    pub most: usize,
    /// Pipes that hold bytes.
    pub used: usize,
    /// Idle pipes kept for the next transfer.
    pub free: usize,
}

/// The phase of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The hello is not whole yet.
    Hello,
    /// The connection waits until a server has room, or for its next attempt.
    Queue,
    /// The proxy connects to a server.
    Connect,
    /// Bytes are relayed.
    Relay,
}

/// Source addresses in the rate limit's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourcesNow {
    /// Addresses that are remembered.
    pub remembered: usize,
    /// Addresses that were forgotten early because the table was full.
    pub evicted: u64,
}

/// A frontend at one moment.
#[derive(Debug)]
pub struct FrontendNow {
    /// The frontend's name.
    pub name: Rc<str>,
    /// Whether it speaks HTTP: it is the redirect's.
    pub is_http: bool,
    /// Whether it accepts clients.
    pub is_open: bool,
    /// Current clients.
    pub sessions: u64,
    /// Highest number of clients allowed at once.
    pub limit: u64,
    /// The frontend's counters.
    pub counters: Frontend,
    /// Clients that were accepted and then dropped, for any reason.
    pub denied: u64,
    /// Clients among those that were dropped for their address, before a byte was read.
    pub denied_connections: u64,
    /// Clients whose request was invalid.
    pub errors: u64,
}

/// A route at one moment, which HAProxy calls a backend.
#[derive(Debug)]
pub struct RouteNow {
    /// The route's name.
    pub name: Rc<str>,
    /// The route's configuration.
    pub config: Arc<Route>,
    /// Whether any server takes connections, and since when.
    pub standing: StandingNow,
    /// Current connections.
    pub open: u64,
    /// Connections that wait for a server with room.
    pub queued: usize,
    /// Highest number of waiting connections.
    pub most_queued: usize,
    /// The route's counters.
    pub traffic: Traffic,
    /// How the route is used.
    pub usage: Usage,
    /// Time since a connection was last assigned.
    pub last_session: Option<Duration>,
    /// The route's servers in [`Snapshot::servers`].
    pub servers: Range<usize>,
    /// Servers that take connections, without backups.
    pub active: usize,
    /// Backup servers that can take connections.
    pub backup: usize,
    /// Sum of the weights of the servers that connections go to.
    pub weight: u64,
}

/// A server at one moment.
#[derive(Debug)]
pub struct ServerNow {
    /// The name of its route.
    pub route: Rc<str>,
    /// The server's name.
    pub name: Rc<str>,
    /// Its index within its route, as open connections have it.
    pub index: ServerIndex,
    /// The server's address.
    pub address: SocketAddr,
    /// The server's share of new connections.
    pub weight: u16,
    /// That share in the file.
    pub weight_in_file: u16,
    /// What an operator has set.
    pub set: Override,
    /// Whether the server is a backup: it is used only when no other server is up.
    pub is_backup: bool,
    /// Highest number of connections allowed at once.
    pub limit: Option<u32>,
    /// Current connections.
    pub open: u32,
    /// The server's counters.
    pub traffic: Traffic,
    /// How the server is used.
    pub usage: Usage,
    /// Time since a connection was last assigned.
    pub last_session: Option<Duration>,
    /// Whether the server is up, and since when.
    pub standing: StandingNow,
    /// Time since the server last answered a hello with bytes that are not TLS.
    pub last_not_tls: Option<Duration>,
    /// The state of its probes; `None` if it is not probed.
    pub probes: Option<ProbesNow>,
}

/// Up or down, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct StandingNow {
    /// Whether it is up.
    pub is_up: bool,
    /// When it last changed.
    pub since: Time,
    /// Time since then.
    pub age: Duration,
    /// How often it went down.
    pub downs: u64,
    /// Total time that it was down.
    pub downtime: Duration,
}

/// The state of a server's probes at one moment.
#[derive(Debug)]
pub struct ProbesNow {
    /// Time from one probe's start to the next.
    pub interval: Duration,
    /// Its results in a row.
    pub tally: Tally,
    /// Passes in a row that bring the server back.
    pub rise: u32,
    /// Failures in a row that take the server down.
    pub fall: u32,
    /// Probes that failed while the server was up.
    pub failures: u64,
    /// Whether a probe is under way.
    pub is_running: bool,
    /// The result of the last probe.
    pub last: Option<Checked>,
}

/// The state of a server, as HAProxy has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The server takes connections.
    Up,
    /// Its probes fail.
    Down,
    /// It is up and takes no new connections: its weight is 0, or an operator drains it.
    Drain,
    /// An operator has taken it out of service; it is not probed.
    Maint,
}

impl Phase {
    /// Every phase, in the order of a connection's life.
    pub const ALL: [Phase; 4] = [Phase::Hello, Phase::Queue, Phase::Connect, Phase::Relay];

    /// Its name in metrics, JSON and on the page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Hello => "hello",
            Phase::Queue => "queue",
            Phase::Connect => "connect",
            Phase::Relay => "relay",
        }
    }
}

impl State {
    /// HAProxy's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            State::Up => "UP",
            State::Down => "DOWN",
            State::Drain => "DRAIN",
            State::Maint => "MAINT",
        }
    }
}

impl Snapshot {
    /// Its memory, for the next snapshot.
    #[must_use]
    pub fn into_buffers(self) -> Buffers {
        let Snapshot { mut routes, mut servers, .. } = self;
        routes.clear();
        servers.clear();
        Buffers { routes, servers }
    }

    /// `time` by the wall clock.
    #[must_use]
    pub fn wall(&self, time: Time) -> UnixTime {
        self.epoch + time
    }

    /// `time` in seconds since the Unix epoch.
    #[must_use]
    pub fn unix(&self, time: Time) -> f64 {
        self.wall(time).as_secs_f64()
    }

    /// Clients refused before they had a route, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.process.drops)
    }

    /// The servers of a route.
    #[must_use]
    pub fn servers_of(&self, route: &RouteNow) -> &[ServerNow] {
        self.servers.get(route.servers.clone()).unwrap_or_default()
    }

    /// The shortest probe interval of all servers.
    #[must_use]
    pub fn probe_interval(&self) -> Option<Duration> {
        self.servers.iter().filter_map(|server| server.probes.as_ref()).map(|probes| probes.interval).min()
    }
}

#[cfg(test)]
impl Snapshot {
    /// The snapshot of a proxy without routes.
    pub(crate) fn empty() -> Snapshot {
        Snapshot {
            now: Time::ZERO,
            epoch: UnixTime::default(),
            started: UnixTime::default(),
            process_started: UnixTime::default(),
            is_draining: false,
            process: Process::new(UnixTime::default()),
            connections: 0,
            capacity: 0,
            most_fds: 0,
            phases: [0; Phase::ALL.len()],
            half_closed: 0,
            pipes: PipesNow { most: 0, used: 0, free: 0 },
            lost_lines: 0,
            sources: SourcesNow::default(),
            frontends: Vec::new(),
            routes: Vec::new(),
            servers: Vec::new(),
            history: History::default(),
            usage: UsageNow::default(),
        }
    }
}

impl FrontendNow {
    /// Clients whose address was within its limits.
    #[must_use]
    pub fn sessions_total(&self) -> u64 {
        // A client of the redirect is a session before its request, which may go on to a server and its limits, has come.
        let over_limits = if self.is_http { 0 } else { self.counters.over_limits };
        self.counters.accepted.total().saturating_sub(over_limits)
    }
}

impl ServerNow {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.set.mode, self.standing.is_up) {
            (Mode::Maint, _) => State::Maint,
            (_, false) => State::Down,
            (Mode::Drain, true) => State::Drain,
            (Mode::Ready, true) if self.weight == 0 => State::Drain,
            (Mode::Ready, true) => State::Up,
        }
    }

    /// The state as HAProxy's `status` has it, with the count of probes that speak against it.
    #[must_use]
    pub fn status(&self) -> String {
        let word = self.state().word();
        match self.pending().filter(|_| self.state() != State::Maint) {
            Some(tally) => format!("{word} {tally}"),
            None if self.probes.is_none() && self.state() == State::Up => "no check".into(),
            None => word.into(),
        }
    }

    /// The results in a row, if some of them speak against its state.
    #[must_use]
    pub fn pending(&self) -> Option<Tally> {
        let tally = self.probes.as_ref()?.tally;
        let is_settled = tally.count == if self.standing.is_up { tally.of } else { 0 };
        (!is_settled).then_some(tally)
    }

    /// The result of the last probe.
    #[must_use]
    pub fn result(&self) -> Option<CheckResult> {
        let probes = self.probes.as_ref()?;
        Some(probes.last.as_ref().map_or(CheckResult::Initializing, |last| last.result))
    }
}
