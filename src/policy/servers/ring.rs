//! The servers of a large `source` route, as points of a ring: multi-probe consistent hashing (Appleton and O'Reilly
//! 2015, arXiv:1505.00062). A client has several places on the ring, and the one that is nearest to its next point
//! decides.
//!
//! Every server has the same number of points, and distances to it are divided by its weight, as waiting times are in
//! [`nearest`](super::rotation::nearest). So each server competes independently of the weights of others. Were points
//! in proportion to weight, the ring would be up to 256 times as large; scaled to the greatest weight, a change of that
//! one would move most clients.
use std::net::IpAddr;

use super::ServerIndex;
use super::hash::{hash_address, mix};
use super::rotation::Turn;

/// Points of a server. The standard deviation of a share is 1 / √(2 · `POINTS` · `PROBES`), 3 % of it, and the greatest
/// difference among 1,000 servers about 15 %. More points cost a build more time, more probes a pick.
const POINTS: u64 = 32;

/// Places of a client on the ring.
const PROBES: u64 = 16;

#[derive(Debug)]
pub(super) struct Ring {
    /// Clockwise.
    points: Box<[Point]>,
    /// The first point at or after each of evenly spaced places, one or two for each point: the walk from there to any
    /// place is short, where a binary search would take 13 to 20 steps.
    marks: Box<[u32]>,
    /// Bits of the space between two marks.
    space: u32,
    greatest_weight: u64,
}

#[derive(Debug)]
struct Point {
    at: u64,
    weight: u32,
    index: ServerIndex,
}

impl Ring {
    /// The ring of the servers of `turns`.
    pub(super) fn new(turns: &[Turn]) -> Ring {
        let point = |turn: &Turn, number| Point { at: mix(turn.hash ^ number), weight: turn.weight, index: turn.index };
        let points = turns.iter().flat_map(|turn| (0..POINTS).map(move |number| point(turn, number)));
        let mut points: Box<[Point]> = points.collect();
        points.sort_unstable_by_key(|point| point.at);
        let space = (points.len() | 1).leading_zeros();
        let mut first = 0;
        let marks = (0..1_u64 << (u64::BITS - space)).map(|mark| {
            first += points.iter().skip(first).take_while(|point| point.at >> space < mark).count();
            first as u32
        });
        let marks = marks.collect();
        let greatest_weight = turns.iter().map(|turn| turn.weight.into()).max().unwrap_or(0);
        Ring { points, marks, space, greatest_weight }
    }

    /// The server for `client`, of those that are `eligible`. There must be one of them: without any, every probe walks
    /// round the ring.
    pub(super) fn pick(&self, client: IpAddr, eligible: impl Fn(ServerIndex) -> bool) -> Option<ServerIndex> {
        let client = hash_address(client);
        let (mut least, mut winner) = (u64::MAX, None);
        for probe in (0..PROBES).map(|number| mix(client ^ number)) {
            let (before, after) = self.points.split_at(self.first_from(probe));
            for point in after.iter().chain(before) {
                let distance = point.at.wrapping_sub(probe);
                // From here on even the greatest weight cannot win.
                if distance >= least.saturating_mul(self.greatest_weight) {
                    break;
                }
                let time = distance / u64::from(point.weight);
                if time < least && eligible(point.index) {
                    (least, winner) = (time, Some(point.index));
                }
            }
        }
        winner
    }

    /// The first of the points at or after `place`.
    fn first_from(&self, place: u64) -> usize {
        let mark = self.marks.get((place >> self.space) as usize).map_or(0, |first| *first as usize);
        mark + self.points.iter().skip(mark).take_while(|point| point.at < place).count()
    }
}

#[cfg(test)]
mod tests;
