//! A `ClientHello` as browsers send it, of any length from a few hundred bytes on (RFC 8446 section 4.1.2).

/// What the origin does once it has the hello. It travels in the hello's random, where no proxy looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Answer with this many bytes.
    Answer(u64),
    /// Answer with one byte; on the next byte from the client send this many.
    Send(u64),
    /// Answer with one byte; take this many, then answer with one more.
    Take(u64),
    /// Answer with one byte; send back whatever comes.
    Echo,
}

/// Where the random begins: record header 5, handshake header 4, version 2.
const RANDOM_AT: usize = 11;
const LEAST: usize = RANDOM_AT + 9;

impl Order {
    fn write(self, random: &mut [u8]) {
        let (op, count) = match self {
            Order::Answer(n) => (1, n),
            Order::Send(n) => (2, n),
            Order::Take(n) => (3, n),
            Order::Echo => (4, 0),
        };
        random[0] = op;
        random[1..9].copy_from_slice(&u64::to_be_bytes(count));
    }

    /// The order in `bytes`; `None` while the hello is not whole.
    pub fn read(bytes: &[u8]) -> Option<Order> {
        if bytes.len() < LEAST {
            return None;
        }
        assert_eq!(bytes[0], 0x16, "what came to the origin is no hello: {:02x?}", &bytes[..LEAST]);
        let end = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        let count = bytes[RANDOM_AT + 1..].first_chunk().map(|raw| u64::from_be_bytes(*raw))?;
        let order = match bytes[RANDOM_AT] {
            1 => Order::Answer(count),
            2 => Order::Send(count),
            3 => Order::Take(count),
            4 => Order::Echo,
            other => panic!("a hello came to the origin that is not ours: order {other}"),
        };
        (bytes.len() >= end).then_some(order)
    }
}

/// A hello for `sni` of `length` bytes, record header and all: with a post-quantum key share where
/// there is room for one, padded to size by the padding extension (RFC 7685).
pub fn hello(sni: &str, length: usize, order: Order) -> Vec<u8> {
    let mut random = [0x5a; 32];
    order.write(&mut random);
    let mut body = vec![0x03, 0x03];
    body.extend(random);
    body.push(32);
    body.extend([0xa5; 32]);
    let ciphers = [0x1301_u16, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
    body.extend((ciphers.len() as u16 * 2).to_be_bytes());
    body.extend(ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()));
    body.extend([1, 0]);

    let mut extensions = Vec::new();
    extension(&mut extensions, 0x0000, &list16(&[&[0], list16(sni.as_bytes()).as_slice()].concat()));
    extension(&mut extensions, 0x0017, &[]);
    extension(&mut extensions, 0x000a, &list16(&[0x11, 0xec, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18]));
    extension(&mut extensions, 0x000b, &[1, 0]);
    extension(&mut extensions, 0x0010, &list16(b"\x02h2\x08http/1.1"));
    extension(&mut extensions, 0x000d, &list16(&[0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x03, 0x08, 0x05]));
    extension(&mut extensions, 0x002b, &[4, 0x03, 0x04, 0x03, 0x03]);
    extension(&mut extensions, 0x002d, &[1, 1]);
    let mut shares = Vec::new();
    if length > 1700 {
        extension(&mut shares, 0x11ec, &[0xc3; 1216]);
    }
    extension(&mut shares, 0x001d, &[0x3c; 32]);
    extension(&mut extensions, 0x0033, &list16(&shares));
    let so_far = 5 + 4 + body.len() + 2 + extensions.len();
    if let Some(padding) = length.checked_sub(so_far + 4) {
        extension(&mut extensions, 0x0015, &vec![0; padding]);
    }
    body.extend(list16(&extensions));

    let mut handshake = vec![0x01, 0];
    handshake.extend(list16(&body));
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend(list16(&handshake));
    record
}

fn extension(out: &mut Vec<u8>, kind: u16, body: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend(list16(body));
}

fn list16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, the hello of a table's "517 B" has another length.
    #[test]
    fn has_the_length_asked_for_and_keeps_the_order() {
        for length in [517, 1800] {
            let bytes = hello("frontend.bench.example", length, Order::Send(7 << 30));
            assert_eq!(bytes.len(), length);
            assert_eq!(Order::read(&bytes), Some(Order::Send(7 << 30)));
            assert_eq!(Order::read(&bytes[..length - 1]), None);
        }
    }
}
