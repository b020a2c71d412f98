//! Picks the next of the servers that take connections.
use std::cmp::Ordering;
use std::net::IpAddr;

use super::ServerIndex;
use super::hash::{exponential, hash_address, hash_name, mix};
use super::member::{Load, Member};
use super::ranks::Ranks;
use super::ring::Ring;
use crate::config::Balance;

/// The most servers for which looking at each is cheaper than keeping them in order.
pub(super) const MAX_SCANNED: usize = 32;

/// The servers of a route that take connections.
#[derive(Debug)]
pub(super) struct Rotation {
    balance: Balance,
    /// By index.
    turns: Vec<Turn>,
    /// Whether the servers are few and none has `max_connections`.
    is_plain: bool,
    /// The only server, if there is one alone without `max_connections`: its turn, which lies elsewhere in memory, need not be looked at.
    only: Option<ServerIndex>,
    /// The same servers in order, if they are many. Built at the first pick after a change: when a whole network fails,
    /// hundreds of servers change between two picks.
    ranks: Option<Box<Ranks>>,
    /// Whether the route has many servers, those that take no connections included: `source` must not change its way
    /// when one of them goes down.
    is_large: bool,
    /// The same servers for `source` of a large route. Built as `ranks` are.
    ring: Option<Box<Ring>>,
}

/// A server in smooth round robin. `owed` is counted in parts of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) index: ServerIndex,
    pub(super) weight: u32,
    pub(super) owed: i64,
    /// Hash of its name, for `source`.
    pub(super) hash: u64,
}

/// Whether the servers that take connections have room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vacancy {
    /// At least one has room.
    Room,
    /// Each is at its `max_connections`.
    Full,
    /// No server takes connections.
    NoServer,
}

impl Rotation {
    /// A rotation without servers.
    pub(super) fn new(balance: Balance) -> Rotation {
        Rotation { balance, turns: Vec::new(), is_plain: false, only: None, ranks: None, is_large: false, ring: None }
    }

    /// Changes the balance, from the next [`rebuild`](Rotation::rebuild) on.
    pub(super) fn set_balance(&mut self, balance: Balance) {
        self.balance = balance;
    }

    /// Starts over with the servers that take connections now. Owed turns are dropped: under the new weights they would
    /// be paid in one burst.
    pub(super) fn rebuild(&mut self, members: &[Member], takes_part: impl Fn(ServerIndex, &Member) -> bool) {
        let balance = self.balance;
        let turn = |index: ServerIndex, member: &Member| {
            let hash = if balance == Balance::Source { hash_name(&member.server().name) } else { 0 };
            Turn { index, weight: member.weight().into(), owed: 0, hash }
        };
        let those = ServerIndex::all().zip(members).filter(|(index, member)| takes_part(*index, member));
        let turns = those.map(|(index, member)| turn(index, member));
        self.turns.clear();
        self.turns.extend(turns);
        let is_limited = members.iter().any(|member| member.server().max_connections.is_some());
        self.is_plain = self.turns.len() <= MAX_SCANNED && !is_limited;
        self.only = match self.turns.as_slice() {
            [turn] if self.is_plain => Some(turn.index),
            _ => None,
        };
        self.ranks = None;
        self.is_large = members.iter().filter(|member| !member.is_retired()).count() > MAX_SCANNED;
        self.ring = None;
    }

    /// Picks the server for a connection from `client`, other than those in `tried`.
    pub(super) fn pick(&mut self, members: &[Member], client: IpAddr, tried: &[ServerIndex]) -> Option<ServerIndex> {
        if let Some(only) = self.only
            && tried.is_empty()
        {
            return Some(only);
        }
        match self.balance {
            Balance::RoundRobin if self.is_plain && tried.is_empty() => next_turn(&mut self.turns, |_| true),
            _ => self.pick_among(members, client, tried),
        }
    }

    // Kept apart from the inlined common case.
    #[inline(never)]
    fn pick_among(&mut self, members: &[Member], client: IpAddr, tried: &[ServerIndex]) -> Option<ServerIndex> {
        let member = |turn: &Turn| members.get(turn.index.index()).filter(|member| !member.is_full());
        let eligible = |turn: &Turn| if tried.contains(&turn.index) { None } else { member(turn) };
        let turns = &mut self.turns;
        match self.balance {
            Balance::Source if self.is_large => self.pick_on_ring(members, client, tried),
            Balance::Source => nearest(client, turns, |turn| eligible(turn).is_some()),
            _ if turns.len() > MAX_SCANNED => self.pick_ranked(members, tried),
            Balance::RoundRobin => next_turn(turns, |turn| eligible(turn).is_some()),
            Balance::LeastConnections if self.is_plain && tried.is_empty() => {
                least_loaded(turns, |turn| members.get(turn.index.index()))
            }
            Balance::LeastConnections => least_loaded(turns, eligible),
        }
    }

    #[inline(never)]
    fn pick_on_ring(&mut self, members: &[Member], client: IpAddr, tried: &[ServerIndex]) -> Option<ServerIndex> {
        let has_room = |index: ServerIndex| members.get(index.index()).is_some_and(|member| !member.is_full());
        let eligible = |index| has_room(index) && !tried.contains(&index);
        let turns = &self.turns;
        // So that the ring is not walked around for nothing.
        turns.iter().find(|turn| eligible(turn.index))?;
        self.ring.get_or_insert_with(|| Box::new(Ring::new(turns))).pick(client, eligible)
    }

    #[inline(never)]
    fn pick_ranked(&mut self, members: &[Member], tried: &[ServerIndex]) -> Option<ServerIndex> {
        let Rotation { balance, turns, ranks, .. } = self;
        let rank = |index: ServerIndex| rank(*balance, members.get(index.index())?);
        let ranks = ranks.get_or_insert_with(|| Box::new(Ranks::new(turns, |turn| rank(turn.index))));
        for index in tried {
            ranks.change(turns, *index, rank(*index), None);
        }
        let winner = ranks.pick(turns);
        for index in tried {
            ranks.change(turns, *index, None, rank(*index));
        }
        winner
    }

    /// Notes that a member has another number of connections than `before`.
    pub(super) fn recount(&mut self, index: ServerIndex, member: &Member, before: u32) {
        if self.ranks.is_some() {
            self.rank_anew(index, member, before);
        }
    }

    #[inline(never)]
    fn rank_anew(&mut self, index: ServerIndex, member: &Member, before: u32) {
        let before = rank_at(self.balance, member, before);
        if let Some(ranks) = &mut self.ranks {
            ranks.change(&mut self.turns, index, before, rank(self.balance, member));
        }
    }

    /// Whether there is room for one more connection.
    pub(super) fn vacancy(&self, members: &[Member]) -> Vacancy {
        let mut those = self.turns.iter().filter_map(|turn| members.get(turn.index.index()));
        let has_room = match &self.ranks {
            Some(ranks) => !ranks.is_empty(),
            None => those.any(|member| !member.is_full()),
        };
        match has_room {
            true => Vacancy::Room,
            false if self.turns.is_empty() => Vacancy::NoServer,
            false => Vacancy::Full,
        }
    }
}

/// The rank of a server: with fewer connections first, if the balance looks at that. `None`: it has no room.
fn rank(balance: Balance, member: &Member) -> Option<u32> {
    rank_at(balance, member, member.open())
}

fn rank_at(balance: Balance, member: &Member, open: u32) -> Option<u32> {
    let rank = if balance == Balance::LeastConnections { open } else { 0 };
    member.has_room_at(open).then_some(rank)
}

/// Smooth weighted round robin. Each round adds every server's weight to what it is owed. The server that is owed most
/// gets the connection and pays the sum of all weights. Turns are in proportion to weight, and spread evenly.
pub(super) fn next_turn(turns: &mut [Turn], eligible: impl Fn(&Turn) -> bool) -> Option<ServerIndex> {
    let (mut round, mut most, mut winner) = (0, i64::MIN, None);
    for turn in turns.iter_mut().filter(|turn| eligible(turn)) {
        turn.owed += i64::from(turn.weight);
        round += i64::from(turn.weight);
        if turn.owed > most {
            (most, winner) = (turn.owed, Some(turn));
        }
    }
    let turn = winner?;
    turn.owed -= round;
    Some(turn.index)
}

/// The server with the fewest connections for its weight. Servers with equal loads take turns; the others take no part,
/// or their owed turns would grow without bound.
pub(super) fn least_loaded<'a>(
    turns: &mut [Turn],
    eligible: impl Fn(&Turn) -> Option<&'a Member>,
) -> Option<ServerIndex> {
    let load = |turn: &Turn| Some(Load::new(eligible(turn)?.open(), turn.weight));
    let least = turns.iter().filter_map(load).min_by(Load::compare)?;
    next_turn(turns, |turn| load(turn).is_some_and(|load| load.compare(&least) == Ordering::Equal))
}

/// Weighted rendezvous hashing. Client and server together draw a waiting time, shorter on average for a greater
/// weight, and the shortest wins. The draw of one server depends on no other, so when a server goes, only its own
/// clients move, and a full server is skipped for the next in the client's own order. There is no table to build. The
/// price is one draw for each server, and a logarithm for each server that can still win.
pub(super) fn nearest(client: IpAddr, turns: &[Turn], eligible: impl Fn(&Turn) -> bool) -> Option<ServerIndex> {
    const WHOLE: f64 = (1_u64 << 48) as f64;
    let client = hash_address(client);
    // The shortest time so far, the same in parts of 2^48 and rounded up, and its server.
    let (mut least, mut bound, mut winner) = (f64::INFINITY, 1 << 48, None);
    for turn in turns {
        let draw = mix(client ^ turn.hash);
        // -ln x is at least 1 - x, so a draw above this bound cannot win.
        if !draw >> 16 >= bound * u64::from(turn.weight) || !eligible(turn) {
            continue;
        }
        // Exponentially distributed with its weight as the rate: the probability that it is the smallest is its
        // weight's share of all.
        let time = exponential(draw) / f64::from(turn.weight);
        if time < least {
            (least, bound, winner) = (time, (time.min(1.0) * WHOLE) as u64 + 1, Some(turn.index));
        }
    }
    winner
}

#[cfg(test)]
mod tests;
