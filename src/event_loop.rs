//! The turn: sleep until an event or a deadline, read the clock once, then events, unfinished work, timers, new
//! clients, and the slots of ended ones last.
mod admins;
mod banner;
mod clock;
mod control;
mod door;
mod fds;
mod handover;
mod listeners;
mod operator;
mod poller;
mod probes;
mod redirects;
mod reload;
mod sessions;
mod snapshot;
mod start;
#[cfg(test)]
mod tests;
mod usage;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use mio::Events;
use mio::event::Event;

use crate::access_log::Backend;
use crate::admin::Reply;
use crate::config::plain;
use crate::context::{Context, Timer};
use crate::fleet::RouteId;
use crate::metrics::{History, STEP, Snapshot};
use crate::net::{Accepted, Key, Listener, Token};
use crate::policy::fds::{MAX_ADMIN_CLIENTS, MAX_REDIRECT_CLIENTS};
use crate::policy::time::Time;
use crate::session::Side;
use crate::systemd::Manager;
use crate::vocabulary::Role;
use admins::{Admins, Request};
use clock::Clock;
pub use clock::{MachineTime, TimeSource};
use control::Control;
use door::Door;
pub use fds::Fds;
use operator::Operator;
pub use operator::SignalSource;
use poller::Poller;
use probes::Probes;
use redirects::Redirects;
use sessions::Sessions;
pub use start::Host;

/// The most events that one turn takes.
const MAX_EVENTS: usize = 1024;

/// The most sockets beside those of sessions and probes.
const MAX_SIDE_SOCKETS: usize = 2 * (MAX_REDIRECT_CLIENTS + MAX_ADMIN_CLIENTS);

/// Serves by the configuration at `path` until told to stop. `backend` is the log crate's.
///
/// # Errors
/// A line each, for the operator: the configuration is invalid, an address cannot be bound, or the poll failed.
pub fn run(path: &Path, backend: &Backend) -> Result<(), Vec<String>> {
    let mut event_loop = start::start(path, backend)?;
    event_loop.turns().map_err(|error| vec![format!("the event loop failed: {}", plain(&error))])
}

/// Everything that lives as long as the process. Each field is the owner of what it alone changes.
pub struct EventLoop {
    poller: Poller,
    clock: Clock,
    door: Door,
    sessions: Sessions,
    probes: Probes,
    redirects: Redirects,
    admins: Admins,
    control: Control,
    manager: Manager,
    operator: Operator,
    history: History,
    context: Context,
}

impl EventLoop {
    fn turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(MAX_EVENTS);
        let mut done = Ok(());
        while done.is_ok() && !self.is_over() {
            done = self.turn(&mut events, Time::NEVER);
        }
        self.end_drain();
        self.context.log.finish(self.context.now);
        done
    }

    /// One turn: sleeps until an event or a deadline, but at most until `latest`, and does what is due.
    ///
    /// # Errors
    /// The poll's.
    pub fn turn(&mut self, events: &mut Events, latest: Time) -> io::Result<()> {
        let due = self.due().min(latest);
        self.poller.sleep(events, (due < Time::NEVER).then_some(due), self.context.now)?;
        self.read_clock();
        let unfinished = self.sessions.take_unfinished();
        let unfinished_admins = self.admins.unfinished();
        for event in &*events {
            self.dispatch(event);
        }
        self.sessions.go_on(unfinished, &mut self.context);
        for key in unfinished_admins {
            self.admins.resume(key, &mut self.context);
        }
        self.control.go_on(&self.context);
        if self.deadline() <= self.context.now {
            self.look_again(events)?;
            self.apply_server_changes();
            self.timers();
        }
        reload::go_on_taking(self);
        self.accept();
        self.apply_server_changes();
        self.manager.tend(self.probes.take_changed(), &mut self.context);
        self.context.log.tend(self.context.now, &self.context.registry);
        self.door.listeners.free();
        self.sessions.free();
        self.probes.free();
        self.redirects.free();
        self.admins.free();
        self.control.free();
        self.context.process.histograms.turn(self.clock.now() - self.context.now);
        self.end_turn();
        Ok(())
    }

    /// The addresses of all listeners.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.door.listeners.iter().map(|listener| listener.bound)
    }

    /// Whether something can be done at once, without an event.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.due() <= self.context.now
    }

    /// The time of the next work: now, if something is unfinished.
    fn due(&self) -> Time {
        let EventLoop { sessions, admins, control, context, .. } = self;
        if self.operator.reloads.can_go_on()
            || sessions.can_go_on()
            || admins.has_unfinished()
            || control.has_unfinished()
            || self.door.can_accept(|role| self.has_room(role))
        {
            return context.now;
        }
        context.log.deadline().unwrap_or(Time::NEVER).min(self.deadline())
    }

    /// The earliest of all deadlines.
    fn deadline(&self) -> Time {
        let EventLoop { sessions, redirects, admins, control, context, .. } = self;
        let due = [
            sessions.shared.deadlines.next(),
            redirects.deadline(),
            admins.deadline(),
            control.deadline(),
            context.timers.next(),
        ];
        due.into_iter().flatten().min().unwrap_or(Time::NEVER)
    }

    /// Takes every pending event before deadlines count. While the process was stopped, frozen or busy, its clients and
    /// servers were not: none of them may be ended for a silence of the process itself.
    fn look_again(&mut self, events: &mut Events) -> io::Result<()> {
        // The kernel reports every ready socket once before it reports one again.
        let sockets = 2 * self.sessions.len() as usize + self.probes.len() + MAX_SIDE_SOCKETS;
        for _ in 0..=sockets / events.capacity() {
            let is_all = self.poller.look(events)?;
            for event in &*events {
                self.dispatch(event);
            }
            if is_all {
                break;
            }
        }
        Ok(())
    }

    fn read_clock(&mut self) {
        self.context.now = self.clock.now();
        if self.clock.look(self.context.now) {
            self.context.log.set_epoch(self.clock.epoch());
        }
    }

    fn dispatch(&mut self, event: &Event) {
        let context = &mut self.context;
        match Token::from(event.token()) {
            Token::Signals => self.obey(),
            Token::Reload => reload::begin_takeover(self),
            Token::Alarm => self.poller.note_rung(),
            Token::Output => {
                context.log.note_writable();
                context.log.flush(context.now, &context.registry);
            }
            Token::Listener(key) => self.door.listeners.note_readable(key),
            Token::Client(key) => self.sessions.hear(key, Side::Client, event, context),
            Token::Server(key) => self.sessions.hear(key, Side::Server, event, context),
            Token::Redirect(key) => self.redirects.hear(key, event, context),
            Token::Admin(key) => {
                let asked = self.admins.hear(key, event, context);
                self.answer_admin(asked);
            }
            Token::Probe(key) => self.probes.hear(key, event, context),
            Token::ControlListener => {
                let asked = self.control.accept(context);
                control::answer(self, asked);
            }
            Token::Control(key) => {
                let asked = self.control.hear(key, event, context);
                control::answer(self, asked);
            }
        }
    }

    fn timers(&mut self) {
        self.sessions.expire(&mut self.context);
        self.redirects.expire(&mut self.context);
        for request in self.admins.expire(&mut self.context) {
            self.answer_admin(Some(request));
        }
        let late = self.control.expire(&self.context);
        control::answer(self, late);
        while let Some((at, timer)) = self.context.timers.pop_due(self.context.now) {
            match timer {
                Timer::NextProbe(id) => self.probes.start(id, at, &mut self.context),
                Timer::Probe(key) => self.probes.expire(key, &mut self.context),
                Timer::Refusals => self.admins.log_refusals(&mut self.context),
                Timer::NextRedirect => self.redirects.note_room(at),
                Timer::Accept => self.door.resume(),
                Timer::Drain => self.end_drain(),
                // The turn itself was wanted: whether the loop is over is asked after each.
                Timer::LeastDrain => {}
                Timer::Sample => self.take_sample(),
                Timer::Watchdog => self.manager.feed_watchdog(&mut self.context),
                Timer::Override(id) => control::expire_override(self, id),
                Timer::Status => self.manager.tell_status(at, &self.context),
            }
        }
    }

    fn take_sample(&mut self) {
        self.history.push(snapshot::sample(&self.sessions, &self.context));
        self.context.timers.push(self.context.now + STEP, Timer::Sample);
    }

    /// Whether there may be one more client of a role.
    fn has_room(&self, role: Role) -> bool {
        match role {
            Role::Https => self.sessions.has_room(),
            Role::Http => self.redirects.has_room(self.context.now),
            Role::Admin => true,
        }
    }

    /// Accepts clients, at most so many a turn.
    fn accept(&mut self) {
        let mut number = 0;
        while let Some(key) = self.door.ready(number) {
            self.accept_from(key, door::MAX_A_TURN);
            number += 1;
        }
        self.door.listeners.forget_empty();
    }

    /// Accepts at most `most` clients from the backlog of a listener.
    fn accept_from(&mut self, key: Key, most: usize) {
        let Some((role, bound)) = self.door.listeners.get(key).map(|listener| (listener.role, listener.bound)) else {
            return;
        };
        let owner = self.door.listeners.owner(key);
        let frontend = owner.and_then(|owner| self.context.fleet.owner(owner));
        for _ in 0..most {
            if !self.has_room(role) {
                break;
            }
            let Some(accepted) = self.door.accept(key, &mut self.context) else { return };
            self.begin(accepted, role, bound, frontend);
        }
        // The last client of a turn may have taken the last slot; no later step of this turn asks again.
        if self.has_room(role) || !self.door.listeners.get(key).is_some_and(Listener::is_readable) {
            return;
        }
        match role {
            Role::Https => self.door.note_full(self.sessions.shared.capacity, &mut self.context),
            Role::Http => self.redirects.await_room(&mut self.context),
            Role::Admin => {}
        }
    }

    /// Begins to serve a client of the listener at `bound`, as its role requires.
    fn begin(&mut self, accepted: Accepted, role: Role, bound: SocketAddr, frontend: Option<RouteId>) {
        let context = &mut self.context;
        match role {
            Role::Https => self.sessions.begin(accepted, bound, frontend, context),
            Role::Http => self.redirects.begin(accepted, context),
            Role::Admin => {
                let asked = self.admins.begin(accepted, context);
                self.answer_admin(asked);
            }
        }
    }

    /// Answers a client of the admin endpoints.
    fn answer_admin(&mut self, asked: Option<Request>) {
        let Some(request) = asked else { return };
        let answer = match self.admins.reply(&request, !self.operator.is_serving(), &mut self.context) {
            Reply::Answer(answer) => answer,
            Reply::Report(wanted) => wanted.answer(self.snapshot()),
        };
        self.admins.answer(request, answer, &mut self.context);
    }

    /// A snapshot of the proxy at this moment.
    pub fn snapshot(&mut self) -> Snapshot {
        let buffers = self.admins.buffers();
        snapshot::take(self, buffers)
    }

    /// Applies changes of servers to sessions: connections of a fallen server may have to end, and new room goes to
    /// waiting ones.
    fn apply_server_changes(&mut self) {
        for id in std::mem::take(&mut self.context.fallen) {
            self.sessions.end_of(id, &mut self.context);
        }
        for handed in std::mem::take(&mut self.context.to_hand_on) {
            self.sessions.take_on(handed, &mut self.context);
        }
        self.sessions.serve_queues(&mut self.context);
    }
}
