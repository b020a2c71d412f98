//! Applies a changed file to the servers of a route.
use super::{Group, Member, ServerIndex};
use crate::config::Route;
use crate::policy::health::Spread;

/// Servers that left the file and keep their index and counters, in case they come back.
pub(super) const MAX_REMEMBERED: usize = 32;

/// The effects of a changed file on known servers, by index.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// Servers that left the file or changed their address: the verdict of a running probe no longer counts.
    pub outdated: Vec<ServerIndex>,
    /// Servers that were down and are up now.
    pub risen: Vec<(ServerIndex, Rise)>,
    /// Open connections to servers that left the file.
    pub orphans: u64,
}

/// Why a server comes up without a passed probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rise {
    /// It is in the file again.
    Back,
    /// It has another address.
    Moved,
    /// It is no longer probed.
    Unchecked,
    /// An operator took it out of maintenance.
    Ready,
}

impl Group {
    /// Applies a changed file. A server whose name is known keeps its index, connections and counters, and unless its
    /// address changed, its health.
    pub fn update(&mut self, route: &Route, spread: &mut Spread) -> Updated {
        self.rotation.set_balance(route.balance);
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
        self.rebuild(spread.now());
        updated
    }

    /// Gives a new member the index of one that left the file and has no connections, once so many have left that not
    /// all are remembered.
    fn add(&mut self, member: Member) -> ServerIndex {
        let mut left = self.members.iter_mut().zip(ServerIndex::all()).filter(|(old, _)| old.retired && old.open == 0);
        if let Some((place, i)) = left.nth(MAX_REMEMBERED) {
            *place = member;
            return i;
        }
        self.members.push(member);
        ServerIndex(self.members.len() as u32 - 1)
    }
}
