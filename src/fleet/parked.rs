//! Routes and servers as the next process gets them: counters, health, and the indices that its connections refer to.
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frontends::ParkedOwn;
use super::takeover::MAX_REMEMBERED;
use super::{Fleet, Route, RouteId, Server, ServerId, entry};
use crate::config::{self, HealthCheck, OnDown, RouteTimeouts};
use crate::metrics::{Traffic, Usage};
use crate::policy::health::{ParkedHealth, Spread, Standing};
use crate::policy::servers::{Override, ServerIndex};

/// A route.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ParkedRoute {
    name: Box<str>,
    timeouts: RouteTimeouts,
    closes_on_down: bool,
    unplaced: Traffic,
    usage: Usage,
    #[cfg_attr(feature = "other-state", serde(rename = "deepest_queue"))]
    most_queued: usize,
    standing: Option<Standing>,
    /// Counters of its own addresses.
    own: Option<ParkedOwn>,
    /// Whether no client refers to it; false of a process that does not tell.
    is_unused: bool,
    servers: Vec<ParkedServer>,
}

/// One of its servers.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ParkedServer {
    name: Box<str>,
    address: Option<SocketAddr>,
    traffic: Traffic,
    usage: Usage,
    health: Option<ParkedHealth>,
    set: Override,
    /// Whether no connection counts on it.
    is_unused: bool,
}

/// The indices of the previous process's routes and servers in this one; `None` of those that are not remembered.
#[derive(Default)]
pub struct ServerMap(Vec<Option<MappedRoute>>);

struct MappedRoute {
    route: RouteId,
    config: Arc<config::Route>,
    servers: Vec<Option<Seat>>,
}

/// A server of the previous process in this one.
struct Seat {
    server: ServerIndex,
    ends: bool,
}

/// Where a connection of the previous process goes on.
#[derive(Clone, Copy, Debug)]
pub struct MappedServer<'a> {
    /// Its server.
    pub id: ServerId,
    /// The connection's route.
    pub config: &'a Arc<config::Route>,
    /// Whether it must end: its server left the file, and its route had `on_down` `close`.
    pub ends: bool,
}

/// Every route, with those that left the file, by [`RouteId::index`].
#[must_use]
pub fn park(fleet: &Fleet) -> Vec<ParkedRoute> {
    fleet.routes.iter().map(ParkedRoute::of).collect()
}

impl ServerMap {
    /// Takes over the previous process's counters and health. Routes and servers that are not in the file are treated
    /// as ones that a reload removed.
    pub fn take_up(fleet: &mut Fleet, parked: Vec<ParkedRoute>, spread: &mut Spread) -> ServerMap {
        let mut map = ServerMap::default();
        // As a reload does, remembers some of those that have left the file, the last ones.
        let has_left =
            |parked: &ParkedRoute, fleet: &Fleet| parked.is_unused && !fleet.known.contains_key(&parked.name);
        let mut left = parked.iter().filter(|parked| has_left(parked, fleet)).count();
        for parked in parked {
            if has_left(&parked, fleet) {
                left -= 1;
                if left >= MAX_REMEMBERED {
                    map.0.push(None);
                    continue;
                }
            }
            let id = fleet.known.get(&parked.name).copied().unwrap_or_else(|| {
                let config = Arc::new(config::Route::gone(&parked.name, parked.timeouts));
                fleet.append(Route { retired: true, ..Route::new(&config, spread) })
            });
            if let Some(route) = fleet.route_mut(id) {
                let servers = parked.take_up(route, spread);
                map.0.push(Some(MappedRoute { route: id, config: Arc::clone(&route.config), servers }));
            }
        }
        map
    }

    /// Where a connection goes on that the previous process has on server `server` of route `route`.
    #[must_use]
    pub fn find(&self, route: usize, server: ServerIndex) -> Option<MappedServer<'_>> {
        let mapped = self.0.get(route)?.as_ref()?;
        let seat = mapped.servers.get(server.index())?.as_ref()?;
        let id = ServerId { route: mapped.route, server: seat.server };
        Some(MappedServer { id, config: &mapped.config, ends: seat.ends })
    }

    /// The index in this process of the route with that index in the previous one.
    #[must_use]
    pub fn route(&self, index: usize) -> Option<RouteId> {
        self.0.get(index)?.as_ref().map(|mapped| mapped.route)
    }
}

impl ParkedRoute {
    fn of(route: &Route) -> ParkedRoute {
        let servers = ServerIndex::all().zip(&route.servers).map(|(index, server)| {
            let member = route.group.member(index);
            ParkedServer {
                name: (*server.name).into(),
                address: member.map(|member| member.server().address),
                traffic: server.traffic.clone(),
                usage: server.usage.clone(),
                health: member.map(|member| member.health().park()),
                set: member.map(|member| *member.set()).unwrap_or_default(),
                is_unused: member.is_none_or(|member| member.open() == 0),
            }
        });
        ParkedRoute {
            name: (*route.name).into(),
            timeouts: route.config.timeouts,
            closes_on_down: route.config.outage.on_down == OnDown::Close,
            unplaced: route.unplaced.clone(),
            usage: route.usage.clone(),
            most_queued: route.queue.most(),
            standing: (!route.retired).then(|| route.group.standing().clone()),
            own: route.own.as_ref().map(|own| own.park()),
            is_unused: route.open == 0 && route.own.as_ref().is_none_or(|own| own.open() == 0),
            servers: servers.collect(),
        }
    }

    fn take_up(self, route: &mut Route, spread: &mut Spread) -> Vec<Option<Seat>> {
        route.unplaced = self.unplaced;
        route.usage = self.usage;
        route.queue.remember(self.most_queued);
        if let Some(own) = self.own {
            route.own.get_or_insert_default().take_up(own);
        }
        let listed: HashSet<Box<str>> = route.group.members().map(|(_, member)| member.server().name.clone()).collect();
        let has_left = |server: &ParkedServer| server.is_unused && !listed.contains(&server.name);
        let mut left = self.servers.iter().filter(|server| has_left(server)).count();
        let mut seats = Vec::new();
        for server in self.servers {
            left -= usize::from(has_left(&server));
            if has_left(&server) && left >= MAX_REMEMBERED {
                route.unplaced += &server.traffic;
                seats.push(None);
            } else {
                seats.push(Some(server.take_up(route, self.closes_on_down, spread)));
            }
        }
        if let Some(standing) = self.standing.filter(|_| !route.retired) {
            route.group.take_up_standing(spread.now(), standing);
        }
        seats
    }
}

impl ParkedServer {
    fn take_up(self, route: &mut Route, closes: bool, spread: &mut Spread) -> Seat {
        let listed = route.group.members().find(|(_, member)| *member.server().name == *self.name);
        let listed = listed.map(|(index, member)| (index, Some(member.server().address) == self.address));
        let (index, is_same) = listed.unwrap_or_else(|| {
            let address = self.address.unwrap_or_else(|| (std::net::Ipv4Addr::UNSPECIFIED, 0).into());
            let server = config::Server::gone(&self.name, address);
            (route.group.remember(&server, &HealthCheck::off(), spread), false)
        });
        match self.health {
            Some(health) if is_same => route.group.take_up(spread.now(), index, health),
            Some(health) => route.group.take_up_counts(spread.now(), index, &health),
            None => {}
        }
        route.group.take_up_override(spread.now(), index, self.set);
        if let Some(server) = entry(&mut route.servers, index) {
            let name = (*self.name).into();
            *server = Server { name, traffic: self.traffic, usage: self.usage, ..Server::default() };
        }
        Seat { server: index, ends: listed.is_none() && closes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::policy::health::Checked;
    use crate::policy::time::Time;
    use crate::vocabulary::CheckResult;
    use std::time::Duration;

    fn config(routes: &[(&str, &str, &[&str])]) -> Config {
        let route = |(name, more, servers): &(&str, &str, &[&str])| {
            let servers: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
            format!(r#""{name}": {{ "sni": ["{name}.example"], {more} "servers": [{}] }}"#, servers.join(","))
        };
        let routes: Vec<_> = routes.iter().map(route).collect();
        config::parse("test", &format!(r#"{{ "listen": ["127.0.0.1:0"], "routes": {{ {} }} }}"#, routes.join(",")))
            .unwrap()
    }

    fn spread() -> Spread {
        Spread::new(Time::from_micros(7), 1)
    }

    fn find(fleet: &Fleet, name: &str) -> RouteId {
        fleet.find(None, Some(name.as_bytes()), std::iter::empty()).unwrap()
    }

    /// Takes a fleet over to a process with another configuration, by way of text.
    fn handed_over(fleet: &Fleet, config: &Config) -> (Fleet, ServerMap) {
        let text = serde_json::to_string(&park(fleet)).unwrap();
        let mut next = Fleet::new(config, &mut spread());
        let map = ServerMap::take_up(&mut next, serde_json::from_str(&text).unwrap(), &mut spread());
        (next, map)
    }

    /// Without this, a restart takes counters down, forgets that a server is down, or counts a connection on another's
    /// server.
    #[test]
    fn what_keeps_its_name_goes_on() {
        let before = config(&[("a", "", &["127.0.0.1:1", "127.0.0.1:2"]), ("b", "", &["127.0.0.1:3"])]);
        let mut fleet = Fleet::new(&before, &mut spread());
        let a = find(&fleet, "a.example");
        let second = ServerId { route: a, server: ServerIndex(1) };
        fleet.open(a, Time::ZERO);
        fleet.assign(second, None, Time::ZERO);
        fleet.connected(second, Duration::ZERO, Duration::from_millis(3));
        let failed =
            Checked { result: CheckResult::L4Connection, status: None, info: "refused".into(), took: Duration::ZERO };
        fleet.probe_started(second);
        fleet.report(Time::from_micros(5), second, failed).unwrap();

        let after = config(&[("b", "", &["127.0.0.1:3"]), ("a", "", &["127.0.0.1:2", "127.0.0.1:1"])]);
        let (mut next, map) = handed_over(&fleet, &after);
        let MappedServer { id, ends: false, .. } = map.find(a.index(), ServerIndex(1)).unwrap() else {
            panic!("it is listed")
        };
        assert_eq!(id, ServerId { route: find(&next, "a.example"), server: ServerIndex(0) });
        next.resume(id);
        let route = next.route(id.route).unwrap();
        assert_eq!((route.open(), next.open_now(id.route, Some(ServerIndex(0))).server), (1, 1));
        assert_eq!((route.usage().sessions.total(), route.traffic().connects), (1, 1));
        let health = route.group().member(ServerIndex(0)).unwrap().health();
        assert_eq!((health.is_up(), health.failures(), &*health.last().unwrap().info), (false, 1, "refused"));
        assert_eq!(health.standing().since(), Time::from_micros(5));
        assert!(route.group().member(ServerIndex(1)).unwrap().health().is_up());
        assert!(map.find(a.index(), ServerIndex(2)).is_none() && map.find(9, ServerIndex(0)).is_none());
    }

    /// Without this, a restart with a removed route cuts its connections off, or counts them on another route.
    #[test]
    fn what_left_the_file_keeps_its_connections() {
        let before = config(&[
            ("a", "", &["127.0.0.1:1", "127.0.0.1:2"]),
            ("b", r#""timeouts": { "tunnel": "7m" },"#, &["127.0.0.1:3"]),
            ("c", r#""on_down": "close","#, &["127.0.0.1:4"]),
        ]);
        let mut fleet = Fleet::new(&before, &mut spread());
        let ids = ["a.example", "b.example", "c.example"].map(|name| find(&fleet, name));
        for id in ids {
            fleet.open(id, Time::ZERO);
        }
        let (mut next, map) = handed_over(&fleet, &config(&[("a", "", &["127.0.0.1:2"])]));
        let MappedServer { id: gone, ends: false, .. } = map.find(ids[0].index(), ServerIndex(0)).unwrap() else {
            panic!("it goes on")
        };
        assert_eq!(gone.route, find(&next, "a.example"));
        assert!(next.listed(gone).is_none());
        assert_eq!(&*next.server(gone).unwrap().name, "127.0.0.1:1");
        let MappedServer { id: gone, ends: false, .. } = map.find(ids[1].index(), ServerIndex(0)).unwrap() else {
            panic!("it goes on")
        };
        next.resume(gone);
        let route = next.route(gone.route).unwrap();
        assert_eq!((&**route.name(), route.open()), ("b", 1));
        assert_eq!(route.config().timeouts.tunnel, Duration::from_mins(7));
        assert_eq!(next.routes().count(), 1);
        assert!(map.find(ids[2].index(), ServerIndex(0)).unwrap().ends);
        // Back in the file, it goes on in its own place.
        let (again, _) = handed_over(&next, &before);
        assert_eq!(again.route(find(&again, "b.example")).unwrap().usage().sessions.total(), 1);
    }
}
