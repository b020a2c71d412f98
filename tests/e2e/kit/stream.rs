//! A stream of bytes that both ends can generate and compare, so that no sent byte need be kept.
use std::io::{self, Read, Write};

/// Prime, so that no buffer size of a relay divides it and hides a shift.
const PERIOD: usize = 1_048_583;
const LONGEST: usize = 256 * 1024;

/// Numbers that look random and are the same in every run.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Seeded {
        Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }
}

/// Endless bytes of a seed, from an offset on.
pub(crate) struct Pattern {
    bytes: Vec<u8>,
    offset: usize,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Pattern {
        let mut numbers = Seeded::new(seed);
        let mut bytes: Vec<u8> = (0..PERIOD + LONGEST).map(|_| numbers.below(256) as u8).collect();
        bytes.copy_within(0..LONGEST, PERIOD);
        Pattern { bytes, offset: 0 }
    }

    /// The next `length` bytes, at most [`LONGEST`].
    fn next(&mut self, length: usize) -> &[u8] {
        let start = self.offset % PERIOD;
        self.offset += length;
        &self.bytes[start..start + length]
    }
}

/// Writes `total` bytes of the pattern in chunks of random size.
pub(crate) fn send(to: &mut impl Write, seed: u64, total: usize) -> io::Result<()> {
    let (mut pattern, mut sizes) = (Pattern::new(seed), Seeded::new(seed + 1));
    let mut left = total;
    while left > 0 {
        let size = (1 + sizes.below(LONGEST)).min(left);
        to.write_all(pattern.next(size))?;
        left -= size;
    }
    Ok(())
}

/// Reads to the end and holds every byte to the pattern. Calls `pause` after each read. Answers how many came.
pub(crate) fn receive(from: &mut impl Read, seed: u64, mut pause: impl FnMut(usize)) -> io::Result<usize> {
    let (mut pattern, mut sizes) = (Pattern::new(seed), Seeded::new(seed + 2));
    let mut buffer = vec![0; LONGEST];
    let mut total = 0;
    loop {
        let size = 1 + sizes.below(LONGEST);
        let n = from.read(&mut buffer[..size])?;
        if n == 0 {
            return Ok(total);
        }
        assert!(buffer[..n] == *pattern.next(n), "wrong bytes in the {n} after byte {total}");
        total += n;
        pause(total);
    }
}
