//! Everything that is shown, as it was at one moment. Metrics, CSV, JSON and page are pure functions of it.
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Frontend, History, Process, Traffic, Usage};
use crate::config::Route;
use crate::policy::health::Checked;
use crate::policy::servers::{Mode, Override, ServerIndex};
use crate::policy::time::{Time, UnixTime};
use crate::vocabulary::{CheckResult, DropReason};

/// The proxy at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The moment.
    pub now: Time,
    /// When [`Time::ZERO`] was.
    pub epoch: UnixTime,
    /// When the service started, by the clock of then. Processes that took over from one
    /// another are one service.
    pub started: UnixTime,
    /// The same for this process.
    pub process_started: UnixTime,
    /// Whether it lets no one in any more.
    pub is_draining: bool,
    /// Counters of the process. Bytes of connections that are still open are among them.
    pub process: Process,
    /// Clients now, those of the admin endpoints apart.
    pub connections: u64,
    /// Clients of TLS that there may be.
    pub capacity: u64,
    /// Fds that the process may have.
    pub most_fds: u64,
    /// TLS clients now, by [`Phase`].
    pub phases: [u64; Phase::ALL.len()],
    /// Of those in [`Phase::Relay`], the ones of which a side has ended its direction.
    pub half_closed: u64,
    /// Pipes for splicing.
    pub pipes: PipesNow,
    /// Lines of the log that are lost: its reader stalled, or too much was said at once.
    pub lost_lines: u64,
    /// Addresses of which the rate limit remembers the rate, and how many it forgot early.
    pub sources: SourcesNow,
    /// Frontends that are listened for.
    pub frontends: Vec<FrontendNow>,
    /// Routes in the order of the file.
    pub routes: Vec<RouteNow>,
    /// Servers of all routes, in the order of the file.
    pub servers: Vec<ServerNow>,
    /// The last hour.
    pub history: History,
    /// What the process takes.
    pub usage: UsageNow,
}

/// What the process takes, and the kernel's table of connections; `None`: the kernel does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsageNow {
    /// CPU time so far, in seconds.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub resident: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Connections that the kernel tracks, all of the host's.
    pub conntrack_entries: Option<u64>,
    /// The most that it can track.
    pub conntrack_max: Option<u64>,
}

/// The memory of a snapshot, empty, for the next one. With a thousand routes it is near a megabyte: given back, the kernel
/// would hand it out anew page by page, and clients would wait for that.
#[derive(Debug, Default)]
pub struct Room {
    /// For [`Snapshot::routes`].
    pub routes: Vec<RouteNow>,
    /// For [`Snapshot::servers`].
    pub servers: Vec<ServerNow>,
}

/// Pipes for splicing at one moment.
#[derive(Clone, Copy, Debug)]
pub struct PipesNow {
    /// How many there may be.
    pub most: usize,
    /// How many hold bytes.
    pub used: usize,
    /// How many are kept for the next transfer.
    pub free: usize,
}

/// What a TLS connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its hello is not whole yet.
    Hello,
    /// It waits for a server to have room, or for the next try.
    Queue,
    /// A server is being connected to.
    Connect,
    /// Bytes move.
    Relay,
}

/// Source addresses whose rate is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourcesNow {
    /// Those that are remembered.
    pub remembered: usize,
    /// How many were forgotten too early, as there were too many.
    pub evicted: u64,
}

/// A frontend at one moment.
#[derive(Debug)]
pub struct FrontendNow {
    /// The frontend's name.
    pub name: Rc<str>,
    /// Whether it speaks HTTP, as the redirect does.
    pub is_http: bool,
    /// Whether it lets clients in.
    pub is_open: bool,
    /// Clients now.
    pub sessions: u64,
    /// Clients that there may be.
    pub limit: u64,
    /// The frontend's counters.
    pub counters: Frontend,
    /// Clients that were let in and then dropped, for whatever reason.
    pub denied: u64,
    /// Of those, the ones dropped for where they came from, before a byte was read.
    pub denied_connections: u64,
    /// Clients whose request was none.
    pub errors: u64,
}

/// A route at one moment: HAProxy would call it a backend.
#[derive(Debug)]
pub struct RouteNow {
    /// The route's name.
    pub name: Rc<str>,
    /// What the file says of it.
    pub config: Arc<Route>,
    /// Whether any server takes connections.
    pub standing: StandingNow,
    /// Connections now.
    pub open: u64,
    /// Connections that wait for a server to have room.
    pub queued: usize,
    /// Most of them at once so far.
    pub most_queued: usize,
    /// The route's counters.
    pub traffic: Traffic,
    /// How it is used.
    pub usage: Usage,
    /// How long ago it was given a connection.
    pub last_session: Option<Duration>,
    /// Where its servers stand in [`Snapshot::servers`].
    pub servers: Range<usize>,
    /// Servers that take connections, backups apart.
    pub active: usize,
    /// Backups that would take connections.
    pub backup: usize,
    /// The sum of the weights of the servers that connections go to.
    pub weight: u64,
}

/// A server at one moment.
#[derive(Debug)]
pub struct ServerNow {
    /// The name of its route.
    pub route: Rc<str>,
    /// The server's name.
    pub name: Rc<str>,
    /// Its index within its route, by which open connections know it.
    pub index: ServerIndex,
    /// Where it is.
    pub address: SocketAddr,
    /// Share of new connections.
    pub weight: u16,
    /// The same, as the file has it.
    pub weight_in_file: u16,
    /// What an operator has set.
    pub set: Override,
    /// Whether the server is a backup: it is used only when no other server is up.
    pub is_backup: bool,
    /// Connections that there may be.
    pub limit: Option<u32>,
    /// Connections now.
    pub open: u32,
    /// The server's counters.
    pub traffic: Traffic,
    /// How it is used.
    pub usage: Usage,
    /// How long ago it was given a connection.
    pub last_session: Option<Duration>,
    /// Whether it is up.
    pub standing: StandingNow,
    /// How long ago it last answered a hello with what is no TLS.
    pub last_not_tls: Option<Duration>,
    /// What its probes say; `None` where it is not probed.
    pub probes: Option<ProbesNow>,
}

/// Up or down at one moment.
#[derive(Clone, Copy, Debug)]
pub struct StandingNow {
    /// Which of both.
    pub is_up: bool,
    /// Since when.
    pub since: Time,
    /// How long that is ago.
    pub age: Duration,
    /// How often it went down.
    pub downs: u64,
    /// How long it was down, in all.
    pub downtime: Duration,
}

/// What a server's probes say at one moment.
#[derive(Debug)]
pub struct ProbesNow {
    /// Time from one probe's start to the next.
    pub interval: Duration,
    /// Up: the failures it can still take, of `fall`. Down: the passes so far, of `rise`.
    pub fraction: (u32, u32),
    /// Passes in a row that bring it back.
    pub rise: u32,
    /// Failures in a row that take it down.
    pub fall: u32,
    /// Probes that failed while it was up.
    pub failures: u64,
    /// Whether a probe is on its way.
    pub is_running: bool,
    /// What the last one found.
    pub last: Option<Checked>,
}

/// The state of a server in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes connections.
    Up,
    /// Its probes fail.
    Down,
    /// It is up and finishes what it has: its weight is 0, or an operator drains it.
    Drain,
    /// An operator has taken it out, probes too.
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
    /// In HAProxy's words.
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
    /// Its memory.
    #[must_use]
    pub fn into_room(self) -> Room {
        let Snapshot { mut routes, mut servers, .. } = self;
        routes.clear();
        servers.clear();
        Room { routes, servers }
    }

    /// A moment by the wall clock.
    #[must_use]
    pub fn wall(&self, time: Time) -> UnixTime {
        self.epoch + time
    }

    /// Seconds from the Unix epoch to a moment.
    #[must_use]
    pub fn unix(&self, time: Time) -> f64 {
        self.wall(time).as_secs_f64()
    }

    /// How often clients were refused before they had a route.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.process.drops)
    }

    /// The servers of a route.
    #[must_use]
    pub fn servers_of(&self, route: &RouteNow) -> &[ServerNow] {
        self.servers.get(route.servers.clone()).unwrap_or_default()
    }

    /// The shortest interval at which any server is probed.
    #[must_use]
    pub fn probe_interval(&self) -> Option<Duration> {
        self.servers.iter().filter_map(|server| server.probes.as_ref()).map(|probes| probes.interval).min()
    }
}

#[cfg(test)]
impl Snapshot {
    /// Of a proxy that serves nothing.
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
    /// Clients whose address might have another connection.
    #[must_use]
    pub fn sessions_total(&self) -> u64 {
        self.counters.accepted.total() - self.counters.refused
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

    /// The state as HAProxy writes it: with how firmly it stands, where the next probes could change it.
    #[must_use]
    pub fn status(&self) -> String {
        let word = self.state().word();
        match self.unsettled().filter(|_| self.state() != State::Maint) {
            Some((so_far, of)) => format!("{word} {so_far}/{of}"),
            None if self.probes.is_none() && self.state() == State::Up => "no check".into(),
            None => word.into(),
        }
    }

    /// Probes that speak against its state: the failures that it can still take while it is up, the passes so far while
    /// it is down, of how many.
    #[must_use]
    pub fn unsettled(&self) -> Option<(u32, u32)> {
        let (so_far, of) = self.probes.as_ref()?.fraction;
        let is_settled = if self.standing.is_up { so_far == of } else { so_far == 0 };
        (!is_settled).then_some((so_far, of))
    }

    /// The last probe's verdict.
    #[must_use]
    pub fn result(&self) -> Option<CheckResult> {
        let probes = self.probes.as_ref()?;
        Some(probes.last.as_ref().map_or(CheckResult::Initializing, |last| last.result))
    }
}
