//! The servers of a route, and which of them a connection gets.
//!
//! A server takes connections while it is up and its weight is above 0. Backups take them only while no other server
//! of the route does, and then only the first of them in the file does, as in HAProxy without `allbackups`. A retry
//! counts as no other server does, once all that are up have refused its connection.
mod hash;
mod overrides;

use std::cmp::Ordering;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::health::{Change, Checked, Health, ParkedHealth, Spread, Standing};
use super::time::Time;
use crate::config::{Balance, HealthCheck, OnAllDown, Outage, Route, Server};
use hash::{exponential, hash_address, hash_name, mix};
pub use overrides::{Mode, Override};

/// Servers that left the file and are remembered, each in its place: counters go on where they were when it comes back.
const REMEMBERED: usize = 32;

/// A server within its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerIndex(pub(crate) u32);

impl ServerIndex {
    /// Where it stands in a list of the route's servers.
    #[must_use]
    pub fn place(self) -> usize {
        self.0 as usize
    }

    /// Every index, from the first one.
    pub fn all() -> impl Iterator<Item = ServerIndex> {
        (0..).map(ServerIndex)
    }
}

/// The servers of one route.
///
/// A server is known by its index here, which stays its own while it is in the file or has connections open.
#[derive(Debug)]
pub struct Group {
    balance: Balance,
    on_all_down: OnAllDown,
    members: Vec<Member>,
    /// Indices of the members that are in the file, in its order.
    order: Vec<ServerIndex>,
    /// Those that take connections, by index: all that a pick in turn looks at, unless one of them may be full.
    rotation: Vec<Turn>,
    /// Whether any member has `max_connections`.
    is_limited: bool,
    standing: Standing,
}

/// Smooth round robin: what a member is owed, in parts of a turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    index: ServerIndex,
    weight: i64,
    owed: i64,
}

/// A server of a route, with what it takes to pick it.
#[derive(Debug)]
pub struct Member {
    server: Server,
    health: Health,
    open: u32,
    /// What an operator has set.
    set: Override,
    /// Gone from the file; the last of its connections may still be open.
    retired: bool,
    /// Hash of its name.
    hash: u64,
}

/// What a changed file means for servers that were there before, by their indices.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// Those that left the file or have a new address: what a probe finds that is still running on one of them no longer
    /// counts.
    pub outdated: Vec<ServerIndex>,
    /// Those that were down and are not any more.
    pub risen: Vec<(ServerIndex, Rise)>,
    /// Open connections of those that left the file.
    pub orphans: u64,
}

/// Why a server that was down comes up by another word than a probe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rise {
    /// It is in the file again.
    Back,
    /// Its address is another.
    Moved,
    /// It is not probed any more.
    Unchecked,
    /// An operator has it back from maintenance.
    Ready,
}

/// Whether the servers that take connections have room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vacancy {
    /// One of them has.
    Room,
    /// Each has its `max_connections`.
    Full,
    /// No server takes connections.
    NoServer,
}

/// Which server a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The server of this index.
    Server(ServerIndex),
    /// Every server that takes connections has its `max_connections`: wait for one of them to close.
    Full,
    /// Servers would take it, but each was tried before: try one of them again after a pause.
    TriedAll,
    /// No server takes connections: each is down or has weight 0.
    NoServer,
}

impl Group {
    /// The servers of `route`; their first probes come from `spread`.
    #[must_use]
    pub fn new(route: &Route, spread: &mut Spread) -> Group {
        let standing = Standing::new(spread.now());
        let (members, order, rotation) = Default::default();
        let Route { balance, outage: Outage { on_all_down, .. }, .. } = *route;
        let mut group = Group { balance, on_all_down, members, order, rotation, is_limited: false, standing };
        group.update(route, spread);
        group
    }

    /// Takes over a changed file: a server whose name is known keeps its index, connections and counters and, unless
    /// its address changed, its health.
    pub fn update(&mut self, route: &Route, spread: &mut Spread) -> Updated {
        self.balance = route.balance;
        self.on_all_down = route.outage.on_all_down;
        let mut updated = Updated::default();
        for (i, member) in ServerIndex::all().zip(&mut self.members) {
            let same = if let Some(server) = route.servers.iter().find(|server| server.name == member.server.name) {
                let same = member.server.address == server.address;
                updated.risen.extend(member.renew(server, &route.health_check, spread).map(|why| (i, why)));
                same
            } else {
                updated.orphans += if member.retired { 0 } else { member.open.into() };
                std::mem::replace(&mut member.retired, true)
            };
            if !same {
                updated.outdated.push(i);
            }
        }
        self.order.clear();
        for server in &route.servers {
            let known =
                self.members.iter().zip(ServerIndex::all()).find(|(member, _)| member.server.name == server.name);
            let index = known.map(|(_, i)| i);
            let index = index.unwrap_or_else(|| self.add(Member::new(server, &route.health_check, spread)));
            self.order.push(index);
        }
        self.resettle(spread.now());
        updated
    }

    /// Adds a server that is not in the file: connections of another process go on there.
    pub fn remember(&mut self, server: &Server, check: &HealthCheck, spread: &mut Spread) -> ServerIndex {
        let member = Member::new(server, check, spread);
        self.members.push(Member { retired: true, ..member });
        ServerIndex(self.members.len() as u32 - 1)
    }

    /// Goes on from what another process knew of a server.
    pub fn take_up(&mut self, now: Time, index: ServerIndex, health: ParkedHealth) {
        if let Some(member) = self.members.get_mut(index.place()) {
            member.health.take_up(health);
            self.resettle(now);
        }
    }

    /// Goes on from what another process knew of the route as a whole.
    pub fn take_up_standing(&mut self, now: Time, standing: Standing) {
        self.standing = standing;
        self.resettle(now);
    }

    /// Picks a server for a connection from `client`, other than those in `tried`. Allocates nothing.
    ///
    /// The caller goes on to call [`Group::opened`] before it picks again.
    pub fn pick(&mut self, client: IpAddr, tried: &[ServerIndex]) -> Pick {
        let Group { members, rotation, .. } = self;
        let member = |turn: &Turn| members.get(turn.index.place()).filter(|member| !member.is_full());
        let eligible = |turn: &Turn| if tried.contains(&turn.index) { None } else { member(turn) };
        let winner = match self.balance {
            Balance::RoundRobin if tried.is_empty() && !self.is_limited => next_turn(rotation, |_| true),
            Balance::RoundRobin => next_turn(rotation, |turn| eligible(turn).is_some()),
            Balance::LeastConnections => least_loaded(rotation, eligible),
            Balance::Source => nearest(client, rotation, eligible),
        };
        if let Some(i) = winner.or_else(|| self.fallback(tried)) {
            return Pick::Server(i);
        }
        match self.vacancy() {
            Vacancy::NoServer => Pick::NoServer,
            Vacancy::Full => Pick::Full,
            Vacancy::Room => Pick::TriedAll,
        }
    }

    /// Whether every server that takes connections has its `max_connections`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.vacancy() == Vacancy::Full
    }

    /// Counts a connection of a member, from the connect on.
    pub fn opened(&mut self, index: ServerIndex) {
        if let Some(member) = self.members.get_mut(index.place()) {
            member.open += 1;
        }
    }

    /// Counts it off again.
    pub fn closed(&mut self, index: ServerIndex) {
        if let Some(member) = self.members.get_mut(index.place()) {
            member.open = member.open.saturating_sub(1);
        }
    }

    /// Notes that a probe of a member has started.
    pub fn probe_started(&mut self, index: ServerIndex) {
        if let Some(member) = self.members.get_mut(index.place()) {
            member.health.started();
        }
    }

    /// Notes that a probe of a member ended without a verdict; answers whether it is the first in a row.
    pub fn no_verdict(&mut self, index: ServerIndex) -> bool {
        self.members.get_mut(index.place()).is_some_and(|member| member.health.no_verdict())
    }

    /// Takes the verdict of a member's probe; answers whether that took the server down or up.
    pub fn report(&mut self, now: Time, index: ServerIndex, checked: Checked) -> Option<Change> {
        let change = self.members.get_mut(index.place())?.health.report(now, checked)?;
        self.resettle(now);
        Some(change)
    }

    /// The members in the order of the file, each with its index.
    pub fn members(&self) -> impl Iterator<Item = (ServerIndex, &Member)> {
        self.order.iter().filter_map(|&i| Some((i, self.member(i)?)))
    }

    /// The member with an index; one that left the file too, while it has connections.
    #[must_use]
    pub fn member(&self, index: ServerIndex) -> Option<&Member> {
        self.members.get(index.place())
    }

    /// How many servers that are no backups take connections.
    #[must_use]
    pub fn active_up(&self) -> usize {
        self.members.iter().filter(|member| member.takes_connections() && !member.server.backup).count()
    }

    /// How many backups would take connections.
    #[must_use]
    pub fn backup_up(&self) -> usize {
        self.members.iter().filter(|member| member.takes_connections() && member.server.backup).count()
    }

    /// Whether any server takes connections, since when, and how often and how long none did.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Rebuilds the rotation from the servers that take connections now. Turns owed under other weights are dropped: they would be
    /// paid in a burst.
    fn resettle(&mut self, now: Time) {
        let backup = self.backup_in_service();
        let up = self.members.iter().any(Member::takes_connections);
        let tries_all = !up && self.on_all_down == OnAllDown::Try;
        let in_service = ServerIndex::all()
            .zip(&self.members)
            .filter(|(i, member)| if tries_all { member.is_wanted() } else { member.is_in_service(*i, backup) });
        self.rotation.clear();
        self.rotation.extend(in_service.map(|(index, member)| Turn { index, weight: member.weight().into(), owed: 0 }));
        self.is_limited = self.members.iter().any(|member| member.server.max_connections.is_some());
        self.standing.set(now, up);
    }

    /// Gives a new member the place of one that left the file and has no connection any more, once so many have left that
    /// they cannot all be remembered.
    fn add(&mut self, member: Member) -> ServerIndex {
        let mut left = self.members.iter_mut().zip(ServerIndex::all()).filter(|(old, _)| old.retired && old.open == 0);
        if let Some((place, i)) = left.nth(REMEMBERED) {
            *place = member;
            return i;
        }
        self.members.push(member);
        ServerIndex(self.members.len() as u32 - 1)
    }

    fn vacancy(&self) -> Vacancy {
        let mut vacancy = Vacancy::NoServer;
        for member in self.rotation.iter().filter_map(|turn| self.member(turn.index)) {
            if !member.is_full() {
                return Vacancy::Room;
            }
            vacancy = Vacancy::Full;
        }
        vacancy
    }

    /// The backup that takes the place of the other servers, where none of them takes connections.
    fn backup_in_service(&self) -> Option<ServerIndex> {
        if self.active_up() > 0 {
            return None;
        }
        self.members().find(|(_, member)| member.takes_connections() && member.server.backup).map(|(i, _)| i)
    }

    /// The backup for a retry: what its servers refused is not held against a client until probes notice.
    fn fallback(&self, tried: &[ServerIndex]) -> Option<ServerIndex> {
        let untried = |i: ServerIndex| !tried.is_empty() && !tried.contains(&i);
        let usable = |member: &Member| member.takes_connections() && member.server.backup && !member.is_full();
        self.members().find(|(i, member)| untried(*i) && usable(member)).map(|(i, _)| i)
    }
}

/// Smooth weighted round robin. In each round every server is owed its weight more, the one that is owed most
/// gets the connection, and pays with the weight of all. Turns come in proportion to weight, and spread out.
fn next_turn(rotation: &mut [Turn], eligible: impl Fn(&Turn) -> bool) -> Option<ServerIndex> {
    let (mut round, mut most, mut winner) = (0, i64::MIN, None);
    for (place, turn) in rotation.iter_mut().enumerate().filter(|(_, turn)| eligible(turn)) {
        turn.owed += turn.weight;
        round += turn.weight;
        if turn.owed > most {
            (most, winner) = (turn.owed, Some(place));
        }
    }
    let turn = rotation.get_mut(winner?)?;
    turn.owed -= round;
    Some(turn.index)
}

/// The server with the fewest connections for its weight. Servers with equal loads take turns. The others take no part in these
/// turns, or they would be owed more and more meanwhile.
fn least_loaded<'a>(rotation: &mut [Turn], eligible: impl Fn(&Turn) -> Option<&'a Member>) -> Option<ServerIndex> {
    let least = rotation.iter().filter_map(|turn| eligible(turn).map(Member::load)).min_by(Load::compare)?;
    next_turn(rotation, |turn| eligible(turn).is_some_and(|member| member.load().compare(&least) == Ordering::Equal))
}

/// Weighted rendezvous hashing: client and server together draw a waiting time, shorter on average for a greater
/// weight, and the shortest wins. What one server draws depends on no other server, so when one goes, only its
/// own clients move, and a full one is passed over for the next in the client's own order. There is no table to
/// build; the price is one logarithm a server.
fn nearest<'a>(
    client: IpAddr,
    rotation: &[Turn],
    eligible: impl Fn(&Turn) -> Option<&'a Member>,
) -> Option<ServerIndex> {
    let client = hash_address(client);
    let draws = rotation.iter().filter_map(|turn| Some((turn.index, eligible(turn)?.waiting_time(client))));
    draws.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
}

impl Member {
    fn new(server: &Server, check: &HealthCheck, spread: &mut Spread) -> Member {
        let health = Health::new(check, spread.now(), spread.first_probe(check.interval));
        Member {
            server: server.clone(),
            health,
            open: 0,
            set: Override::default(),
            retired: false,
            hash: hash_name(&server.name),
        }
    }

    /// Takes over a changed entry of the same name; answers why that brings it up.
    fn renew(&mut self, server: &Server, check: &HealthCheck, spread: &mut Spread) -> Option<Rise> {
        let first_probe = spread.first_probe(check.interval);
        let afresh = match (self.retired, self.server.address == server.address) {
            (true, _) => Some(Rise::Back),
            (false, false) => Some(Rise::Moved),
            (false, true) => None,
        };
        let restarted = afresh.filter(|_| self.health.restart(spread.now(), first_probe).is_some());
        let unchecked = self.health.adopt(spread.now(), check, first_probe).map(|_| Rise::Unchecked);
        self.server = server.clone();
        self.retired = false;
        restarted.or(unchecked)
    }

    /// The server as the file has it.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What its probes say.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Connections now, from the connect on.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Whether it left the file.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether it is up and in the file with a weight above 0, and no operator keeps connections away from it.
    #[must_use]
    pub fn takes_connections(&self) -> bool {
        self.health.is_up() && self.is_wanted()
    }

    /// Whether it is in the file with a weight above 0, and no operator keeps connections away from it.
    fn is_wanted(&self) -> bool {
        self.weight() > 0 && self.set.mode == Mode::Ready && !self.retired
    }

    /// Whether it is its turn to take connections, being the member with index `i` while `backup` stands in for others.
    fn is_in_service(&self, i: ServerIndex, backup: Option<ServerIndex>) -> bool {
        match backup {
            None => self.takes_connections() && !self.server.backup,
            Some(backup) => i == backup,
        }
    }

    fn is_full(&self) -> bool {
        self.server.max_connections.is_some_and(|max| self.open >= max)
    }

    fn load(&self) -> Load {
        Load { open: u64::from(self.open), weight: u64::from(self.weight()) }
    }

    /// Exponentially distributed with its weight as the rate: among several, it is the least as often as its weight
    /// is a part of theirs.
    fn waiting_time(&self, client: u64) -> f64 {
        exponential(mix(client ^ self.hash)) / f64::from(self.weight())
    }
}

/// Connections for a weight.
#[derive(Clone, Copy)]
struct Load {
    open: u64,
    weight: u64,
}

impl Load {
    /// Compares the quotients, multiplied out.
    fn compare(&self, other: &Load) -> Ordering {
        (self.open * other.weight).cmp(&(other.open * self.weight))
    }
}

#[cfg(test)]
mod tests;
