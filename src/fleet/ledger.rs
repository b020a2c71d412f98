//! What is counted of a connection. Nothing else writes these counters, so none is counted twice or only half.
use std::net::IpAddr;
use std::time::Duration;

use super::{Fleet, Route, RouteId, Server, ServerId};
use crate::metrics::Traffic;
use crate::net::Key;
use crate::policy::servers::{Pick, ServerIndex};
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;

/// The shortest time between two log lines about one server that answers with bytes that are not TLS.
const NOT_TLS_PACE: Duration = Duration::from_hours(1);

/// The end of a connection that had a route.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// The server that it counts on.
    pub server: Option<ServerIndex>,
    /// Why.
    pub reason: CloseReason,
    /// Bytes from the client, without the PROXY header.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
    /// How long the connection lasted; `None`: it never reached a server.
    pub lasted: Option<Duration>,
}

/// Current connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Of the route.
    pub route: u64,
    /// Of the server.
    pub server: u64,
}

impl Fleet {
    /// Counts a connection that has its route.
    pub fn open(&mut self, id: RouteId, now: Time) {
        let Some(route) = self.route_mut(id) else { return };
        route.open += 1;
        route.usage.opened(now, route.open);
    }

    /// Counts an open connection of the previous process, which has counted its start.
    pub fn reopen(&mut self, id: RouteId) {
        let Some(route) = self.route_mut(id) else { return };
        route.open += 1;
    }

    /// Counts such a connection that has its server.
    pub fn resume(&mut self, id: ServerId) {
        self.reopen(id.route);
        let Some(route) = self.route_mut(id.route) else { return };
        route.group.opened(id.server);
    }

    /// Picks a server for a connection from `client`, other than those in `tried`. The caller dials it and must call
    /// [`Fleet::assign`] before the next pick.
    pub fn pick(&mut self, id: RouteId, client: IpAddr, tried: &[ServerIndex]) -> Pick {
        self.route_mut(id).map_or(Pick::NoServer, |route| route.group.pick(client, tried))
    }

    /// Begins an attempt to connect to a server. The connection counts on that server from now on. `last` is the server
    /// of the previous attempt.
    pub fn assign(&mut self, id: ServerId, last: Option<ServerIndex>, now: Time) {
        let Some(route) = self.route_mut(id.route) else { return };
        route.group.opened(id.server);
        let open = route.group.member(id.server).map_or(0, |member| u64::from(member.open()));
        if let Some(Server { traffic, usage, .. }) = route.servers.get_mut(id.server.index()) {
            traffic.connects += 1;
            traffic.balanced += u64::from(last != Some(id.server));
            usage.opened(now, open);
        }
        if let Some(last) = last {
            let traffic = route.traffic_mut(Some(last));
            traffic.retries += u64::from(last == id.server);
            traffic.redispatches += u64::from(last != id.server);
        }
    }

    /// Counts a connect that succeeded.
    pub fn connected(&mut self, id: ServerId, queued: Duration, connect: Duration) {
        let Some(route) = self.route_mut(id.route) else { return };
        route.usage.connected(queued, connect);
        if let Some(server) = route.servers.get_mut(id.server.index()) {
            server.usage.connected(queued, connect);
        }
    }

    /// Counts an answer to a hello that is not TLS. Answers whether to log it.
    pub fn not_tls(&mut self, id: ServerId, now: Time) -> bool {
        let server = self.route_mut(id.route).and_then(|route| route.servers.get_mut(id.server.index()));
        let Some(server) = server else { return false };
        server.traffic.not_tls += 1;
        server.last_not_tls.replace(now).is_none_or(|last| now.since(last) >= NOT_TLS_PACE)
    }

    /// Uncounts the connection on its server, whose room may go to a waiting one.
    pub fn release(&mut self, id: ServerId) {
        if let Some(route) = self.route_mut(id.route) {
            route.group.closed(id.server);
        }
        self.note_room(id.route);
    }

    /// Counts the end of the connection.
    pub fn close(&mut self, id: RouteId, closing: &Closing) {
        if let Some(server) = closing.server {
            self.release(ServerId { route: id, server });
        }
        let Some(route) = self.route_mut(id) else { return };
        debug_assert!(route.open > 0, "a connection is counted off twice");
        route.open = route.open.saturating_sub(1);
        if let Some(lasted) = closing.lasted {
            route.usage.total_time.add(lasted);
            if let Some(server) = closing.server.and_then(|server| route.servers.get_mut(server.index())) {
                server.usage.total_time.add(lasted);
            }
        }
        let Closing { reason, bytes_up, bytes_down, .. } = *closing;
        route.traffic_mut(closing.server).closed(reason, bytes_up, bytes_down);
    }

    /// Queues a session until a server of its route has room. Answers how many are ahead of it.
    pub fn wait(&mut self, id: RouteId, key: Key) -> u64 {
        self.route_mut(id).map_or(0, |route| route.queue.join(key))
    }

    /// Takes a session out of the queue.
    pub fn quit(&mut self, id: RouteId, key: Key) {
        if let Some(route) = self.route_mut(id) {
            route.queue.quit(key);
        }
    }

    /// Takes the session out that has waited longest, of the routes that have a server with room.
    pub fn next_with_room(&mut self) -> Option<Key> {
        while let Some(id) = self.roomy.last().copied() {
            if let Some(route) = self.route_mut(id)
                && !route.group.is_full()
                && let Some(key) = route.queue.pop()
            {
                return Some(key);
            }
            self.roomy.pop();
        }
        None
    }

    /// Notes that a server of a route may have room, or came up or went down.
    pub(super) fn note_room(&mut self, id: RouteId) {
        if self.route(id).is_some_and(|route| !route.queue.is_empty()) {
            self.roomy.push(id);
        }
    }

    /// Current connections of a route and of a server.
    #[must_use]
    pub fn open_now(&self, id: RouteId, server: Option<ServerIndex>) -> Open {
        let Some(route) = self.route(id) else { return Open::default() };
        let member = server.and_then(|server| route.group.member(server));
        Open { route: route.open, server: member.map_or(0, |member| member.open().into()) }
    }
}

impl Route {
    /// The counters of a connection's server, or those for connections without one.
    fn traffic_mut(&mut self, server: Option<ServerIndex>) -> &mut Traffic {
        let server = server.and_then(|server| self.servers.get_mut(server.index()));
        server.map_or(&mut self.unplaced, |server| &mut server.traffic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::net::Slots;
    use crate::policy::health::Spread;

    fn fleet(max_connections: u32) -> (Fleet, RouteId) {
        let server =
            |port: u16| format!(r#"{{ "address": "127.0.0.1:{port}", "max_connections": {max_connections} }}"#);
        let servers = [server(1), server(2)].join(",");
        let text = format!(
            r#"{{ "listen": ["127.0.0.1:0"],
                "routes": {{ "a": {{ "sni": ["*"], "servers": [{servers}], "health_check": {{ "type": "off" }} }} }} }}"#
        );
        let config = config::parse("test", &text).unwrap();
        let fleet = Fleet::new(&config, &mut Spread::new(Time::ZERO, 2));
        let id = fleet.find(None, None, std::iter::empty()).unwrap();
        (fleet, id)
    }

    fn at(millis: u64) -> Time {
        Time::from_micros(1000 * millis)
    }

    fn closing(server: Option<ServerIndex>, reason: CloseReason) -> Closing {
        Closing { server, reason, bytes_up: 3, bytes_down: 5, lasted: server.map(|_| Duration::from_secs(1)) }
    }

    fn keys(count: usize) -> Vec<Key> {
        let mut slots = Slots::<()>::new();
        (0..count).map(|_| slots.reserve()).collect()
    }

    /// Without this, a gauge drifts, or a server counts a connection that has ended.
    #[test]
    fn a_connection_is_counted_off_wherever_it_was_counted() {
        let (mut fleet, id) = fleet(9);
        let server = |server| ServerId { route: id, server: ServerIndex(server) };
        fleet.open(id, at(0));
        fleet.assign(server(0), None, at(0));
        assert_eq!(fleet.open_now(id, Some(ServerIndex(0))), Open { route: 1, server: 1 });
        // Refused, and tried on the other.
        fleet.release(server(0));
        fleet.assign(server(1), Some(ServerIndex(0)), at(1));
        fleet.connected(server(1), Duration::ZERO, Duration::from_millis(1));
        assert_eq!(fleet.open_now(id, Some(ServerIndex(0))), Open { route: 1, server: 0 });
        assert_eq!(fleet.open_now(id, Some(ServerIndex(1))), Open { route: 1, server: 1 });
        fleet.close(id, &closing(Some(ServerIndex(1)), CloseReason::ServerBroke));
        assert_eq!(fleet.open_now(id, Some(ServerIndex(1))), Open::default());
        let route = fleet.route(id).unwrap();
        let traffic = route.traffic();
        assert_eq!((traffic.connects, traffic.balanced, traffic.retries, traffic.redispatches), (2, 2, 0, 1));
        assert_eq!((traffic.bytes_up, traffic.bytes_down, traffic.server_aborts), (3, 5, 1));
        assert_eq!(route.server(ServerIndex(1)).unwrap().traffic().server_aborts, 1);
        assert_eq!((route.usage().sessions.total(), route.usage().most_sessions), (1, 1));
        assert_eq!(route.server(ServerIndex(1)).unwrap().usage().total_time.longest(), Some(Duration::from_secs(1)));
        assert_eq!(route.server(ServerIndex(0)).unwrap().usage().total_time.longest(), None);
    }

    /// Without this, a connection that never had a server is counted on one, or nowhere.
    #[test]
    fn a_connection_without_a_server_counts_on_its_route() {
        let (mut fleet, id) = fleet(9);
        fleet.open(id, at(0));
        fleet.close(id, &closing(None, CloseReason::ServersFull));
        let route = fleet.route(id).unwrap();
        assert_eq!((route.open(), route.traffic().connect_errors, route.usage().total_time.longest()), (0, 1, None));
        assert!((0..2).all(|server| route.server(ServerIndex(server)).unwrap().traffic().connect_errors == 0));
    }

    /// Without this, a retry on the same server counts as a redispatch, and a panel shows a fault.
    #[test]
    fn a_retry_is_no_redispatch() {
        let (mut fleet, id) = fleet(9);
        let server = ServerId { route: id, server: ServerIndex(0) };
        fleet.open(id, at(0));
        fleet.assign(server, None, at(0));
        fleet.release(server);
        fleet.assign(server, Some(ServerIndex(0)), at(1000));
        let traffic = fleet.route(id).unwrap().traffic();
        assert_eq!((traffic.connects, traffic.balanced, traffic.retries, traffic.redispatches), (2, 1, 1, 0));
    }

    /// Without this, a client overtakes others in the queue, or one that has left holds up the queue.
    #[test]
    fn those_that_wait_go_on_in_the_order_in_which_they_came() {
        let (mut fleet, id) = fleet(1);
        let keys = keys(4);
        for server in [0, 1].map(ServerIndex) {
            fleet.open(id, at(0));
            fleet.assign(ServerId { route: id, server }, None, at(0));
        }
        let ahead: Vec<u64> = keys.iter().map(|key| fleet.wait(id, *key)).collect();
        assert_eq!(ahead, [0, 1, 2, 3]);
        assert_eq!(fleet.next_with_room(), None);
        fleet.quit(id, keys[1]);
        let mut went = Vec::new();
        for server in [1, 0, 1].map(ServerIndex) {
            fleet.close(id, &closing(Some(server), CloseReason::Done));
            while let Some(key) = fleet.next_with_room() {
                went.push(key);
                let Pick::Server(server) = fleet.pick(id, [127, 0, 0, 1].into(), &[]) else { panic!("no room") };
                fleet.open(id, at(1));
                fleet.assign(ServerId { route: id, server }, None, at(1));
            }
        }
        assert_eq!(went, [keys[0], keys[2], keys[3]]);
        let queue = fleet.route(id).unwrap().queue();
        assert_eq!((queue.len(), queue.most()), (0, 4));
    }

    /// Without this, a queue stands still after a reload that makes room.
    #[test]
    fn a_reload_lets_those_that_wait_go_on() {
        let (mut fleet, id) = fleet(1);
        for server in [0, 1].map(ServerIndex) {
            fleet.open(id, at(0));
            fleet.assign(ServerId { route: id, server }, None, at(0));
        }
        let key = keys(1)[0];
        fleet.wait(id, key);
        assert_eq!(fleet.next_with_room(), None);
        let text = r#"{ "listen": ["127.0.0.1:0"], "routes": { "a": { "sni": ["*"], "servers": [
            { "address": "127.0.0.1:1", "max_connections": 2 }, "127.0.0.1:2"] } } }"#;
        fleet.reload(&config::parse("test", text).unwrap(), &mut Spread::new(at(1), 2));
        assert_eq!(fleet.next_with_room(), Some(key));
        assert_eq!(fleet.next_with_room(), None);
    }
}
