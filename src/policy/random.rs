//! Reproducible random numbers for tests.

/// A linear congruential generator (Knuth's MMIX constants); its high bits are good enough to script tests.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// A number from 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u32) -> u64 {
        (u64::from(self.next()) * u64::from(bound)) >> 32
    }
}
