//! What health checks need of the servers, and change.
use super::{Fleet, ServerId, ids};
use crate::policy::health::{Change, Checked};
use crate::policy::servers::Member;
use crate::policy::time::Time;
use crate::policy::timers::Deadline;

impl Fleet {
    /// A server that is in the configuration; `None` for one that left it.
    #[must_use]
    pub fn listed(&self, id: ServerId) -> Option<&Member> {
        let route = self.route(id.route).filter(|route| !route.retired)?;
        route.group.member(id.server).filter(|member| !member.is_retired())
    }

    /// The timer of a server's next probe.
    pub fn probe_timer(&mut self, id: ServerId) -> Option<&mut Deadline> {
        Some(&mut self.route_mut(id.route)?.servers.get_mut(id.server as usize)?.next_probe)
    }

    /// Calls `arm` for every server that is to be probed, with the timer and the moment of its next probe.
    pub fn schedule_probes(&mut self, mut arm: impl FnMut(ServerId, &mut Deadline, Time)) {
        for (id, route) in ids().zip(&mut self.routes) {
            for (index, server) in (0..).zip(&mut route.servers) {
                if let Some(at) = route.group.member(index).and_then(|member| member.health().next_probe()) {
                    arm(ServerId { route: id, server: index }, &mut server.next_probe, at);
                }
            }
        }
    }

    /// Notes that a probe of a server has started.
    pub fn probe_started(&mut self, id: ServerId) {
        if let Some(route) = self.route_mut(id.route) {
            route.group.probe_started(id.server);
        }
    }

    /// Notes that a probe of a server ended without a verdict; answers whether it is the first in a row.
    pub fn no_verdict(&mut self, id: ServerId) -> bool {
        self.route_mut(id.route).is_some_and(|route| route.group.no_verdict(id.server))
    }

    /// Takes the verdict of a server's probe; answers whether that took the server down or up.
    pub fn report(&mut self, now: Time, id: ServerId, checked: Checked) -> Option<Change> {
        let change = self.route_mut(id.route)?.group.report(now, id.server, checked)?;
        self.note_room(id.route);
        Some(change)
    }
}
