//! What is picked is what looking at every server finds.
use std::net::Ipv4Addr;

use super::*;
use crate::config::Server;
use crate::policy::random::Random;
use crate::policy::servers::tests::{group, report, server};
use crate::policy::servers::{Group, Pick};

/// Without this, the heap for many servers picks otherwise than a scan of all: a drained, full, down, tried or busier
/// server, or without weights.
#[test]
fn of_many_servers_the_same_is_picked_as_by_looking_at_each() {
    let mut random = Random::new(5);
    for round in 0..40 {
        let balance = if round % 2 == 0 { Balance::RoundRobin } else { Balance::LeastConnections };
        let most = [1, 9, 300][round % 3];
        let servers: Vec<Server> = (0..=MAX_SCANNED + 20).map(|i| limited(&mut random, i, most)).collect();
        let mut group = group(balance, servers);
        let mut model = group.rotation.turns.clone();
        for _ in 0..2_000 {
            let index = ServerIndex(random.below(group.members.len() as u32) as u32);
            match random.below(40) {
                0 => {
                    if report(&mut group, index.0, random.below(5) > 0).is_some() {
                        model.clone_from(&group.rotation.turns);
                    }
                }
                1..14 => group.closed(index),
                kind => {
                    let others = [index, ServerIndex((index.0 + 1) % group.members.len() as u32)];
                    let tried: &[ServerIndex] = if kind == 14 { &others } else { &[] };
                    let wanted = looked_for(&mut model, &group, tried);
                    assert_eq!(group.rotation.pick(&group.members, CLIENT, tried), wanted, "{balance:?} {group:?}");
                    let vacancy = group.rotation.vacancy(&group.members);
                    let room = model.iter().any(|turn| !group.members[turn.index.index()].is_full());
                    assert_eq!(vacancy == Vacancy::Room, room);
                    if let Some(index) = wanted {
                        group.opened(index);
                    }
                }
            }
        }
    }
}

/// Without this, a route of one server picks it past its limit, or again for a retry, or when another has come in its place.
#[test]
fn a_server_alone_is_picked_while_it_takes_connections() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::Source] {
        let mut lone = group(balance, vec![server("a", 1)]);
        assert_eq!(lone.rotation.only, Some(ServerIndex(0)));
        assert_eq!(lone.pick(CLIENT, &[]), Pick::Server(ServerIndex(0)));
        assert_eq!(lone.pick(CLIENT, &[ServerIndex(0)]), Pick::TriedAll);
        report(&mut lone, 0, false);
        assert_eq!(lone.pick(CLIENT, &[]), Pick::NoServer);

        let mut two = group(balance, vec![server("a", 1), server("b", 1)]);
        assert_eq!(two.rotation.only, None);
        report(&mut two, 0, false);
        assert_eq!(two.pick(CLIENT, &[]), Pick::Server(ServerIndex(1)));
        assert_eq!(two.rotation.only, Some(ServerIndex(1)));

        let mut limited = group(balance, vec![Server { max_connections: Some(1), ..server("a", 1) }]);
        assert_eq!(limited.pick(CLIENT, &[]), Pick::Server(ServerIndex(0)));
        limited.opened(ServerIndex(0));
        assert_eq!(limited.pick(CLIENT, &[]), Pick::Full);
    }
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn limited(random: &mut Random, i: usize, most: u32) -> Server {
    let max_connections = (random.below(3) == 0).then(|| 1 + random.below(3) as u32);
    Server { max_connections, ..server(&format!("s{i}"), 1 + random.below(most) as u16) }
}

fn looked_for(turns: &mut [Turn], group: &Group, tried: &[ServerIndex]) -> Option<ServerIndex> {
    let member = |turn: &Turn| group.members.get(turn.index.index()).filter(|member| !member.is_full());
    let eligible = |turn: &Turn| member(turn).filter(|_| !tried.contains(&turn.index));
    match group.rotation.balance {
        Balance::LeastConnections => least_loaded(turns, eligible),
        _ => next_turn(turns, |turn| eligible(turn).is_some()),
    }
}

/// Without this, an upgrade moves the clients of a small route.
#[test]
fn each_server_is_looked_at_up_to_the_limit() {
    for (count, is_ring) in [(MAX_SCANNED, false), (MAX_SCANNED + 1, true)] {
        let mut group = group(Balance::Source, (0..count).map(|i| server(&format!("s{i}"), 1)).collect());
        let clients = (0..100).map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
        let agree = clients.filter(|&client| {
            let wanted = nearest(client, &group.rotation.turns, |_| true);
            group.rotation.pick(&group.members, client, &[]) == wanted
        });
        assert_eq!(agree.count() < 20, is_ring);
        assert_eq!(group.rotation.ring.is_some(), is_ring);
    }
}

/// Without this, the shortcut that saves logarithms picks another server than the full computation, so proxies
/// disagree.
#[test]
fn no_server_that_would_win_is_passed_over() {
    let mut random = Random::new(6);
    for round in 0..100 {
        let most = [1, 10, 65_535][round % 3];
        let turn = |index: u32| Turn {
            index: ServerIndex(index),
            weight: 1 + random.below(most) as u32,
            owed: 0,
            hash: mix(index.into()),
        };
        let turns: Vec<Turn> = (0..=round as u32).map(turn).collect();
        for client in 0..300 {
            let client = IpAddr::from(Ipv4Addr::from_bits(client));
            let time = |turn: &Turn| exponential(mix(hash_address(client) ^ turn.hash)) / f64::from(turn.weight);
            let wanted = turns.iter().min_by(|one, other| time(one).total_cmp(&time(other))).map(|turn| turn.index);
            assert_eq!(nearest(client, &turns, |_| true), wanted);
        }
    }
}
