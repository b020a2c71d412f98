//! The memory that clients take before they have a server: bounded in all, whatever they send.
use super::Client;

/// Bytes that each client's hello may take without being asked for.
pub(super) const FREE: usize = 20 * 1024;
/// Bytes that all hellos together may take beyond that.
const MOST_LENT: usize = 8 * 1024 * 1024;

/// What the few hellos have been lent that need more than [`FREE`].
#[derive(Default)]
pub(super) struct Memory {
    lent: usize,
}

impl Memory {
    /// Lends the client of a hello that takes `size` bytes what it needs; whether there was so much.
    pub(super) fn lend(&mut self, client: &mut Client, size: usize) -> bool {
        let needed = size.saturating_sub(FREE);
        let others = self.lent - client.lent as usize;
        if others + needed > MOST_LENT {
            return false;
        }
        client.lent = needed as u32;
        self.lent = others + needed;
        true
    }

    /// The client's hello is in no memory any more.
    pub(super) fn take_back(&mut self, lent: u32) {
        self.lent -= lent as usize;
    }
}
