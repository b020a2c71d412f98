use std::net::Ipv4Addr;

use super::*;
use crate::policy::random::Random;
use crate::policy::servers::rotation::MAX_SCANNED;

fn turns(seed: u64, count: u32, weight: impl Fn(u32) -> u32) -> Vec<Turn> {
    let hash = |i: u32| mix(mix(seed) ^ u64::from(i));
    let turn = |i: u32| Turn { index: ServerIndex(i), weight: weight(i), owed: 0, hash: hash(i) };
    (0..count).map(turn).collect()
}

fn client(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + number))
}

/// Without this, a walk that ends early picks another server than one that looks at every point, so full and tried
/// servers and those of greater weight are passed over, and their clients have no stable second choice.
#[test]
fn what_is_picked_is_nearest_of_all_points() {
    let mut random = Random::new(7);
    for round in 0..30 {
        let most = [1, 9, 256][round % 3];
        // With two, the first point is often the next one after the last.
        let count = [2, 40][round % 2];
        let weights: Vec<u32> = (0..count).map(|_| 1 + random.below(most) as u32).collect();
        let ring = Ring::new(&turns(round as u64, count, |i| weights[i as usize]));
        for number in 0..200 {
            let (rest, every) = (random.below(6), 1 + random.below(6));
            let eligible = |index: ServerIndex| u64::from(index.0) % every != rest;
            let hash = hash_address(client(number));
            let times = (0..PROBES).flat_map(|probe| {
                let time = move |point: &Point| point.at.wrapping_sub(mix(hash ^ probe)) / u64::from(point.weight);
                let those = ring.points.iter().filter(|point| eligible(point.index));
                those.map(move |point| (time(point), point.index))
            });
            let wanted = times.min_by_key(|(time, _)| *time).map(|(_, index)| index);
            assert_eq!(ring.pick(client(number), eligible), wanted);
        }
    }
}

/// Without this, servers get far more or fewer clients than their weights say. The bound is on the standard deviation,
/// less what is due to the number of clients.
#[test]
fn shares_differ_from_those_of_the_weights_little() {
    const CLIENTS: u32 = 50_000;
    for (count, heavy, most) in [(1_000, 1, 0.0025), (1_000, 4, 0.0025), (MAX_SCANNED as u32 + 1, 256, 0.0064)] {
        let turns = turns(0, count, |i| if i % 40 == 0 { heavy } else { 1 + i % heavy.min(4) });
        let ring = Ring::new(&turns);
        let mut counts = vec![0; turns.len()];
        for number in 0..CLIENTS {
            counts[ring.pick(client(number), |_| true).unwrap().index()] += 1;
        }
        let total: u32 = turns.iter().map(|turn| turn.weight).sum();
        let squares = turns.iter().zip(counts).map(|(turn, count)| {
            let expected = f64::from(CLIENTS) * f64::from(turn.weight) / f64::from(total);
            ((f64::from(count) - expected).powi(2) - expected) / expected.powi(2)
        });
        let variance = squares.sum::<f64>() / f64::from(count);
        assert!(variance < most, "{count} servers, one of them of weight {heavy}: {variance}");
    }
}
