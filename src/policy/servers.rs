//! The servers of a route, and which of them a connection gets.
//!
//! A server takes connections while it is up and its weight is above 0. Backups take them only while no other server of
//! the route does, and then only the first backup of the file, as in HAProxy without `allbackups`. For a retry, servers
//! that have refused its connection count as taking none.
mod hash;
mod member;
mod overrides;
mod ranks;
mod ring;
mod rotation;
mod update;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::health::{Change, Checked, ParkedHealth, Spread, Standing};
use super::time::Time;
use crate::config::{HealthCheck, OnAllDown, Route, Server};
pub use member::Member;
pub use overrides::{Mode, Override};
use rotation::{Rotation, Vacancy};
pub use update::{Rise, Updated};

/// A server within its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerIndex(pub(crate) u32);

impl ServerIndex {
    /// Its index in a list of the route's servers.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Every index, from the first one.
    pub fn all() -> impl Iterator<Item = ServerIndex> {
        (0..).map(ServerIndex)
    }
}

/// The servers of one route.
///
/// A server is known by its index, which it keeps while it is in the file or has open connections.
#[derive(Debug)]
pub struct Group {
    on_all_down: OnAllDown,
    members: Vec<Member>,
    /// Indices of the members that are in the file, in its order.
    order: Vec<ServerIndex>,
    /// The members that take connections.
    rotation: Rotation,
    standing: Standing,
}

/// The result of a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This server.
    Server(ServerIndex),
    /// Every server that takes connections is at its `max_connections`: wait until a connection closes.
    Full,
    /// Every server that takes connections was tried: try again after a pause.
    TriedAll,
    /// No server takes connections: each is down or has weight 0.
    NoServer,
}

impl Group {
    /// The servers of `route`. `spread` gives the times of their first probes.
    #[must_use]
    pub fn new(route: &Route, spread: &mut Spread) -> Group {
        let standing = Standing::new(spread.now());
        let (members, order) = Default::default();
        let rotation = Rotation::new(route.balance);
        let mut group = Group { on_all_down: route.outage.on_all_down, members, order, rotation, standing };
        group.update(route, spread);
        group
    }

    /// Adds a server that is not in the file, for connections of the previous process.
    pub fn remember(&mut self, server: &Server, check: &HealthCheck, spread: &mut Spread) -> ServerIndex {
        let member = Member::new(server, check, spread);
        self.members.push(Member { retired: true, ..member });
        ServerIndex(self.members.len() as u32 - 1)
    }

    /// Takes over the previous process's state of a server.
    pub fn take_up(&mut self, now: Time, index: ServerIndex, health: ParkedHealth) {
        if let Some(member) = self.members.get_mut(index.index()) {
            member.health.take_up(health);
            self.rebuild(now);
        }
    }

    /// Takes over what the previous process has counted of a server that has another address now.
    pub fn take_up_counts(&mut self, now: Time, index: ServerIndex, health: &ParkedHealth) {
        if let Some(member) = self.members.get_mut(index.index()) {
            member.health.take_up_counts(now, health);
        }
    }

    /// Takes over the previous process's state of the route.
    pub fn take_up_standing(&mut self, now: Time, standing: Standing) {
        self.standing = standing;
        self.rebuild(now);
    }

    /// Picks a server for a connection from `client`, other than those in `tried`. Allocates only for a route with so
    /// many servers that they are kept in order.
    ///
    /// The caller must call [`Group::opened`] before the next pick.
    pub fn pick(&mut self, client: IpAddr, tried: &[ServerIndex]) -> Pick {
        match self.rotation.pick(&self.members, client, tried) {
            Some(index) => Pick::Server(index),
            None => self.pick_none(tried),
        }
    }

    // Apart from what most connections need, which is inlined.
    #[inline(never)]
    fn pick_none(&self, tried: &[ServerIndex]) -> Pick {
        if let Some(index) = self.fallback(tried) {
            return Pick::Server(index);
        }
        match self.rotation.vacancy(&self.members) {
            Vacancy::NoServer => Pick::NoServer,
            Vacancy::Full => Pick::Full,
            Vacancy::Room => Pick::TriedAll,
        }
    }

    /// Whether every server that takes connections is at its `max_connections`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rotation.vacancy(&self.members) == Vacancy::Full
    }

    /// Counts a connection of a member, from the start of its connect.
    pub fn opened(&mut self, index: ServerIndex) {
        self.count(index, |open| open + 1);
    }

    /// Uncounts a connection of a member.
    pub fn closed(&mut self, index: ServerIndex) {
        self.count(index, |open| open.saturating_sub(1));
    }

    fn count(&mut self, index: ServerIndex, after: impl FnOnce(u32) -> u32) {
        if let Some(member) = self.members.get_mut(index.index()) {
            let before = member.open;
            member.open = after(before);
            self.rotation.recount(index, member, before);
        }
    }

    /// Notes the start of a member's probe.
    pub fn probe_started(&mut self, index: ServerIndex) {
        if let Some(member) = self.members.get_mut(index.index()) {
            member.health.started();
        }
    }

    /// Notes the end of a member's probe without a verdict. Answers whether it is the first in a row.
    pub fn no_verdict(&mut self, index: ServerIndex) -> bool {
        self.members.get_mut(index.index()).is_some_and(|member| member.health.no_verdict())
    }

    /// Takes the verdict of a member's probe. Answers whether the server went down or came up.
    pub fn report(&mut self, now: Time, index: ServerIndex, checked: Checked) -> Option<Change> {
        let change = self.members.get_mut(index.index())?.health.report(now, checked)?;
        self.rebuild(now);
        Some(change)
    }

    /// The members in the order of the file, each with its index.
    pub fn members(&self) -> impl Iterator<Item = (ServerIndex, &Member)> {
        self.order.iter().filter_map(|&i| Some((i, self.member(i)?)))
    }

    /// The member with an index; one that left the file too, while it has connections.
    #[must_use]
    pub fn member(&self, index: ServerIndex) -> Option<&Member> {
        self.members.get(index.index())
    }

    /// Servers that take connections, without backups.
    #[must_use]
    pub fn active_up(&self) -> usize {
        self.members.iter().filter(|member| member.takes_connections() && !member.server.backup).count()
    }

    /// Backups that can take connections.
    #[must_use]
    pub fn backup_up(&self) -> usize {
        self.members.iter().filter(|member| member.takes_connections() && member.server.backup).count()
    }

    /// Whether any server takes connections, since when, and its changes so far.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Rebuilds the rotation from the servers that take connections.
    fn rebuild(&mut self, now: Time) {
        let backup = self.backup_in_service();
        let up = self.members.iter().any(Member::takes_connections);
        let tries_all = !up && self.on_all_down == OnAllDown::Try;
        self.rotation.rebuild(&self.members, |index, member| {
            if tries_all { member.is_wanted() } else { member.is_in_service(index, backup) }
        });
        self.standing.set(now, up);
    }

    /// The backup that stands in while no other server takes connections.
    fn backup_in_service(&self) -> Option<ServerIndex> {
        if self.active_up() > 0 {
            return None;
        }
        self.members().find(|(_, member)| member.takes_connections() && member.server.backup).map(|(i, _)| i)
    }

    /// The backup for a retry: servers that refused the client are skipped before probes find them down.
    fn fallback(&self, tried: &[ServerIndex]) -> Option<ServerIndex> {
        if tried.is_empty() {
            return None;
        }
        let usable = |member: &Member| member.takes_connections() && member.server.backup && !member.is_full();
        self.members().find(|(i, member)| !tried.contains(i) && usable(member)).map(|(i, _)| i)
    }
}

#[cfg(test)]
mod tests;
