//! The running probes.
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
    /// Whether a server went down or came up since `take_changed`.
    have_changed_servers: bool,
}

impl Probes {
    /// The number of running probes.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Starts the next probe of a server if it is due: its timer has come up.
    pub(super) fn start(&mut self, id: ServerId, at: Time, context: &mut Context) {
        let key = self.slots.reserve();
        match probe::start(id, at, key, context) {
            Some(next) => self.store(key, next, context),
            None => self.slots.vacate(key),
        }
    }

    /// Handles an event of a probe's socket.
    pub(super) fn hear(&mut self, key: Key, event: &Event, context: &mut Context) {
        self.work(key, context, |mut probe, key, context| {
            probe.note(event);
            probe.advance(key, context)
        });
    }

    /// Handles the deadline of a probe.
    pub(super) fn expire(&mut self, key: Key, context: &mut Context) {
        self.work(key, context, |probe, _, context| probe.expire(context.now));
    }

    /// Ends the probes of these servers, without a verdict.
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

    /// Whether a server went down or came up since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.have_changed_servers)
    }

    /// Makes the slots of ended probes free for reuse.
    pub(super) fn free(&mut self) {
        self.slots.free();
    }

    fn work(&mut self, key: Key, context: &mut Context, work: impl FnOnce(Probe, Key, &mut Context) -> Next) {
        if let Some(probe) = self.slots.take(key) {
            let next = work(probe, key, context);
            self.store(key, next, context);
        }
    }

    fn store(&mut self, key: Key, next: Next, context: &mut Context) {
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
