//! Applies another configuration a few routes a turn: a file may have any number of routes, and open connections must
//! not wait for all of them.
use std::collections::HashSet;
use std::sync::Arc;

use super::{Fleet, Reloaded, Route, RouteId, ServerId};
use crate::config::{self, Config};
use crate::policy::health::Spread;
use crate::policy::routes::RouteTable;
use crate::policy::servers::ServerIndex;

/// Routes that left the file and keep their index and counters, in case they come back.
pub(super) const MAX_REMEMBERED: usize = 32;

/// A configuration's routes, prepared for the fleet. Preparing takes time and needs no fleet.
pub struct Takeover {
    routes: Vec<Arc<config::Route>>,
    names: HashSet<Box<str>>,
    table: RouteTable,
    /// How many indices were checked for routes that left the file; `None`: all.
    looked: Option<usize>,
    /// Indices of such routes that can be reused.
    free: Vec<RouteId>,
    /// The indices of the first of `routes`.
    configured: Vec<RouteId>,
}

impl Takeover {
    /// Prepares a whole configuration.
    #[must_use]
    pub fn of(config: &Config) -> Takeover {
        Takeover {
            names: config.routes.iter().map(|route| route.name.clone()).collect(),
            table: RouteTable::new(&config.routes, &[]),
            routes: config.routes.clone(),
            looked: Some(0),
            free: Vec::new(),
            configured: Vec::with_capacity(config.routes.len()),
        }
    }
    /// Applies the next `most` routes of `config`. Answers whether that was the last of them. Until then hellos get the
    /// routes of the old configuration.
    ///
    /// A route that keeps its name keeps its index and counters, and so does a server within it. Indices whose last
    /// connection has gone are reused, except for some that are remembered.
    pub fn go_on(
        &mut self,
        fleet: &mut Fleet,
        config: &Config,
        most: usize,
        spread: &mut Spread,
        reloaded: &mut Reloaded,
    ) -> bool {
        let left = self.retire(fleet, most, &mut reloaded.orphans);
        let first = self.configured.len();
        let last = first.saturating_add(left).min(self.routes.len());
        for index in first..last {
            let Some(new) = self.routes.get(index).cloned() else { break };
            let id = self.adopt(fleet, &new, spread, reloaded);
            self.configured.push(id);
        }
        let is_finished = left > 0 && last == self.routes.len();
        if is_finished {
            // The old table and indices go with this struct: dropping them takes long, and the caller chooses when.
            std::mem::swap(&mut fleet.table, &mut self.table);
            std::mem::swap(&mut fleet.configured, &mut self.configured);
            fleet.own_addresses(config);
        }
        is_finished
    }

    /// Checks which routes left the file, and counts their servers' connections. Answers how many of `most` are left.
    fn retire(&mut self, fleet: &mut Fleet, most: usize, orphans: &mut u64) -> usize {
        let Some(first) = self.looked else { return most };
        let last = first.saturating_add(most).min(fleet.routes.len());
        for (index, route) in (first..).zip(fleet.routes.get_mut(first..last).unwrap_or_default()) {
            // A route of the configuration still gets hellos until the end, so its index can be reused only next time.
            let was_retired = std::mem::replace(&mut route.retired, !self.names.contains(&*route.config.name));
            if route.retired && !was_retired {
                *orphans += route.group.members().map(|(_, member)| u64::from(member.open())).sum::<u64>();
            }
            if was_retired && route.retired && route.open == 0 && route.own.as_ref().is_none_or(|own| own.open() == 0) {
                self.free.push(RouteId(index as u32));
            }
        }
        self.looked = (last < fleet.routes.len()).then_some(last);
        if self.looked.is_none() {
            self.free.truncate(self.free.len().saturating_sub(MAX_REMEMBERED));
        }
        most - (last - first)
    }

    fn adopt(
        &mut self,
        fleet: &mut Fleet,
        new: &Arc<config::Route>,
        spread: &mut Spread,
        reloaded: &mut Reloaded,
    ) -> RouteId {
        if let Some(id) = fleet.known.get(&new.name).copied() {
            if fleet.route(id).is_some_and(|route| !Arc::ptr_eq(&route.config, new)) {
                let updated = fleet.change(id, |route| {
                    route.config = Arc::clone(new);
                    let updated = route.group.update(new, spread);
                    route.name_servers();
                    updated
                });
                reloaded.add(id, updated.unwrap_or_default());
                // A server that is new, or has a higher limit, has room.
                fleet.roomy.push(id);
                reloaded.changed.push(id);
            }
            return id;
        }
        let id = self.add(fleet, Route::new(new, spread), reloaded);
        reloaded.changed.push(id);
        id
    }

    /// Puts a new route at a free index, or at the end.
    fn add(&mut self, fleet: &mut Fleet, new: Route, reloaded: &mut Reloaded) -> RouteId {
        while let Some(id) = self.free.pop() {
            let Some(route) = fleet.routes.get_mut(id.0 as usize) else { continue };
            let servers = ServerIndex::all().take(route.servers.len());
            reloaded.outdated.extend(servers.map(|server| ServerId { route: id, server }));
            fleet.known.remove(&route.config.name);
            fleet.known.insert(new.config.name.clone(), id);
            *route = new;
            return id;
        }
        fleet.append(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::time::Time;

    fn config(routes: impl Iterator<Item = String>) -> Config {
        let routes: Vec<_> = routes
            .map(|name| format!(r#""{name}": {{ "sni": ["{name}.test"], "servers": ["127.0.0.1:1"] }}"#))
            .collect();
        config::parse("test", &format!(r#"{{ "listen": ["127.0.0.1:0"], "routes": {{ {} }} }}"#, routes.join(",")))
            .unwrap()
    }

    fn find(fleet: &Fleet, name: &str) -> Option<String> {
        let id = fleet.find(None, Some(name.as_bytes()), std::iter::empty())?;
        Some(fleet.route(id)?.name().to_string())
    }

    /// Without this, a large file stops the loop while it is taken over, or a hello is routed by half of a new file.
    #[test]
    fn a_few_routes_at_a_time_and_hellos_get_the_old_ones_until_the_last() {
        let spread = &mut Spread::new(Time::ZERO, 1);
        let before = config((0..100).map(|n| format!("r{n}")));
        let mut fleet = Fleet::new(&before, spread);
        let mut after = config((50..150).map(|n| format!("r{n}")));
        for route in &mut after.routes {
            if let Some(same) = before.routes.iter().find(|before| **before == *route) {
                *route = Arc::clone(same);
            }
        }
        let (mut takeover, mut changed, mut calls) = (Takeover::of(&after), 0, 1);
        loop {
            let mut reloaded = Reloaded::default();
            let is_finished = takeover.go_on(&mut fleet, &after, 7, spread, &mut reloaded);
            assert!(reloaded.changed.len() <= 7);
            changed += reloaded.changed.len();
            if is_finished {
                break;
            }
            assert_eq!(find(&fleet, "r0.test").as_deref(), Some("r0"));
            assert_eq!(find(&fleet, "r149.test"), None);
            calls += 1;
        }
        assert_eq!(calls, 200_usize.div_ceil(7));
        assert_eq!(changed, 50, "those that were there before are what they were");
        assert_eq!(find(&fleet, "r0.test"), None);
        assert_eq!(find(&fleet, "r50.test").as_deref(), Some("r50"));
        assert_eq!(find(&fleet, "r149.test").as_deref(), Some("r149"));
    }
}
