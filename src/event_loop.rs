//! The turn: sleep until something happens or is due, read the clock once, then events, unfinished work, timers, and
//! free the slots last.
mod accept;
mod admins;
mod alarm;
mod banner;
mod clock;
mod control;
mod listeners;
mod manager;
mod redirects;
mod sessions;
mod snapshot;
mod start;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::{Events, Poll};
use signal_hook_mio::v1_0::Signals;

use crate::admin::Reply;
use crate::context::{Context, Timer};
use crate::fleet::ServerId;
use crate::metrics::History;
use crate::net::{Inherited, Key, Listener, Slots, Token};
use crate::policy::time::Time;
use crate::probe::{self, Probe};
use crate::service::Service;
use crate::session::Side;
use accept::Accepting;
use admins::{Admins, Request};
use alarm::Alarm;
use clock::Clock;
use control::Phase;
use manager::Told;
use redirects::Redirects;
use sessions::Sessions;
use start::Fds;

/// Events that one turn takes at most.
const EVENTS: usize = 1024;

/// Serves by the configuration at `path` until told to stop.
///
/// # Errors
/// Each a line for whoever started it: the configuration is rejected, an address cannot be bound, the poll failed.
pub fn run(path: &Path) -> Result<(), Vec<String>> {
    let mut event_loop = EventLoop::start(path)?;
    event_loop.turns().map_err(|error| vec![format!("the event loop failed: {error}")])
}

/// Everything that lives as long as the process.
struct EventLoop {
    path: PathBuf,
    poll: Poll,
    signals: Signals,
    clock: Clock,
    alarm: Alarm,
    /// Microseconds from the Unix epoch to [`Time::ZERO`], by the clock as it is set now.
    epoch: u64,
    /// The same at the start.
    started: u64,
    phase: Phase,
    accepting: Accepting,
    /// There are as many TLS clients as there may be, and the log has said so.
    is_full: bool,
    listeners: Slots<Listener>,
    inherited: Inherited,
    sessions: Sessions,
    probes: Slots<Probe>,
    redirects: Redirects,
    admins: Admins,
    history: History,
    fds: Fds,
    /// Given up when there is no other fd to be had.
    spare: Option<OwnedFd>,
    service: Service,
    told: Told,
    context: Context,
}

impl EventLoop {
    fn turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_over() {
            self.turn(&mut events)?;
        }
        self.end_drain();
        self.context.log.flush(&self.context.registry);
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let patience = self.patience();
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
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
        self.timers();
        self.accept();
        self.settle_servers();
        self.tend_status();
        self.context.log.tend(self.context.now, &self.context.registry);
        self.listeners.free();
        self.sessions.free();
        self.probes.free();
        self.redirects.free();
        self.admins.free();
        self.context.process.histograms.turn(self.clock.now() - self.context.now);
        Ok(())
    }

    /// How long nothing is due.
    fn patience(&mut self) -> Option<Duration> {
        if self.sessions.can_go_on() || self.admins.has_unfinished() || self.can_accept() {
            return Some(Duration::ZERO);
        }
        let context = &self.context;
        let due = [
            self.sessions.shared.deadlines.next(),
            self.redirects.deadline(),
            self.admins.deadline(),
            context.timers.next(),
            context.log.deadline(),
        ];
        let due = due.into_iter().flatten().min()?;
        let left = due.since(context.now);
        if !left.is_zero() && self.alarm.set(due, context.now).is_ok() { None } else { Some(left) }
    }

    fn read_clock(&mut self) {
        self.context.now = self.clock.now();
        if let Some(epoch) = self.clock.epoch(self.context.now) {
            self.epoch = epoch;
            self.context.log.set_epoch(epoch);
        }
    }

    fn dispatch(&mut self, event: &mio::event::Event) {
        match Token::from(event.token()) {
            Token::Signals => self.signals(),
            Token::Alarm => self.alarm.note_rung(),
            Token::Output => {
                self.context.log.note_writable();
                self.context.log.flush(&self.context.registry);
            }
            Token::Listener(key) => self.note_listener(key),
            Token::Client(key) => self.sessions.hear(key, Side::Client, event, &mut self.context),
            Token::Server(key) => self.sessions.hear(key, Side::Server, event, &mut self.context),
            Token::Redirect(key) => self.redirects.hear(key, event, &mut self.context),
            Token::Admin(key) => {
                let asked = self.admins.hear(key, event, &mut self.context);
                self.answer_admin(asked);
            }
            Token::Probe(key) => {
                self.probe(key, |mut probe, key, context| {
                    probe.note(event);
                    probe.advance(key, context)
                });
            }
        }
    }

    fn probe(&mut self, key: Key, work: impl FnOnce(Probe, Key, &mut Context) -> probe::Next) {
        if let Some(probe) = self.probes.take(key) {
            let next = work(probe, key, &mut self.context);
            self.settle_probe(key, next);
        }
    }

    fn settle_probe(&mut self, key: Key, next: probe::Next) {
        match next {
            probe::Next::Wait(probe) => self.probes.put(key, probe),
            probe::Next::NoVerdict(id, error) => {
                self.probes.vacate(key);
                probe::no_verdict(id, error, &mut self.context);
            }
            probe::Next::Done(id, checked) => {
                self.probes.vacate(key);
                self.told.servers_changed |= probe::report(id, checked, &mut self.context);
            }
        }
    }

    fn start_probe(&mut self, id: ServerId, at: Time) {
        let key = self.probes.reserve();
        match probe::start(id, at, key, &mut self.context) {
            Some(next) => self.settle_probe(key, next),
            None => self.probes.vacate(key),
        }
    }

    fn timers(&mut self) {
        self.sessions.expire(&mut self.context);
        self.redirects.expire(&mut self.context);
        for request in self.admins.expire(&mut self.context) {
            self.answer_admin(Some(request));
        }
        while let Some((at, timer)) = self.context.timers.pop_due(self.context.now) {
            match timer {
                Timer::NextProbe(id) => self.start_probe(id, at),
                Timer::Probe(key) => self.probe(key, |probe, _, context| probe.expire(context.now)),
                // Accepting follows in every turn.
                Timer::NextRedirect => self.redirects.note_room(at),
                Timer::Accept => self.resume_accepting(),
                Timer::Drain => self.end_drain(),
                Timer::Sample => self.take_sample(),
                Timer::Watchdog => self.feed_watchdog(),
                Timer::Status => self.tell_status(at),
            }
        }
    }

    /// Answers a client of the admin endpoints that has asked.
    fn answer_admin(&mut self, asked: Option<Request>) {
        let Some(request) = asked else { return };
        let answer = match self.admins.reply(&request, self.phase != Phase::Serving, &mut self.context) {
            Reply::Answer(answer) => answer,
            Reply::Report(wanted) => wanted.answer(self.snapshot()),
        };
        self.admins.answer(request, answer, &mut self.context);
    }

    /// What a change of servers means for sessions: those of a server that fell may have to end, and room that was made
    /// goes to those that wait for it.
    fn settle_servers(&mut self) {
        for id in std::mem::take(&mut self.context.fallen) {
            self.sessions.end_of(id, &mut self.context);
        }
        self.sessions.serve_queues(&mut self.context);
    }
}
