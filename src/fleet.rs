//! Every route and every server as they are now: the configuration's word, policy's state, and the counters.
//!
//! Places in here outlive reloads: a session that began under an older configuration still finds its route and server.
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::config::{self, Config};
use crate::metrics::Traffic;
use crate::net::Key;
use crate::policy::health::Spread;
use crate::policy::routes::RouteTable;
use crate::policy::servers::Group;
use crate::policy::timers::Deadline;

/// Where a server stands. Valid as long as a connection counts on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    /// Index of its route.
    pub route: u32,
    /// Index within the route, the same as in its [`Group`].
    pub server: u32,
}

/// A route as it is now.
pub struct Route {
    /// The configuration's word on it; the last one, for a route that is gone.
    pub config: Rc<config::Route>,
    /// Its servers, and which of them is picked.
    pub group: Group,
    /// What the group does not need to know of its servers, under the same indices.
    pub servers: Vec<Server>,
    /// Counters of connections that ended without a server.
    pub unserved: Traffic,
    /// Connections that have this route now.
    pub open: u64,
    /// Most of them at once so far.
    pub most_open: u64,
    /// Sessions that wait until a server has room, first come first.
    pub queue: VecDeque<Key>,
    /// Not in the configuration any more.
    pub retired: bool,
}

/// A server, beside what its [`Group`] knows.
#[derive(Default)]
pub struct Server {
    /// Its counters.
    pub traffic: Traffic,
    /// The timer of its next probe.
    pub next_probe: Deadline,
    /// Whose counters these are.
    name: Box<str>,
}

/// All routes.
pub struct Fleet {
    table: RouteTable,
    /// Where the routes of the configuration, and so of `table`, stand in `routes`.
    places: Vec<u32>,
    routes: Vec<Route>,
}

impl Fleet {
    /// The routes of a first configuration.
    #[must_use]
    pub fn new(config: &Config, spread: &mut Spread) -> Fleet {
        let mut fleet = Fleet { table: RouteTable::default(), places: Vec::new(), routes: Vec::new() };
        fleet.reload(config, spread);
        fleet
    }

    /// Takes over another configuration. A route that keeps its name keeps its place and counters, and so does a server
    /// within it. A place whose last connection has gone is given to a new route.
    ///
    /// Answers the servers whose running probe means nothing now.
    pub fn reload(&mut self, config: &Config, spread: &mut Spread) -> Vec<ServerId> {
        let known: HashMap<Box<str>, u32> =
            (0..).zip(&self.routes).map(|(i, route)| (route.config.name.clone(), i)).collect();
        for route in &mut self.routes {
            route.retired = true;
        }
        self.places.clear();
        let mut changed = Vec::new();
        for new in &config.routes {
            let place = match known.get(&new.name) {
                Some(place) => {
                    changed.extend(self.update(*place, new, spread));
                    *place
                }
                None => self.add(Route::new(new, spread)),
            };
            self.places.push(place);
        }
        self.table = RouteTable::new(&config.routes);
        changed
    }

    fn update(&mut self, place: u32, new: &Rc<config::Route>, spread: &mut Spread) -> Vec<ServerId> {
        let Some(route) = self.routes.get_mut(place as usize) else { return Vec::new() };
        route.retired = false;
        route.config = Rc::clone(new);
        let changed = route.group.update(new, spread);
        route.name_servers();
        changed.into_iter().map(|server| ServerId { route: place, server }).collect()
    }

    fn add(&mut self, new: Route) -> u32 {
        let free = self.routes.iter().position(|route| route.retired && route.open == 0);
        if let Some((place, route)) = free.and_then(|place| Some((place, self.routes.get_mut(place)?))) {
            *route = new;
            return place as u32;
        }
        self.routes.push(new);
        (self.routes.len() - 1) as u32
    }

    /// The place of the route that a hello with this name and these protocols gets.
    pub fn find<'a>(&self, sni: Option<&[u8]>, alpn: impl Iterator<Item = &'a [u8]> + Clone) -> Option<u32> {
        self.places.get(self.table.find(sni, alpn)?.route).copied()
    }

    /// The route at a place.
    #[must_use]
    pub fn route(&self, place: u32) -> Option<&Route> {
        self.routes.get(place as usize)
    }

    /// The route at a place, to be changed.
    pub fn route_mut(&mut self, place: u32) -> Option<&mut Route> {
        self.routes.get_mut(place as usize)
    }

    /// The routes of the configuration with their places, in its order.
    pub fn routes(&self) -> impl Iterator<Item = (u32, &Route)> {
        self.places.iter().filter_map(|place| Some((*place, self.routes.get(*place as usize)?)))
    }

    /// All places with their routes, gone ones too, to be changed.
    pub fn routes_mut(&mut self) -> impl Iterator<Item = (u32, &mut Route)> {
        (0..).zip(&mut self.routes)
    }

    /// The counters of a server.
    pub fn traffic(&mut self, id: ServerId) -> Option<&mut Traffic> {
        Some(&mut self.routes.get_mut(id.route as usize)?.servers.get_mut(id.server as usize)?.traffic)
    }

    /// The configuration's word on a server.
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&config::Server> {
        Some(self.route(id.route)?.group.member(id.server)?.server())
    }
}

impl Route {
    fn new(config: &Rc<config::Route>, spread: &mut Spread) -> Route {
        let mut route = Route {
            config: Rc::clone(config),
            group: Group::new(config, spread),
            servers: Vec::new(),
            unserved: Traffic::default(),
            open: 0,
            most_open: 0,
            queue: VecDeque::new(),
            retired: false,
        };
        route.name_servers();
        route
    }

    /// Gives every server its counters; a place that went to another server begins anew.
    fn name_servers(&mut self) {
        for (index, member) in self.group.members() {
            let index = index as usize;
            if self.servers.len() <= index {
                self.servers.resize_with(index + 1, Server::default);
            }
            let Some(server) = self.servers.get_mut(index) else { continue };
            if server.name != member.server().name {
                *server = Server { name: member.server().name.clone(), ..Server::default() };
            }
        }
    }
}
