//! Takes length-prefixed pieces off the front of a slice; `None` if the slice is shorter than the length.

/// The next `n` bytes.
pub(super) fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    rest.split_off(..n)
}

/// The next two bytes, big-endian.
pub(super) fn u16(rest: &mut &[u8]) -> Option<u16> {
    let (value, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u16::from_be_bytes(*value))
}

/// A vector whose length is one byte (RFC 8446 section 3.4).
pub(super) fn vec8<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = *rest.split_off_first()?;
    take(rest, len.into())
}

/// A vector whose length is two bytes.
pub(super) fn vec16<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u16(rest)?;
    take(rest, len.into())
}
