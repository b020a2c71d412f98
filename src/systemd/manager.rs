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

/// The shortest time between two statuses.
const PACE: Duration = Duration::from_secs(5);

/// The service manager. It may be none; then nothing is told.
pub struct Manager {
    notifier: Notifier,
    /// The status that it was told last.
    status: String,
    /// Connections then.
    sessions: u64,
    /// When that was.
    at: Time,
    /// A server went down or came back since.
    servers_changed: bool,
    /// When it is told next.
    next: Deadline,
    is_stopping: bool,
    /// It has room for an fd that the next process is to get.
    has_store: bool,
}

impl Manager {
    /// The manager that the environment names.
    ///
    /// # Errors
    /// It wants to be told at an address that does not work.
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

    /// Says that the process is ready, or ready again after a reload.
    pub fn ready(&mut self, context: &Context) {
        self.renew(context);
        self.notifier.ready(&self.status);
    }

    /// Says that the configuration is being read again.
    pub fn reloading(&self) {
        self.notifier.reloading();
    }

    /// Says that the process is on its way out, which takes `at_most` so long.
    pub fn stopping(&mut self, at_most: Duration, context: &Context) {
        self.is_stopping = true;
        self.renew(context);
        self.notifier.stopping(&self.status, at_most);
    }

    /// Whether it keeps an fd for the next process.
    #[must_use]
    pub fn keeps_fds(&self) -> bool {
        self.has_store && self.notifier.is_heard()
    }

    /// Has it keep an fd for the next process, and waits until it does.
    ///
    /// # Errors
    /// The kernel's, or the manager did not answer in time.
    pub fn keep(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.notifier.keep(fd)
    }

    /// Has it keep nothing any more.
    pub fn forget(&self) {
        if self.keeps_fds() {
            self.notifier.forget();
        }
    }

    /// Begins to say that the loop turns, if that is asked for. It is said in the turn itself, so that a loop which is stuck
    /// says nothing.
    pub fn arm_watchdog(&self, context: &mut Context) {
        if let Some(interval) = self.notifier.watchdog() {
            context.timers.push(context.now + interval, Timer::Watchdog);
        }
    }

    /// Says that the loop turns.
    pub fn feed_watchdog(&self, context: &mut Context) {
        self.notifier.alive();
        self.arm_watchdog(context);
    }

    /// Has the status told if it may have changed; `servers_changed`: a server went down or came back since the last turn. As
    /// long as nothing happens, nothing wakes the loop for it.
    pub fn tend(&mut self, servers_changed: bool, context: &mut Context) {
        self.servers_changed |= servers_changed;
        let may_differ = self.sessions != context.clients.sessions || self.servers_changed;
        if may_differ && self.notifier.is_heard() {
            self.next.arm(&mut context.timers, self.at + PACE, Timer::Status);
        }
    }

    /// Tells the status, unless the timer that came up for `at` was outrun.
    pub fn tell_status(&mut self, at: Time, context: &Context) {
        if self.next.fired(at) {
            let before = std::mem::take(&mut self.status);
            self.renew(context);
            if self.status != before {
                self.notifier.status(&self.status);
            }
        }
    }

    /// Notes the status as told now.
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
    let refused = if context.process.reloads.last_worked { "" } else { ", last reload refused" };
    format!("{up}/{all} servers up, {sessions}{refused}")
}
