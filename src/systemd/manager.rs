//! What systemd is told while the loop turns, and when.
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::notify::Notifier;
use super::store;
use crate::config::count;
use crate::context::{Context, Timer};
use crate::policy::time::Time;
use crate::policy::timers::Deadline;

/// The shortest time between two status messages.
const PACE: Duration = Duration::from_secs(5);

/// The service manager. Without one, every message goes nowhere.
pub struct Manager {
    notifier: Notifier,
    /// The last status sent.
    status: String,
    /// The number of connections in that status.
    sessions: u64,
    /// When that status was sent.
    at: Time,
    /// Whether a server went down or came up since then.
    servers_changed: bool,
    /// When the next status is due.
    next: Deadline,
    is_stopping: bool,
    /// Whether the manager can store an fd for the next process.
    has_store: bool,
}

impl Manager {
    /// The manager that the environment names, if any.
    ///
    /// # Errors
    /// `$NOTIFY_SOCKET` names an address that does not work.
    pub fn from_environment() -> io::Result<Manager> {
        Ok(Manager {
            notifier: Notifier::from_environment()?,
            status: String::new(),
            sessions: 0,
            at: Time::ZERO,
            servers_changed: false,
            next: Deadline::default(),
            is_stopping: false,
            has_store: store::has_room(),
        })
    }

    /// Sends READY: after the start, or after a reload.
    pub fn ready(&mut self, context: &Context) {
        self.renew(context);
        self.notifier.ready(&self.status);
    }

    /// Sends RELOADING.
    pub fn reloading(&self) {
        self.notifier.reloading();
    }

    /// Sends STOPPING; the end takes `at_most` so long.
    pub fn stopping(&mut self, at_most: Duration, context: &Context) {
        self.is_stopping = true;
        self.renew(context);
        self.notifier.stopping(&self.status, at_most);
    }

    /// Whether the manager can store an fd for the next process.
    #[must_use]
    pub fn keeps_fds(&self) -> bool {
        self.has_store && self.notifier.is_heard()
    }

    /// Has the manager store an fd for the next process, and waits until it has.
    ///
    /// # Errors
    /// The kernel's, or the manager did not answer in time.
    pub fn keep(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.notifier.keep(fd, store::BARRIER)
    }

    /// Has the manager drop what it stores.
    pub fn forget(&self) {
        if self.keeps_fds() {
            self.notifier.forget();
        }
    }

    /// Starts the watchdog timer if systemd asks for one. WATCHDOG is sent within a turn, so that a stuck loop sends
    /// none.
    pub fn arm_watchdog(&self, context: &mut Context) {
        if let Some(interval) = self.notifier.watchdog() {
            context.timers.push(context.now + interval, Timer::Watchdog);
        }
    }

    /// Sends WATCHDOG.
    pub fn feed_watchdog(&self, context: &mut Context) {
        self.notifier.alive();
        self.arm_watchdog(context);
    }

    /// Arms the timer of the status if the status may have changed. `servers_changed`: a server went down or came up
    /// since the last turn. While nothing happens, no timer wakes the loop.
    pub fn tend(&mut self, servers_changed: bool, context: &mut Context) {
        self.servers_changed |= servers_changed;
        let may_differ = self.sessions != context.clients.sessions || self.servers_changed;
        if may_differ && self.notifier.is_heard() {
            self.next.arm(&mut context.timers, self.at + PACE, Timer::Status);
        }
    }

    /// Sends the status, unless the timer that came up for `at` was replaced by a later one.
    pub fn tell_status(&mut self, at: Time, context: &Context) {
        if self.next.fired(at) {
            let before = std::mem::take(&mut self.status);
            self.renew(context);
            if self.status != before {
                self.notifier.status(&self.status);
            }
        }
    }

    /// Notes the status as sent now.
    fn renew(&mut self, context: &Context) {
        self.status = status(self.is_stopping, context);
        self.sessions = context.clients.sessions;
        self.at = context.now;
        self.servers_changed = false;
    }
}

/// The status line that `systemctl status` shows.
fn status(is_stopping: bool, context: &Context) -> String {
    let sessions = count(context.clients.sessions as usize, "connection");
    if is_stopping {
        return format!("draining, {sessions}");
    }
    let members = context.fleet.routes().flat_map(|(_, route)| route.group().members());
    let (up, all) = members.fold((0, 0), |(up, all), (_, member)| (up + u32::from(member.health().is_up()), all + 1));
    let refused = if context.process.reloads.last_succeeded { "" } else { ", last reload refused" };
    format!("{up}/{all} servers up, {sessions}{refused}")
}
