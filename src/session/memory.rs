//! The memory of clients without a server, bounded for all together, and of clients that read slowly.
use super::Client;

/// Bytes that each client's hello may always take.
pub(super) const FREE: usize = 20 * 1024;
/// Bytes that all hellos together may take beyond that.
const MAX_LENT: usize = 8 * 1024 * 1024;

/// The bytes lent to the few hellos that need more than [`FREE`], and the number of relays that are stalled.
#[derive(Default)]
pub(super) struct Memory {
    lent: usize,
    stalled: u32,
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

    /// Notes whether a relay is stalled now: its client takes nothing of what its server has sent. `was`: at the last call.
    pub(super) fn note_stalled(&mut self, was: &mut bool, is: bool) {
        match (std::mem::replace(was, is), is) {
            (false, true) => self.stalled += 1,
            (true, false) => self.stalled -= 1,
            _ => {}
        }
    }

    /// How many relays are stalled.
    #[cfg(test)]
    pub(super) fn stalled(&self) -> u32 {
        self.stalled
    }

    /// KiB that the kernel may keep of what a server has sent; `u16::MAX`: as much as it likes, while few relays are stalled.
    pub(super) fn bound(&self) -> u16 {
        match self.stalled {
            0..=4 => u16::MAX,
            5..=64 => 256,
            _ => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, relays that stall have the kernel keep more than a small container has, or few of them lose their autotuning.
    #[test]
    fn the_more_relays_are_stalled_the_less_is_kept_for_each() {
        let mut memory = Memory::default();
        let mut bounds = vec![(0, memory.bound())];
        for stalled in 1..=1_000 {
            memory.note_stalled(&mut false, true);
            if bounds.last().is_none_or(|(_, last)| *last != memory.bound()) {
                bounds.push((stalled, memory.bound()));
            }
        }
        assert_eq!(bounds, [(0, u16::MAX), (5, 256), (65, 64)]);
    }
}
