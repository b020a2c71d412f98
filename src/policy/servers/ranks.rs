//! The servers of a large route, in the order in which they are due: a pick looks at the first server of each weight,
//! and not at all. The result is the same as that of `next_turn` and `least_loaded`.
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::ServerIndex;
use super::member::Load;
use super::rotation::Turn;

/// The servers with room, by weight. Every round gives those of one weight the same, so their order does not change.
#[derive(Debug)]
pub(super) struct Ranks {
    classes: Vec<Class>,
}

/// The servers of one weight.
#[derive(Debug)]
struct Class {
    weight: u32,
    /// By number of connections, if the balance looks at that; otherwise there is one rank.
    ranks: BTreeMap<u32, Rank>,
}

/// Servers of one weight that take turns.
#[derive(Debug, Default)]
struct Rank {
    /// What all rounds have given to each of them. A [`Turn`] in this rank is owed its `owed` and this.
    given: i64,
    /// What each is owed beyond `given`, negated, so that the one that is owed most comes first; and its index.
    due: BTreeSet<(i64, usize)>,
}

impl Ranks {
    /// The servers of `turns`, each with its rank, if it has room.
    pub(super) fn new(turns: &mut [Turn], rank: impl Fn(&Turn) -> Option<u32>) -> Ranks {
        let mut weights: Vec<u32> = turns.iter().map(|turn| turn.weight).collect();
        weights.sort_unstable();
        weights.dedup();
        let class = |weight| Class { weight, ranks: BTreeMap::new() };
        let mut ranks = Ranks { classes: weights.into_iter().map(class).collect() };
        for (place, turn) in turns.iter_mut().enumerate() {
            if let Some(rank) = rank(turn) {
                ranks.enter(turn, place, rank);
            }
        }
        ranks
    }

    /// Whether no server has room.
    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.ranks.is_empty())
    }

    /// Takes the next server and charges it for the connection.
    pub(super) fn pick(&mut self, turns: &mut [Turn]) -> Option<ServerIndex> {
        let least = self.classes.iter().filter_map(Class::load).min_by(Load::compare)?;
        let is_least = |class: &&mut Class| class.load().is_some_and(|load| load.compare(&least) == Ordering::Equal);
        let (mut round, mut winner) = (0, None);
        for class in self.classes.iter_mut().filter(is_least) {
            let weight = i64::from(class.weight);
            let Some(mut entry) = class.ranks.first_entry() else { continue };
            let rank = entry.get_mut();
            rank.given += weight;
            round += weight * i64::from(rank.due.len() as u32);
            let Some((owed, place)) = rank.due.first() else { continue };
            // Of equal ones, the first in the file.
            let due = (owed - rank.given, *place);
            winner = Some(winner.map_or(due, |winner: (i64, usize)| winner.min(due)));
        }
        let turn = turns.get_mut(winner?.1)?;
        let (class, place) = (self.class(turn.weight)?, winner?.1);
        let mut entry = class.ranks.first_entry()?;
        let due = &mut entry.get_mut().due;
        due.pop_first();
        turn.owed -= round;
        due.insert((-turn.owed, place));
        Some(turn.index)
    }

    /// Moves a server from one rank to another; `None`: it has no room.
    pub(super) fn change(&mut self, turns: &mut [Turn], index: ServerIndex, from: Option<u32>, to: Option<u32>) {
        let Ok(place) = turns.binary_search_by_key(&index.0, |turn| turn.index.0) else { return };
        let Some(turn) = turns.get_mut(place).filter(|_| from != to) else { return };
        if let Some(from) = from {
            self.leave(turn, place, from);
        }
        if let Some(to) = to {
            self.enter(turn, place, to);
        }
    }

    fn enter(&mut self, turn: &mut Turn, place: usize, rank: u32) {
        if let Some(class) = self.class(turn.weight) {
            let rank = class.ranks.entry(rank).or_default();
            turn.owed -= rank.given;
            rank.due.insert((-turn.owed, place));
        }
    }

    fn leave(&mut self, turn: &mut Turn, place: usize, number: u32) {
        if let Some(class) = self.class(turn.weight)
            && let Some(rank) = class.ranks.get_mut(&number)
        {
            rank.due.remove(&(-turn.owed, place));
            turn.owed += rank.given;
            if rank.due.is_empty() {
                class.ranks.remove(&number);
            }
        }
    }

    fn class(&mut self, weight: u32) -> Option<&mut Class> {
        let at = self.classes.binary_search_by_key(&weight, |class| class.weight).ok()?;
        self.classes.get_mut(at)
    }
}

impl Class {
    /// The smallest load of its servers.
    fn load(&self) -> Option<Load> {
        let (open, _) = self.ranks.first_key_value()?;
        Some(Load::new(*open, self.weight))
    }
}
