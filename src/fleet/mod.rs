//! Every route and server as they are now: configuration, policy state and counters.
//!
//! Indices outlive reloads: a session that began under an older configuration still finds its route and server.
mod frontends;
mod ledger;
mod parked;
mod queue;
mod takeover;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::metrics::{Traffic, Usage};
use crate::policy::health::{Change, Checked, Spread};
use crate::policy::routes::RouteTable;
use crate::policy::servers::{Group, Member, Override, Rise, ServerIndex, Updated};
use crate::policy::time::Time;
use crate::policy::timers::Deadline;
pub use frontends::Own;
pub use ledger::{Closing, Open};
pub use parked::{MappedServer, ServerMap, park};
pub use queue::Queue;
pub use takeover::Takeover;

/// The index of a route. Valid as long as a connection has the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(u32);

/// The index of a server. Valid as long as a connection counts on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    /// The server's route.
    pub route: RouteId,
    /// Its index within the route, as in its [`Group`].
    pub server: ServerIndex,
}

/// The effects of another configuration on known servers.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Servers whose running probe no longer counts.
    pub outdated: Vec<ServerId>,
    /// Servers that were down and are up now.
    pub risen: Vec<(ServerId, Rise)>,
    /// Routes that are new or have changed.
    pub changed: Vec<RouteId>,
    /// Open connections to servers that left the file.
    pub orphans: u64,
}

impl Reloaded {
    fn add(&mut self, route: RouteId, updated: Updated) {
        self.outdated.extend(updated.outdated.into_iter().map(|server| ServerId { route, server }));
        self.orphans += updated.orphans;
        self.risen.extend(updated.risen.into_iter().map(|(server, why)| (ServerId { route, server }, why)));
    }
}

/// A route as it is now.
pub struct Route {
    config: Arc<config::Route>,
    name: Rc<str>,
    /// Its servers, and the choice among them.
    group: Group,
    /// Counters of its servers, by the same indices as in the group.
    servers: Vec<Server>,
    /// Counters without a server: of connections that ended before they had one, and of servers that are gone.
    unplaced: Traffic,
    usage: Usage,
    /// Current connections.
    open: u64,
    queue: Queue,
    /// The state of its own addresses, once it has had some.
    own: Option<Box<Own>>,
    /// Whether it left the file.
    retired: bool,
}

/// The counters of a server; its [`Group`] has the rest.
#[derive(Default)]
pub struct Server {
    traffic: Traffic,
    usage: Usage,
    next_probe: Deadline,
    name: Rc<str>,
    /// When it last answered a hello with bytes that are not TLS.
    last_not_tls: Option<Time>,
}

impl RouteId {
    /// Its index among all routes, with those that left the file.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All routes.
pub struct Fleet {
    table: RouteTable,
    /// Routes by name for plain HTTP requests; empty if no route takes any.
    hosts: RouteTable,
    /// The routes that own addresses.
    owners: HashMap<Box<str>, RouteId>,
    /// Current clients at addresses of routes.
    at_owners: u64,
    /// The index in `routes` of each route of the configuration, and so of each index in `table`.
    configured: Vec<RouteId>,
    routes: Vec<Route>,
    /// The index of every route, by name.
    known: HashMap<Box<str>, RouteId>,
    /// Routes whose queue may move: a server may have room, or came up or went down.
    roomy: Vec<RouteId>,
    /// Routes that lost their last server or have one again.
    changed_routes: Vec<RouteId>,
}

impl Fleet {
    /// The routes of the first configuration.
    #[must_use]
    pub fn new(config: &Config, spread: &mut Spread) -> Fleet {
        let (table, hosts, owners, at_owners, configured, routes, known, roomy, changed_routes) = Default::default();
        let mut fleet = Fleet { table, hosts, owners, at_owners, configured, routes, known, roomy, changed_routes };
        fleet.reload(config, spread);
        fleet
    }

    /// Applies another configuration at once.
    pub fn reload(&mut self, config: &Config, spread: &mut Spread) -> Reloaded {
        let (mut takeover, mut reloaded) = (Takeover::of(config), Reloaded::default());
        while !takeover.go_on(self, config, usize::MAX, spread, &mut reloaded) {}
        reloaded
    }

    /// The route of a hello with this name and these protocols that came in at the addresses of `frontend`.
    pub fn find<'a>(
        &self,
        frontend: Option<RouteId>,
        sni: Option<&[u8]>,
        alpn: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<RouteId> {
        let table = match frontend {
            None => &self.table,
            Some(id) => self.table_at(id)?,
        };
        self.configured.get(table.find(sni, alpn)?.route).copied()
    }

    /// A route; one that left the file too, while it has connections.
    #[must_use]
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id.0 as usize)
    }

    /// Appends a new route.
    fn append(&mut self, new: Route) -> RouteId {
        let id = RouteId(self.routes.len() as u32);
        self.known.insert(new.config.name.clone(), id);
        self.routes.push(new);
        id
    }

    fn route_mut(&mut self, id: RouteId) -> Option<&mut Route> {
        self.routes.get_mut(id.0 as usize)
    }

    /// The routes of the configuration, in its order.
    pub fn routes(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        self.configured.iter().filter_map(|id| Some((*id, self.route(*id)?)))
    }

    /// The index of each route of the configuration.
    #[must_use]
    pub fn order(&self) -> Order {
        let mut order = vec![None; self.routes.len()];
        for (index, id) in self.configured.iter().enumerate() {
            if let Some(entry) = order.get_mut(id.0 as usize) {
                *entry = Some(index);
            }
        }
        Order(order)
    }

    /// The configuration of a server.
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&config::Server> {
        Some(self.route(id.route)?.group.member(id.server)?.server())
    }

    /// A server of the configuration; `None` if it left the file.
    #[must_use]
    pub fn listed(&self, id: ServerId) -> Option<&Member> {
        let route = self.route(id.route).filter(|route| !route.retired)?;
        route.group.member(id.server).filter(|member| !member.is_retired())
    }

    /// The timer of a server's next probe.
    pub fn probe_timer(&mut self, id: ServerId) -> Option<&mut Deadline> {
        Some(&mut self.route_mut(id.route)?.servers.get_mut(id.server.index())?.next_probe)
    }

    /// The server of the configuration with these names.
    #[must_use]
    pub fn named(&self, route: &str, server: &str) -> Option<ServerId> {
        let (id, route) = self.routes().find(|(_, now)| &*now.config.name == route)?;
        let (index, _) = route.group.members().find(|(_, member)| *member.server().name == *server)?;
        Some(ServerId { route: id, server: index })
    }

    /// Applies an operator's settings of a server. Answers whether it went down or came up.
    pub fn set(&mut self, id: ServerId, set: Override, now: Time) -> Option<Change> {
        let change = self.change(id.route, |route| route.group.set(now, id.server, set))?;
        self.note_room(id.route);
        change
    }

    /// Makes a change after which the route may have lost its last server or have one again, and notes that.
    fn change<T>(&mut self, id: RouteId, change: impl FnOnce(&mut Route) -> T) -> Option<T> {
        let route = self.route_mut(id)?;
        let before = route.group.standing().is_up();
        let answer = change(route);
        if route.group.standing().is_up() != before {
            self.changed_routes.push(id);
        }
        Some(answer)
    }

    /// The routes that have changed so since the last call.
    pub fn take_changed_routes(&mut self) -> Vec<RouteId> {
        std::mem::take(&mut self.changed_routes)
    }

    /// Calls `arm` for every probed server, with the timer and the time of its next probe.
    pub fn schedule_probes(&mut self, mut arm: impl FnMut(ServerId, &mut Deadline, Time)) {
        for id in ids().take(self.routes.len()) {
            self.schedule_probes_of(id, &mut arm);
        }
    }

    /// The same for the servers of a route.
    pub fn schedule_probes_of(&mut self, id: RouteId, mut arm: impl FnMut(ServerId, &mut Deadline, Time)) {
        let Some(route) = self.route_mut(id) else { return };
        for (index, server) in ServerIndex::all().zip(&mut route.servers) {
            if let Some(at) = route.group.member(index).and_then(Member::next_probe) {
                arm(ServerId { route: id, server: index }, &mut server.next_probe, at);
            }
        }
    }

    /// Notes the start of a server's probe.
    pub fn probe_started(&mut self, id: ServerId) {
        if let Some(route) = self.route_mut(id.route) {
            route.group.probe_started(id.server);
        }
    }

    /// Notes the end of a server's probe without a verdict. Answers whether it is the first in a row.
    pub fn no_verdict(&mut self, id: ServerId) -> bool {
        self.route_mut(id.route).is_some_and(|route| route.group.no_verdict(id.server))
    }

    /// Takes the verdict of a server's probe. Answers whether the server went down or came up.
    pub fn report(&mut self, now: Time, id: ServerId, checked: Checked) -> Option<Change> {
        let change = self.change(id.route, |route| route.group.report(now, id.server, checked))??;
        self.note_room(id.route);
        Some(change)
    }
}

/// The index of each route in the configuration.
pub struct Order(Vec<Option<usize>>);

impl Order {
    /// The index of a route in the configuration; `None` if it left the file.
    #[must_use]
    pub fn of(&self, id: RouteId) -> Option<usize> {
        self.0.get(id.0 as usize).copied().flatten()
    }
}

fn ids() -> impl Iterator<Item = RouteId> {
    (0..).map(RouteId)
}

impl Route {
    fn new(config: &Arc<config::Route>, spread: &mut Spread) -> Route {
        let mut route = Route {
            config: Arc::clone(config),
            group: Group::new(config, spread),
            servers: Vec::new(),
            unplaced: Traffic::default(),
            usage: Usage::default(),
            open: 0,
            queue: Queue::default(),
            own: None,
            retired: false,
            name: (&*config.name).into(),
        };
        route.name_servers();
        route
    }

    /// Its configuration; of a route that left the file, the last one.
    #[must_use]
    pub fn config(&self) -> &Arc<config::Route> {
        &self.config
    }

    /// Its name; snapshots share the string.
    #[must_use]
    pub fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// Its servers: which of them are up, and what each has open.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Name and counters of the server with an index of the group.
    #[must_use]
    pub fn server(&self, index: ServerIndex) -> Option<&Server> {
        self.servers.get(index.index())
    }

    /// Current connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Sessions that wait until a server has room.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The state of its own addresses, once it has had some.
    #[must_use]
    pub fn own(&self) -> Option<&Own> {
        self.own.as_deref()
    }

    /// How it is used.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The counters of all its connections.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut traffic = self.unplaced.clone();
        for server in &self.servers {
            traffic += &server.traffic;
        }
        traffic
    }

    /// Gives every server its counters. An index that went to another server starts from zero, and the route keeps the
    /// old count.
    fn name_servers(&mut self) {
        for (index, member) in self.group.members() {
            let Some(server) = entry(&mut self.servers, index) else { continue };
            if *server.name != *member.server().name {
                self.unplaced += &server.traffic;
                *server = Server { name: (&*member.server().name).into(), ..Server::default() };
            }
        }
    }
}

/// The entry of the server with an index of the group, made if it is not there yet.
fn entry(servers: &mut Vec<Server>, index: ServerIndex) -> Option<&mut Server> {
    let index = index.index();
    if servers.len() <= index {
        servers.resize_with(index + 1, Server::default);
    }
    servers.get_mut(index)
}

impl Server {
    /// The server's counters.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How it is used.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Its name; snapshots share the string.
    #[must_use]
    pub fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// When it last answered a hello with bytes that are not TLS.
    #[must_use]
    pub fn last_not_tls(&self) -> Option<Time> {
        self.last_not_tls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::time::Time;

    fn config(routes: &[(&str, &[&str])]) -> Config {
        let route = |(name, servers): &(&str, &[&str])| {
            let servers: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
            format!(r#""{name}": {{ "sni": ["{name}.example"], "servers": [{}] }}"#, servers.join(","))
        };
        let routes: Vec<_> = routes.iter().map(route).collect();
        config::parse("test", &format!(r#"{{ "listen": ["127.0.0.1:0"], "routes": {{ {} }} }}"#, routes.join(",")))
            .unwrap()
    }

    fn find(fleet: &Fleet, name: &str) -> Option<RouteId> {
        fleet.find(None, Some(name.as_bytes()), std::iter::empty())
    }

    /// Without this, a reload loses counters, or counts one route's connections on another.
    #[test]
    fn a_reload_keeps_what_keeps_its_name() {
        let mut spread = Spread::new(Time::ZERO, 1);
        let mut fleet = Fleet::new(&config(&[("a", &["127.0.0.1:1"]), ("b", &["127.0.0.1:2"])]), &mut spread);
        let (a, b) = (find(&fleet, "a.example").unwrap(), find(&fleet, "b.example").unwrap());
        fleet.route_mut(b).unwrap().open = 1;
        fleet.route_mut(b).unwrap().servers[0].traffic.connects = 7;
        fleet.route_mut(a).unwrap().unplaced.connect_errors = 5;

        fleet.reload(&config(&[("c", &["127.0.0.1:3"]), ("b", &["127.0.0.1:9", "127.0.0.1:2"])]), &mut spread);
        assert_eq!(find(&fleet, "a.example"), None);
        assert_eq!(find(&fleet, "b.example"), Some(b));
        let c = find(&fleet, "c.example").unwrap();
        assert_eq!(fleet.route(b).unwrap().servers[0].traffic.connects, 7);
        assert_eq!(&*fleet.server(ServerId { route: b, server: ServerIndex(0) }).unwrap().name, "127.0.0.1:2");
        assert_eq!(fleet.routes().map(|(place, _)| place).collect::<Vec<_>>(), [c, b]);

        fleet.reload(&config(&[("a", &["127.0.0.1:1"])]), &mut spread);
        assert_eq!(fleet.route(find(&fleet, "a.example").unwrap()).unwrap().traffic().connect_errors, 5);
    }

    /// Without this, every reload with new names takes memory for good, or moves a connection or probe to another
    /// route.
    #[test]
    fn indices_are_used_again() {
        let mut spread = Spread::new(Time::ZERO, 1);
        let mut fleet = Fleet::new(&config(&[("busy", &["127.0.0.1:1"])]), &mut spread);
        fleet.route_mut(RouteId(0)).unwrap().open = 1;
        for n in 0..100 {
            fleet.reload(&config(&[(&format!("r{n}"), &["127.0.0.1:4"])]), &mut spread);
        }
        assert_eq!(fleet.routes.len(), 3 + takeover::MAX_REMEMBERED);
        // A probe of the server that was there before would else be taken for one of the new server.
        let changed = fleet.reload(&config(&[("last", &["127.0.0.1:5"])]), &mut spread);
        assert_eq!(
            changed.outdated,
            [ServerId { route: find(&fleet, "last.example").unwrap(), server: ServerIndex(0) }]
        );
        assert_eq!(&*fleet.route(RouteId(0)).unwrap().config.name, "busy");
    }

    /// Without this, a server inherits the counters of the one whose slot it got, or a route's counters go down.
    #[test]
    fn a_server_in_a_free_place_begins_anew() {
        let mut spread = Spread::new(Time::ZERO, 1);
        let mut fleet = Fleet::new(&config(&[("a", &["127.0.0.1:1"])]), &mut spread);
        let a = find(&fleet, "a.example").unwrap();
        for port in 2..100 {
            let route = fleet.route_mut(a).unwrap();
            let (last, _) = route.group.members().last().unwrap();
            route.servers[last.index()].traffic.connects += 1;
            route.unplaced.connect_errors += 1;
            fleet.reload(&config(&[("a", &[&format!("127.0.0.1:{port}")])]), &mut spread);
            let route = fleet.route(a).unwrap();
            let (last, _) = route.group.members().last().unwrap();
            assert_eq!(route.servers[last.index()].traffic.connects, 0);
            assert_eq!((route.traffic().connects, route.traffic().connect_errors), (port - 1, port - 1));
        }
    }
}
