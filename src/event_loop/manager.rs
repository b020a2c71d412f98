//! What the service manager is told while the loop turns, and when.
use std::time::Duration;

use super::EventLoop;
use crate::context::Timer;
use crate::policy::time::Time;
use crate::policy::timers::Deadline;

/// The status is told no more often than this.
const PACE: Duration = Duration::from_secs(5);

/// What it was told last.
#[derive(Default)]
pub(super) struct Told {
    status: String,
    sessions: u64,
    at: Time,
    /// A server went down or came back since.
    pub(super) servers_changed: bool,
    next: Deadline,
}

impl EventLoop {
    pub(super) fn tell_ready(&mut self) {
        let status = self.status();
        self.service.ready(&status);
        self.note_told(status);
    }

    pub(super) fn tell_stopping(&mut self, at_most: Duration) {
        let status = self.status();
        self.service.stopping(&status, at_most);
        self.note_told(status);
    }

    /// Begins to say that the loop turns, if that is asked for. It is said in the turn itself, so that a loop which is stuck
    /// says nothing.
    pub(super) fn arm_watchdog(&mut self) {
        if let Some(interval) = self.service.watchdog() {
            self.context.timers.push(self.context.now + interval, Timer::Watchdog);
        }
    }

    pub(super) fn feed_watchdog(&mut self) {
        self.service.alive();
        self.arm_watchdog();
    }

    /// Has the status told if it may have changed. As long as nothing happens, nothing wakes the loop for it.
    pub(super) fn tend_status(&mut self) {
        let (told, context) = (&mut self.told, &mut self.context);
        told.servers_changed |= self.probes.take_changed();
        let may_differ = told.sessions != context.sessions || told.servers_changed;
        if may_differ && self.service.is_there() {
            told.next.arm(&mut context.timers, told.at + PACE, Timer::Status);
        }
    }

    pub(super) fn tell_status(&mut self, at: Time) {
        if self.told.next.fired(at) {
            let status = self.status();
            if status != self.told.status {
                self.service.status(&status);
            }
            self.note_told(status);
        }
    }

    fn note_told(&mut self, status: String) {
        let (at, sessions) = (self.context.now, self.context.sessions);
        let told = &mut self.told;
        (told.status, told.at, told.sessions, told.servers_changed) = (status, at, sessions, false);
    }

    /// One line for whoever asks the manager.
    fn status(&self) -> String {
        let sessions = self.context.sessions;
        if !self.operator.is_serving() {
            return format!("draining, {sessions} connections");
        }
        let members = self.context.fleet.routes().flat_map(|(_, route)| route.group().members());
        let (up, all) =
            members.fold((0, 0), |(up, all), (_, member)| (up + u32::from(member.health().is_up()), all + 1));
        let refused = if self.context.process.last_reload_worked { "" } else { ", last reload refused" };
        format!("{up}/{all} servers up, {sessions} connections{refused}")
    }
}
