use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::super::random::Random;
use super::rotation::MAX_SCANNED;
use super::update::MAX_REMEMBERED;
use super::*;
use crate::config::{Balance, OnDown, Outage, Probe, ProxyHeader, ProxyProtocol, ProxyTlvs, RouteTimeouts};
use crate::vocabulary::CheckResult;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(super) fn server(name: &str, weight: u16) -> Server {
    Server {
        name: name.into(),
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
        weight,
        backup: false,
        max_connections: None,
        source: None,
        interface: None,
    }
}

fn backup(name: &str) -> Server {
    Server { backup: true, ..server(name, 1) }
}

fn route(balance: Balance, servers: Vec<Server>) -> Route {
    let second = Duration::from_secs(1);
    Route {
        name: "route".into(),
        listen: Vec::new(),
        http: None,
        sni: Vec::new(),
        alpn: Vec::new(),
        servers,
        balance,
        proxy_header: ProxyHeader { protocol: ProxyProtocol::V2, tlvs: ProxyTlvs::default() },
        outage: Outage { on_down: OnDown::Keep, on_all_down: OnAllDown::Refuse },
        allow_from: Vec::new(),
        timeouts: RouteTimeouts { connect: second, tunnel: second, half_closed: second },
        health_check: HealthCheck {
            probe: Probe::Tcp,
            interval: second,
            fast_interval: second,
            timeout: second,
            fall: 1,
            rise: 1,
            port: None,
            proxy_header: ProxyProtocol::V2,
        },
    }
}

fn spread() -> Spread {
    Spread::new(Time::ZERO, 1)
}

pub(super) fn group(balance: Balance, servers: Vec<Server>) -> Group {
    Group::new(&route(balance, servers), &mut spread())
}

fn weighted(balance: Balance, weights: &[u16]) -> Group {
    group(balance, weights.iter().enumerate().map(|(i, weight)| server(&format!("s{i}"), *weight)).collect())
}

pub(super) fn report(group: &mut Group, index: u32, up: bool) -> Option<Change> {
    group.probe_started(ServerIndex(index));
    let result = if up { CheckResult::L4Ok } else { CheckResult::L4Connection };
    group.report(
        Time::ZERO,
        ServerIndex(index),
        Checked { result, status: None, info: "".into(), took: Duration::ZERO },
    )
}

fn picks(group: &mut Group, count: usize) -> Vec<u32> {
    (0..count).map(|_| picked(group.pick(CLIENT, &[]))).collect()
}

fn picked(pick: Pick) -> u32 {
    match pick {
        Pick::Server(ServerIndex(i)) => i,
        other => panic!("{other:?}"),
    }
}

fn random_weights(random: &mut Random) -> Vec<u16> {
    (0..=random.below(6)).map(|_| 1 + random.below(9) as u16).collect()
}

/// Without this, a server with weight 5 gets its 5 connections in a row.
#[test]
fn round_robin_is_smooth() {
    assert_eq!(picks(&mut weighted(Balance::RoundRobin, &[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(picks(&mut weighted(Balance::RoundRobin, &[1, 1, 1]), 6), [0, 1, 2, 0, 1, 2]);
}

/// Without this, shares differ from the weights.
#[test]
fn round_robin_is_exact_over_each_cycle() {
    let mut random = Random::new(1);
    for _ in 0..200 {
        let weights = random_weights(&mut random);
        let mut group = weighted(Balance::RoundRobin, &weights);
        let cycle = weights.iter().map(|weight| usize::from(*weight)).sum();
        for _ in 0..3 {
            let mut counts = vec![0; weights.len()];
            for i in picks(&mut group, cycle) {
                counts[i as usize] += 1;
            }
            assert_eq!(counts, weights);
        }
    }
}

/// Without this, a server falls a whole connection behind its share, by a naive model of all picks.
#[test]
fn round_robin_keeps_every_server_within_a_turn_of_its_share() {
    let mut random = Random::new(2);
    for _ in 0..100 {
        let weights = random_weights(&mut random);
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mut counts = vec![0.0; weights.len()];
        for (turn, i) in (1..).zip(picks(&mut weighted(Balance::RoundRobin, &weights), 200)) {
            counts[i as usize] += 1.0;
            for (count, weight) in counts.iter().zip(&weights) {
                let share = f64::from(turn) * f64::from(*weight) / total;
                assert!((share - count).abs() < weights.len() as f64, "{weights:?}: {count} of {share} at {turn}");
            }
        }
    }
}

/// Without this, the faster code picks in another order than the naive model: each pick adds its weight to every usable
/// server's credit, the highest credit wins, and all credits restart when a server goes down or comes up.
#[test]
fn round_robin_keeps_the_order_of_the_naive_model() {
    let mut random = Random::new(4);
    for _ in 0..200 {
        let weights = random_weights(&mut random);
        let limit = |i: usize| (i % 3 == 1).then_some(2);
        let servers = weights.iter().enumerate();
        let servers =
            servers.map(|(i, &weight)| Server { max_connections: limit(i), ..server(&format!("s{i}"), weight) });
        let mut group = group(Balance::RoundRobin, servers.collect());
        let mut model: Vec<(bool, u32, i64)> = vec![(true, 0, 0); weights.len()];
        for _ in 0..300 {
            let i = random.below(weights.len() as u32) as u32;
            match random.below(10) {
                0 => {
                    let up = random.below(4) > 0;
                    if report(&mut group, i, up).is_some() {
                        model[i as usize].0 = up;
                        for (_, _, owed) in &mut model {
                            *owed = 0;
                        }
                    }
                }
                1..4 => {
                    group.closed(ServerIndex(i));
                    model[i as usize].1 = model[i as usize].1.saturating_sub(1);
                }
                _ => {
                    let tried: &[ServerIndex] = if random.below(5) == 0 { &[ServerIndex(i)] } else { &[] };
                    let wanted = naive_turn(&mut model, &weights, limit, tried);
                    match group.pick(CLIENT, tried) {
                        Pick::Server(picked) => {
                            assert_eq!(Some(picked), wanted, "{weights:?} {model:?}");
                            group.opened(picked);
                            model[picked.index()].1 += 1;
                        }
                        other => assert_eq!(wanted, None, "{other:?}"),
                    }
                }
            }
        }
    }
}

/// `model`: for each server whether it is up, its connections, and what it is owed.
fn naive_turn(
    model: &mut [(bool, u32, i64)],
    weights: &[u16],
    limit: impl Fn(usize) -> Option<u32>,
    tried: &[ServerIndex],
) -> Option<ServerIndex> {
    let may = |i: usize, (up, open, _): (bool, u32, i64)| {
        up && limit(i).is_none_or(|most| open < most) && !tried.contains(&ServerIndex(i as u32))
    };
    let candidates: Vec<usize> = (0..model.len()).filter(|&i| may(i, model[i])).collect();
    for &i in &candidates {
        model[i].2 += i64::from(weights[i]);
    }
    let winner = candidates.iter().copied().rev().max_by_key(|&i| model[i].2)?;
    model[winner].2 -= candidates.iter().map(|&i| i64::from(weights[i])).sum::<i64>();
    Some(ServerIndex(winner as u32))
}

/// Without this, a server with more connections for its weight gets the next one.
#[test]
fn least_connections_never_picks_a_busier_server() {
    let mut random = Random::new(3);
    for _ in 0..100 {
        let weights = random_weights(&mut random);
        let mut group = weighted(Balance::LeastConnections, &weights);
        let mut open = vec![0_u32; weights.len()];
        for _ in 0..500 {
            if random.below(3) == 0 {
                let i = random.below(weights.len() as u32) as usize;
                if open[i] > 0 {
                    open[i] -= 1;
                    group.closed(ServerIndex(i as u32));
                }
                continue;
            }
            let i = picked(group.pick(CLIENT, &[]));
            let load = |i: usize| f64::from(open[i]) / f64::from(weights[i]);
            assert!((0..open.len()).all(|other| load(i as usize) <= load(other) + 1e-9), "{i} of {open:?}/{weights:?}");
            open[i as usize] += 1;
            group.opened(ServerIndex(i));
            assert_eq!(group.member(ServerIndex(i)).unwrap().open(), open[i as usize]);
        }
    }
}

/// Without this, the first server gets all short connections, as every server is idle most of the time.
#[test]
fn least_connections_alternates_among_equals() {
    let mut idle = weighted(Balance::LeastConnections, &[1, 1, 1]);
    assert_eq!(picks(&mut idle, 6), [0, 1, 2, 0, 1, 2]);

    let mut group = weighted(Balance::LeastConnections, &[1, 1]);
    group.opened(ServerIndex(0));
    assert_eq!(picks(&mut group, 100), [1; 100]);
    group.closed(ServerIndex(0));
    let counts = picks(&mut group, 20).iter().filter(|i| **i == 0).count();
    assert_eq!(counts, 10, "a server that was busy is not owed what it missed");
}

/// Without this, a server gets all connections for a while after a change of weights.
#[test]
fn a_change_of_shares_causes_no_burst() {
    let mut group = weighted(Balance::RoundRobin, &[256, 1, 1]);
    picks(&mut group, 100);
    report(&mut group, 0, false);
    assert_eq!(picks(&mut group, 4), [1, 2, 1, 2]);
    report(&mut group, 0, true);
    picks(&mut group, 100);
    let servers = vec![server("s0", 1), server("s1", 1), server("s2", 1)];
    group.update(&route(Balance::RoundRobin, servers), &mut spread());
    assert_eq!(picks(&mut group, 6), [0, 1, 2, 0, 1, 2]);
}

fn clients() -> impl Iterator<Item = IpAddr> {
    (0..20_000_u32).map(|i| match i % 2 {
        0 => IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(i) << 40 | 1)),
    })
}

fn places(group: &mut Group) -> HashMap<IpAddr, Box<str>> {
    clients()
        .map(|client| {
            let i = picked(group.pick(client, &[]));
            (client, group.member(ServerIndex(i)).unwrap().server().name.clone())
        })
        .collect()
}

fn share(places: &HashMap<IpAddr, Box<str>>, name: &str) -> f64 {
    places.values().filter(|place| &***place == name).count() as f64 / places.len() as f64
}

/// Without this, servers get more or fewer clients than their weights say.
#[test]
fn source_shares_clients_by_weight() {
    let mut group = weighted(Balance::Source, &[1, 2, 3, 4]);
    let places = places(&mut group);
    for (name, expected) in [("s0", 0.1), ("s1", 0.2), ("s2", 0.3), ("s3", 0.4)] {
        let share = share(&places, name);
        assert!((share - expected).abs() < 0.01, "{name}: {share}");
    }
}

/// Without this, clients of other servers lose their sessions when a server goes or comes, or when so many of a large
/// route are down that those left could be looked at one by one.
#[test]
fn source_moves_only_the_clients_of_servers_that_go() {
    for (count, down) in [(5, 2..3), (MAX_SCANNED, 2..3), (MAX_SCANNED + 1, 2..3), (MAX_SCANNED + 1, 2..30)] {
        let mut group = weighted(Balance::Source, &vec![1; count]);
        let before = places(&mut group);
        let gone: Vec<Box<str>> = down.clone().map(|i| format!("s{i}").into()).collect();
        down.clone().for_each(|i| assert!(report(&mut group, i, false).is_some()));
        let during = places(&mut group);
        for (client, place) in &before {
            assert_eq!(during[client] == *place, !gone.contains(place), "{place} of {count}");
        }
        down.for_each(|i| assert!(report(&mut group, i, true).is_some()));
        assert_eq!(places(&mut group), before);
    }
}

/// Without this, a change of weight moves more clients than the new share.
#[test]
fn source_moves_few_clients_for_a_weight() {
    for (count, heavier, margin) in [(3, 2, 0.015), (MAX_SCANNED + 1, 33, 0.05)] {
        let mut weights = vec![1; count];
        let mut group = weighted(Balance::Source, &weights);
        let before = places(&mut group);
        weights[1] = heavier;
        let mut update = |weights: &[u16]| {
            let servers = weights.iter().enumerate().map(|(i, weight)| server(&format!("s{i}"), *weight));
            group.update(&route(Balance::Source, servers.collect()), &mut spread());
            places(&mut group)
        };
        let after = update(&weights);
        for (client, place) in &after {
            assert!(**place == *"s1" || before[client] == *place);
        }
        let wanted = f64::from(heavier) / (f64::from(heavier) + count as f64 - 1.0);
        assert!((share(&after, "s1") - wanted).abs() < margin, "{}", share(&after, "s1"));
        assert_eq!(update(&vec![1; count]), before);
    }
}

/// Without this, clients of other servers move at a reload of a large route, or two processes disagree after unlike
/// reloads or over unlike files.
#[test]
fn source_in_a_large_route_depends_on_its_servers_only() {
    let servers = |count: usize| (0..count).map(|i| server(&format!("s{i}"), 1 + i as u16 % 3));
    let fresh = |count: usize| places(&mut group(Balance::Source, servers(count).collect()));
    let mut reversed = group(Balance::Source, servers(MAX_SCANNED + 1).rev().collect());
    assert_eq!(places(&mut reversed), fresh(MAX_SCANNED + 1));
    let mut update = |count: usize| {
        reversed.update(&route(Balance::Source, servers(count).collect()), &mut spread());
        places(&mut reversed)
    };
    let (few, many) = (fresh(MAX_SCANNED + 1), fresh(MAX_SCANNED + 2));
    assert_eq!(update(MAX_SCANNED + 2), many);
    assert_eq!(update(MAX_SCANNED + 1), few);
    assert_eq!(update(MAX_SCANNED), fresh(MAX_SCANNED));
    let new = format!("s{}", MAX_SCANNED + 1);
    assert!(many.iter().all(|(client, place)| **place == *new || few[client] == *place));
    // One of 67 parts.
    assert!((0.012..0.018).contains(&share(&many, &new)), "{}", share(&many, &new));
}

/// Without this, a retry in a large route goes to the server that refused the client, or moves it to another each time.
#[test]
fn source_in_a_large_route_has_an_order_for_every_client() {
    let mut group = weighted(Balance::Source, &[1; MAX_SCANNED + 1]);
    for client in clients().take(20) {
        let mut tried = Vec::new();
        while let Pick::Server(index) = group.pick(client, &tried) {
            assert!(!tried.contains(&index));
            tried.push(index);
        }
        assert_eq!((tried.len(), group.pick(client, &tried)), (MAX_SCANNED + 1, Pick::TriedAll));
        // One that is down is left out, and the others keep their places.
        report(&mut group, tried[0].0, false);
        assert_eq!(group.pick(client, &[]), Pick::Server(tried[1]));
        assert_eq!(group.pick(client, &tried[1..3]), Pick::Server(tried[3]));
        report(&mut group, tried[0].0, true);
    }
}

/// Without this, a full server's clients all go to one other server, or have no stable second choice.
#[test]
fn source_passes_a_full_server_over_for_the_next_in_order() {
    let mut servers = vec![server("s0", 1), server("s1", 1), server("s2", 1)];
    servers[0].max_connections = Some(1);
    let mut group = group(Balance::Source, servers);
    let before = places(&mut group);
    group.opened(ServerIndex(0));
    let during = places(&mut group);
    let moved = |to: &str| before.iter().filter(|(client, place)| ***place == *"s0" && *during[*client] == *to).count();
    assert!(before.iter().all(|(client, place)| **place == *"s0" || during[client] == *place));
    assert!(moved("s1") > 3000 && moved("s2") > 3000);
}

/// Without this, servers that are down, drained or already tried get connections.
#[test]
fn only_servers_that_take_connections_are_picked() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::Source] {
        let mut group = weighted(balance, &[1, 0, 1]);
        report(&mut group, 0, false);
        assert_eq!(picks(&mut group, 10), [2; 10]);
        assert_eq!(group.active_up(), 1);
        assert_eq!(group.pick(CLIENT, &[ServerIndex(2)]), Pick::TriedAll);
        report(&mut group, 0, true);
        assert_eq!(group.pick(CLIENT, &[ServerIndex(2)]), Pick::Server(ServerIndex(0)));
        report(&mut group, 0, false);
        report(&mut group, 2, false);
        assert_eq!(group.pick(CLIENT, &[]), Pick::NoServer);
        assert_eq!(group.pick(CLIENT, &[ServerIndex(2)]), Pick::NoServer);
    }
    assert_eq!(weighted(Balance::RoundRobin, &[0, 0]).pick(CLIENT, &[]), Pick::NoServer);
}

/// Without this, backups serve beside other servers, or not at all. As in HAProxy, the first one that is up serves.
#[test]
fn backups_serve_only_when_nobody_else_does() {
    let mut group = group(Balance::RoundRobin, vec![backup("b0"), server("s1", 1), backup("b2")]);
    assert_eq!((group.active_up(), group.backup_up()), (1, 2));
    assert_eq!(picks(&mut group, 3), [1, 1, 1]);
    // After a refused connect there is no waiting for probes.
    assert_eq!(group.pick(CLIENT, &[ServerIndex(1)]), Pick::Server(ServerIndex(0)));
    assert_eq!(group.pick(CLIENT, &[ServerIndex(1), ServerIndex(0)]), Pick::Server(ServerIndex(2)));
    assert_eq!(group.pick(CLIENT, &[ServerIndex(1), ServerIndex(0), ServerIndex(2)]), Pick::TriedAll);
    report(&mut group, 1, false);
    assert_eq!(picks(&mut group, 3), [0, 0, 0]);
    report(&mut group, 0, false);
    assert_eq!(picks(&mut group, 3), [2, 2, 2]);
    report(&mut group, 2, false);
    assert_eq!(group.pick(CLIENT, &[]), Pick::NoServer);
    report(&mut group, 1, true);
    assert_eq!(picks(&mut group, 3), [1, 1, 1]);
}

/// Without this, a server gets more than its `max_connections`, or a client is refused instead of queued.
#[test]
fn full_servers_are_passed_over_and_waited_for() {
    let limited = |name| Server { max_connections: Some(1), ..server(name, 1) };
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::Source] {
        let mut group = group(balance, vec![limited("s0"), limited("s1")]);
        let first = picked(group.pick(CLIENT, &[]));
        group.opened(ServerIndex(first));
        let second = picked(group.pick(CLIENT, &[]));
        assert_ne!(first, second);
        assert!(!group.is_full());
        assert_eq!(group.pick(CLIENT, &[ServerIndex(second)]), Pick::TriedAll, "one is full, the other was tried");
        group.opened(ServerIndex(second));
        assert_eq!(group.pick(CLIENT, &[]), Pick::Full);
        assert_eq!(group.pick(CLIENT, &[ServerIndex(first)]), Pick::Full);
        assert!(group.is_full(), "waiting clients would be served for ever");
        group.closed(ServerIndex(first));
        assert!(!group.is_full());
        assert_eq!(group.pick(CLIENT, &[]), Pick::Server(ServerIndex(first)));
    }
}

/// Without this, clients of a large route that is full are told to try again, where they should wait.
#[test]
fn a_large_route_is_full_when_each_of_its_servers_is() {
    let limited = |i| Server { max_connections: Some(1), ..server(&format!("s{i}"), 1) };
    let count = MAX_SCANNED as u32 + 1;
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::Source] {
        let mut group = group(balance, (0..count).map(limited).collect());
        for _ in 0..count {
            assert!(!group.is_full());
            let picked = picked(group.pick(CLIENT, &[]));
            group.opened(ServerIndex(picked));
        }
        assert_eq!((group.is_full(), group.pick(CLIENT, &[])), (true, Pick::Full));
        group.closed(ServerIndex(7));
        assert_eq!((group.is_full(), group.pick(CLIENT, &[])), (false, Pick::Server(ServerIndex(7))));
    }
}

/// Without this, /stats and metrics do not show that a route has no server.
#[test]
fn a_route_stands_while_any_server_takes_connections() {
    let mut group = group(Balance::RoundRobin, vec![server("s0", 1), backup("b1")]);
    assert_eq!(report(&mut group, 0, false), Some(Change::Down));
    assert!(group.standing().is_up());
    assert_eq!(report(&mut group, 1, false), Some(Change::Down));
    assert!(!group.standing().is_up());
    assert_eq!(report(&mut group, 0, true), Some(Change::Up));
    assert_eq!((group.standing().is_up(), group.standing().downs()), (true, 1));
}

/// Without this, a reload mixes servers up, forgets open connections, or brings a dead server back.
#[test]
fn update_keeps_what_stays() {
    let mut group = weighted(Balance::RoundRobin, &[1, 1, 1]);
    group.opened(ServerIndex(1));
    report(&mut group, 1, false);
    let servers = vec![server("new", 1), server("s1", 7), server("s0", 1)];
    assert_eq!(group.update(&route(Balance::RoundRobin, servers), &mut spread()).outdated, [2].map(ServerIndex));

    let names = group.members().map(|(i, member)| (i, &*member.server.name)).collect::<Vec<_>>();
    assert_eq!(names, [(3, "new"), (1, "s1"), (0, "s0")].map(|(i, name)| (ServerIndex(i), name)));
    assert!(group.members().all(|(_, member)| !member.is_retired()));
    let kept = group.member(ServerIndex(1)).unwrap();
    assert_eq!((kept.open(), kept.server().weight, kept.health().is_up()), (1, 7, false));
}

/// Without this, the end of an old connection is counted off a new server in its slot.
#[test]
fn a_retired_member_keeps_its_place_until_its_connections_are_gone() {
    let mut group = weighted(Balance::RoundRobin, &[1, 1]);
    group.opened(ServerIndex(0));
    let with = |name: &str| route(Balance::RoundRobin, vec![server("s1", 1), server(name, 1)]);
    assert_eq!(group.update(&with("s2"), &mut spread()).outdated, [0].map(ServerIndex));
    assert!(group.member(ServerIndex(0)).unwrap().is_retired());
    assert_eq!(group.members().map(|(i, _)| i).collect::<Vec<_>>(), [1, 2].map(ServerIndex));
    assert!(!picks(&mut group, 4).contains(&0));
    for n in 3..100 {
        group.update(&with(&format!("s{n}")), &mut spread());
    }
    assert_eq!(&*group.member(ServerIndex(0)).unwrap().server.name, "s0");
    assert_eq!(group.members.len(), 3 + MAX_REMEMBERED, "places are used again");
}

/// Without this, a handed-over connection is counted on a server of the file, or a removed server gets new ones.
#[test]
fn a_remembered_server_has_a_place_of_its_own_and_takes_no_connections() {
    let mut group = weighted(Balance::RoundRobin, &[1, 1]);
    let gone = group.remember(&server("gone", 1), &route(Balance::RoundRobin, Vec::new()).health_check, &mut spread());
    assert_eq!(gone, ServerIndex(2));
    let member = group.member(gone).unwrap();
    assert_eq!((&*member.server.name, member.is_retired(), member.takes_connections()), ("gone", true, false));
    assert!(!picks(&mut group, 4).contains(&gone.0));
}

/// Without this, a server that returns loses its old connections, or one with a new address inherits the old state.
#[test]
fn update_starts_health_afresh_for_another_address_and_a_return() {
    let mut group = weighted(Balance::RoundRobin, &[1, 1]);
    group.opened(ServerIndex(0));
    report(&mut group, 0, false);
    let moved = Server { address: SocketAddr::from(([127, 0, 0, 9], 1)), ..server("s0", 1) };
    assert_eq!(
        group.update(&route(Balance::RoundRobin, vec![moved.clone()]), &mut spread()).outdated,
        [0, 1].map(ServerIndex)
    );
    let member = group.member(ServerIndex(0)).unwrap();
    assert_eq!((member.open(), member.health().is_up(), member.health().failures()), (1, true, 1));

    report(&mut group, 0, false);
    group.update(&route(Balance::RoundRobin, vec![server("other", 1)]), &mut spread());
    assert_eq!(group.update(&route(Balance::RoundRobin, vec![moved]), &mut spread()).outdated, [2].map(ServerIndex));
    let member = group.member(ServerIndex(0)).unwrap();
    assert_eq!((member.open(), member.health().is_up()), (1, true));
}

/// Without this, `on_all_down` "try" refuses, or goes on trying dead servers once one is up.
#[test]
fn servers_are_tried_when_all_are_down() {
    let servers = vec![server("a", 1), server("b", 1), server("off", 0), backup("c")];
    let mut group = Group::new(
        &Route {
            outage: Outage { on_down: OnDown::Keep, on_all_down: OnAllDown::Try },
            ..route(Balance::RoundRobin, servers)
        },
        &mut spread(),
    );
    for index in [0, 1, 3] {
        report(&mut group, index, false);
    }
    assert!(!group.standing().is_up(), "it has still no server for any client");
    assert_eq!(picks(&mut group, 6), [0, 1, 3, 0, 1, 3]);
    assert_eq!(
        group.pick(CLIENT, &[ServerIndex(0), ServerIndex(1)]),
        Pick::Server(ServerIndex(3)),
        "a retry goes to another one"
    );
    assert_eq!(group.pick(CLIENT, &[ServerIndex(0), ServerIndex(1), ServerIndex(3)]), Pick::TriedAll);
    report(&mut group, 1, true);
    assert_eq!(picks(&mut group, 3), [1, 1, 1]);
}

/// Without this, a retry goes to a server that is at its `max_connections`.
#[test]
fn a_retry_never_overfills_a_server() {
    let limited = Server { max_connections: Some(1), ..server("b", 1) };
    let mut group = group(Balance::RoundRobin, vec![server("a", 1), limited, backup("c")]);
    group.opened(ServerIndex(1));
    assert_eq!(group.pick(CLIENT, &[ServerIndex(0)]), Pick::Server(ServerIndex(2)));
    group.opened(ServerIndex(2));
    assert!(!matches!(group.pick(CLIENT, &[ServerIndex(0), ServerIndex(2)]), Pick::Server(_)));
}

/// Without this, a retry waits for a backup that is known to be down.
#[test]
fn a_retry_takes_no_backup_that_is_down() {
    let mut group = group(Balance::RoundRobin, vec![server("a", 1), backup("b"), backup("c")]);
    report(&mut group, 1, false);
    assert_eq!(group.pick(CLIENT, &[ServerIndex(0)]), Pick::Server(ServerIndex(2)));
    report(&mut group, 2, false);
    assert!(!matches!(group.pick(CLIENT, &[ServerIndex(0)]), Pick::Server(ServerIndex(1 | 2))));
}

/// Without this, a reload with another `balance` goes on with the old one.
#[test]
fn update_changes_the_balance() {
    let servers = || vec![server("a", 1), server("b", 1)];
    let mut group = group(Balance::RoundRobin, servers());
    group.opened(ServerIndex(0));
    group.update(&route(Balance::LeastConnections, servers()), &mut spread());
    assert_eq!((0..4).map(|_| picked(group.pick(CLIENT, &[]))).collect::<Vec<_>>(), [1; 4]);
}

/// Without this, a restart sends clients to a server that was down, or logs a change where there is none.
#[test]
fn what_another_process_knew_holds() {
    let mut before = weighted(Balance::RoundRobin, &[1, 1]);
    report(&mut before, 0, false);
    let health = before.members[0].health.park();
    let mut after = weighted(Balance::RoundRobin, &[1, 1]);
    after.take_up(Time::ZERO, ServerIndex(0), health);
    assert_eq!(picks(&mut after, 3), [1, 1, 1]);
    report(&mut before, 1, false);
    report(&mut before, 1, true);
    after.take_up_standing(Time::ZERO, before.standing().clone());
    assert_eq!((after.standing().is_up(), after.standing().downs()), (true, 1), "it was without a server once");
    assert!(after.no_verdict(ServerIndex(1)) && !after.no_verdict(ServerIndex(1)));
}
