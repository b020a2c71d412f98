//! The memory of clients without a server, bounded for all together.
use super::Client;

/// Bytes that each client's hello may always take.
pub(super) const FREE: usize = 20 * 1024;
/// Bytes that all hellos together may take beyond that.
const MAX_LENT: usize = 8 * 1024 * 1024;

/// The bytes lent to the few hellos that need more than [`FREE`].
#[derive(Default)]
pub(super) struct Memory {
    lent: usize,
}

impl Memory {
    /// Lends the client of a hello of `size` bytes what it needs. Answers whether that was available.
    pub(super) fn lend(&mut self, client: &mut Client, size: usize) -> bool {
        let needed = size.saturating_sub(FREE);
        let others = self.lent - client.lent as usize;
        if others + needed > MAX_LENT {
            return false;
        }
        client.lent = needed as u32;
        self.lent = others + needed;
        true
    }

    /// Takes back what the client was lent.
    pub(super) fn take_back(&mut self, lent: u32) {
        self.lent -= lent as usize;
    }
}
