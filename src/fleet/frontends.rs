//! Routes with their own addresses. Each is a frontend too, with its own table of names and its own counters.
use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Fleet, RouteId};
use crate::config::Config;
use crate::metrics::Frontend;
use crate::policy::routes::RouteTable;
use crate::policy::time::Time;
use crate::vocabulary::{CloseReason, DropReason};

/// The state of a route's own addresses.
#[derive(Default)]
pub struct Own {
    /// The names that apply there: of the route, and of those that share its addresses.
    table: RouteTable,
    counters: Frontend,
    /// Clients dropped before they had a route, by [`DropReason::index`].
    drops: [u64; DropReason::ALL.len()],
    /// Current clients.
    open: u64,
}

/// The part of it that the next process goes on with; drops are keyed by the names of their reasons.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ParkedOwn {
    counters: Frontend,
    drops: BTreeMap<String, u64>,
}

impl Own {
    pub(super) fn park(&self) -> ParkedOwn {
        let drops = DropReason::ALL.iter().map(|reason| reason.name().to_owned()).zip(self.drops);
        ParkedOwn { counters: self.counters.clone(), drops: drops.collect() }
    }

    pub(super) fn take_up(&mut self, parked: ParkedOwn) {
        self.counters = parked.counters;
        for (reason, count) in DropReason::ALL.iter().zip(&mut self.drops) {
            *count = parked.drops.get(reason.name()).copied().unwrap_or_default();
        }
    }

    pub(super) fn table(&self) -> &RouteTable {
        &self.table
    }

    /// Current clients.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open
    }

    /// The counters of the frontend.
    #[must_use]
    pub fn counters(&self) -> &Frontend {
        &self.counters
    }

    /// Clients dropped before they had a route, by [`DropReason::index`].
    #[must_use]
    pub fn drops(&self) -> &[u64] {
        &self.drops
    }
}

impl Fleet {
    /// Builds the tables of the routes that own addresses in `config`. A route that owned some before keeps its
    /// counters; it keeps its table while it has clients there. Builds the table of plain HTTP hosts, too.
    pub(super) fn own_addresses(&mut self, config: &Config) {
        let takes_http = config.routes.iter().any(|route| route.http.is_some());
        self.hosts = if takes_http { RouteTable::of_hosts(&config.routes) } else { RouteTable::default() };
        self.owners.clear();
        for (listen, routes) in config.by_listen() {
            let (false, Some((index, owner))) = (listen.is_empty(), routes.first()) else { continue };
            let Some(id) = self.configured.get(*index).copied() else { continue };
            let name = owner.name.clone();
            if let Some(route) = self.route_mut(id) {
                route.own.get_or_insert_default().table = RouteTable::of(routes);
                self.owners.insert(name, id);
            }
        }
        let owners: HashSet<RouteId> = self.owners.values().copied().collect();
        for (id, route) in super::ids().zip(&mut self.routes) {
            // Indices of another configuration are meaningless here.
            if let Some(own) = route.own.as_mut().filter(|_| !owners.contains(&id)) {
                own.table = RouteTable::default();
            }
        }
    }

    /// The route of that name, if it owns addresses, or has owned some.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<RouteId> {
        let had =
            || self.known.get(name).copied().filter(|id| self.route(*id).is_some_and(|route| route.own.is_some()));
        self.owners.get(name).copied().or_else(had)
    }

    /// The names that apply at the addresses of `frontend`, whose client may have come before a reload gave these addresses to
    /// another of their routes.
    pub(super) fn table_at(&self, frontend: RouteId) -> Option<&RouteTable> {
        let route = self.route(frontend)?;
        let listen = &route.config.listen;
        let owns = |id: &&RouteId| self.route(**id).is_some_and(|owner| owner.config.listen == *listen);
        let owner = match self.owners.get(&*route.name) {
            Some(_) => route,
            None => self.owners.values().find(owns).and_then(|id| self.route(*id)).unwrap_or(route),
        };
        Some(owner.own.as_ref()?.table())
    }

    /// The route that takes every client at the addresses of `frontend`; `None` if it routes by name.
    #[must_use]
    pub fn takes_all(&self, frontend: Option<RouteId>) -> Option<RouteId> {
        frontend.filter(|id| self.route(*id).is_some_and(|route| route.config.sni.is_empty()))
    }

    /// The route of a plain HTTP request with this Host and path, and the port of its servers for that.
    #[must_use]
    pub fn takes_http(&self, host: &str, path: &str) -> Option<(RouteId, u16)> {
        let found = self.hosts.find(Some(host.as_bytes()), std::iter::empty())?;
        let id = *self.configured.get(found.route)?;
        let http = self.route(id)?.config.http.as_ref()?;
        let is_taken = http.paths.iter().any(|start| path.starts_with(&**start));
        is_taken.then_some((id, http.port))
    }

    /// Current clients at addresses of routes.
    #[must_use]
    pub fn at_owners(&self) -> u64 {
        self.at_owners
    }

    /// Clients dropped for one of these reasons at addresses of routes, those that have left the file among them.
    #[must_use]
    pub fn dropped_at_owners(&self, reasons: &[DropReason]) -> u64 {
        let owns = self.routes.iter().filter_map(|route| route.own.as_deref());
        owns.flat_map(|own| reasons.iter().filter_map(|reason| own.drops.get(reason.index()))).sum()
    }

    /// Counts a client at the addresses of `id`.
    pub fn come_in(&mut self, id: RouteId, now: Time) {
        self.at_owners += 1;
        if let Some(own) = self.own_mut(id) {
            own.open += 1;
            own.counters.accepted(now, own.open);
        }
    }

    /// Counts a client of the previous process at these addresses.
    pub fn resume_at(&mut self, id: RouteId) {
        self.at_owners += 1;
        if let Some(route) = self.route_mut(id) {
            route.own.get_or_insert_default().open += 1;
        }
    }

    /// Counts a client at these addresses whose source is over its limits.
    pub fn note_over_limits(&mut self, id: RouteId) {
        if let Some(own) = self.own_mut(id) {
            own.counters.over_limits += 1;
        }
    }

    /// Counts the end of a client at these addresses.
    pub fn go_out(&mut self, id: RouteId, reason: CloseReason, is_denied: bool, [bytes_up, bytes_down]: [u64; 2]) {
        debug_assert!(self.at_owners > 0, "a client is counted off twice");
        self.at_owners = self.at_owners.saturating_sub(1);
        let Some(own) = self.own_mut(id) else { return };
        own.open = own.open.saturating_sub(1);
        own.counters.ended(bytes_up, bytes_down, is_denied);
        if let CloseReason::Dropped(reason) = reason
            && let Some(drops) = own.drops.get_mut(reason.index())
        {
            *drops += 1;
        }
    }

    fn own_mut(&mut self, id: RouteId) -> Option<&mut Own> {
        self.route_mut(id)?.own.as_deref_mut()
    }
}
