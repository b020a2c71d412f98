//! The probes that run now.
use mio::event::Event;

use crate::context::Context;
use crate::fleet::ServerId;
use crate::net::{Key, Slots};
use crate::policy::time::Time;
use crate::probe::{self, Next, Probe};

/// All running probes.
#[derive(Default)]
pub(super) struct Probes {
    slots: Slots<Probe>,
    /// A server went down or came back since that was asked last.
    have_changed_servers: bool,
}

impl Probes {
    /// How many run.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The timer of a server's next probe has come up: starts it if it is due.
    pub(super) fn start(&mut self, id: ServerId, at: Time, context: &mut Context) {
        let key = self.slots.reserve();
        match probe::start(id, at, key, context) {
            Some(next) => self.settle(key, next, context),
            None => self.slots.vacate(key),
        }
    }

    /// Takes an event of a probe's socket.
    pub(super) fn hear(&mut self, key: Key, event: &Event, context: &mut Context) {
        self.work(key, context, |mut probe, key, context| {
            probe.note(event);
            probe.advance(key, context)
        });
    }

    /// The deadline of a probe has come up.
    pub(super) fn expire(&mut self, key: Key, context: &mut Context) {
        self.work(key, context, |probe, _, context| probe.expire(context.now));
    }

    /// Ends those of servers that mean nothing any more.
    pub(super) fn end_of(&mut self, servers: &[ServerId]) {
        let outdated = self.slots.iter().filter(|(_, probe)| servers.contains(&probe.server_id()));
        for key in outdated.map(|(key, _)| key).collect::<Vec<Key>>() {
            self.slots.take(key);
            self.slots.vacate(key);
        }
    }

    /// Notes that an operator has changed a server.
    pub(super) fn note_changed(&mut self) {
        self.have_changed_servers = true;
    }

    /// Whether a server went down or came back since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.have_changed_servers)
    }

    /// Makes the slots of those that have ended free for others.
    pub(super) fn free(&mut self) {
        self.slots.free();
    }

    fn work(&mut self, key: Key, context: &mut Context, work: impl FnOnce(Probe, Key, &mut Context) -> Next) {
        if let Some(probe) = self.slots.take(key) {
            let next = work(probe, key, context);
            self.settle(key, next, context);
        }
    }

    fn settle(&mut self, key: Key, next: Next, context: &mut Context) {
        match next {
            Next::Wait(probe) => self.slots.put(key, probe),
            Next::NoVerdict(id, error) => {
                self.slots.vacate(key);
                context.note_shortage(error);
                probe::no_verdict(id, error, context);
            }
            Next::Done(id, checked) => {
                self.slots.vacate(key);
                self.have_changed_servers |= probe::report(id, &checked, context);
            }
        }
    }
}
