//! The parts of a line, appended to the log's buffer without `std::fmt`, which takes several times the instructions.
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::iter;
use std::net::IpAddr;

/// The last decimal digits of a number.
pub(super) fn digits<const COUNT: usize>(number: u64) -> [u8; COUNT] {
    let mut digits = [0; COUNT];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// Appends a number.
pub(super) fn push_number(buffer: &mut Vec<u8>, number: u64) {
    match number {
        0..10 => buffer.push(b'0' + number as u8),
        10..100 => buffer.extend_from_slice(&digits::<2>(number)),
        100..1000 => buffer.extend_from_slice(&digits::<3>(number)),
        _ => {
            push_number(buffer, number / 1000);
            buffer.extend_from_slice(&digits::<3>(number % 1000));
        }
    }
}

/// Appends an IP address.
pub(super) fn push_ip(buffer: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    buffer.push(b'.');
                }
                push_number(buffer, octet.into());
            }
        }
        // Writing to a `Vec` does not fail.
        IpAddr::V6(ip) => _ = write!(buffer, "{ip}"),
    }
}

/// Whether a byte needs no escape between quotes. A space does: some readers split a line at spaces, and a client could
/// forge fields for them.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'"' | b'\\')
}

/// Whether no byte needs an escape. Of 16 bytes each is looked at in any case, so the compiler takes them at once.
pub(super) fn are_plain(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let is_odd = |byte: &u8| u8::from(!is_plain(*byte));
    chunks.iter().all(|chunk| chunk.iter().map(is_odd).fold(0, u8::max) == 0) && rest.iter().all(|byte| is_plain(*byte))
}

/// A list of protocols, with commas between them; a comma within a protocol is escaped.
pub(super) struct Protocols<'a>(pub(super) &'a [u8]);

impl Protocols<'_> {
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0;
        iter::from_fn(move || {
            let (len, after) = rest.split_first()?;
            let (name, more) = after.split_at(usize::from(*len).min(after.len()));
            rest = more;
            Some(name)
        })
    }
}

impl fmt::Display for Protocols<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for name in self.names() {
            f.write_str(separator)?;
            separator = ",";
            name.split_inclusive(|byte| *byte == b',').try_for_each(|part| match part.strip_suffix(b",") {
                Some(part) => write!(f, "{}\\x2c", Escaped(part)),
                None => write!(f, "{}", Escaped(part)),
            })?;
        }
        Ok(())
    }
}

/// Bytes of a client. A byte that is not printable ASCII becomes `\xNN`, so that no client can forge lines.
pub(super) struct Escaped<'a>(pub(super) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(*byte)),
            byte if is_plain(*byte) => f.write_char(char::from(*byte)),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}
