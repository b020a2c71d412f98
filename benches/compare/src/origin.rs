//! The server behind every proxy.
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::hello::Order;
use crate::proxy::text;
use crate::transfer::{Next, give, take};

/// A connection that came from a proxy, or from a client itself.
pub enum Origin {
    /// PROXY header and hello, as far as they have come.
    Hello(Vec<u8>),
    Send {
        begun: bool,
        left: u64,
    },
    Take {
        left: u64,
    },
    Echo,
    /// Waits for the other side to close.
    Ending,
}

impl Origin {
    /// Whether it is at moving many bytes.
    pub fn moves_bulk(&self) -> bool {
        matches!(self, Origin::Send { begun: true, .. } | Origin::Take { .. })
    }

    /// Does what the socket allows. `ended`: a short read is not the last one.
    pub fn drive(&mut self, fd: &OwnedFd, scratch: &mut [u8], ended: bool) -> Result<Next, String> {
        match self {
            Origin::Hello(_) => self.greet(fd, scratch),
            Origin::Send { begun: false, left } => {
                let left = *left;
                received(fd, scratch, |_| {
                    *self = Origin::Send { begun: true, left };
                    Ok(Next::Again)
                })
            }
            Origin::Send { begun: true, left } => {
                let next = give(fd, scratch, left)?;
                Ok(self.end_if_done(next))
            }
            Origin::Take { left } => {
                let next = take(fd, scratch, left)?;
                if next == Next::Done {
                    send(fd, &[0], SendFlags::NOSIGNAL).map_err(text)?;
                }
                Ok(self.end_if_done(next))
            }
            Origin::Echo => received(fd, scratch, |bytes| {
                send(fd, bytes, SendFlags::NOSIGNAL).map_err(text)?;
                Ok(if ended { Next::Again } else { Next::Wait })
            }),
            Origin::Ending => received(fd, scratch, |_| Ok(if ended { Next::Again } else { Next::Wait })),
        }
    }

    fn end_if_done(&mut self, next: Next) -> Next {
        if next == Next::Done {
            *self = Origin::Ending;
            return Next::Again;
        }
        next
    }

    /// Reads PROXY header and hello, and answers as the hello orders.
    fn greet(&mut self, fd: &OwnedFd, scratch: &mut [u8]) -> Result<Next, String> {
        let Origin::Hello(partial) = self else { return Ok(Next::Wait) };
        let mut order = None;
        let next = received(fd, scratch, |bytes| {
            partial.extend(bytes);
            order = header_length(partial).and_then(|at| Order::read(partial.get(at..)?));
            Ok(Next::Wait)
        })?;
        let Some(order) = order else { return Ok(next) };
        let answer = if let Order::Answer(bytes) = order { bytes as usize } else { 1 };
        send(fd, &scratch[..answer], SendFlags::NOSIGNAL).map_err(text)?;
        *self = match order {
            Order::Answer(_) => Origin::Ending,
            Order::Send(left) => Origin::Send { begun: false, left },
            Order::Take(left) => Origin::Take { left },
            Order::Echo => Origin::Echo,
        };
        Ok(Next::Wait)
    }
}

/// One read: what comes is handed to `each`, the end of the connection is its end here too.
fn received(
    fd: &OwnedFd,
    scratch: &mut [u8],
    each: impl FnOnce(&[u8]) -> Result<Next, String>,
) -> Result<Next, String> {
    match recv(fd, &mut scratch[..], RecvFlags::empty()) {
        Ok((0, _)) => Ok(Next::Done),
        Ok((count, _)) => each(&scratch[..count]),
        Err(Errno::AGAIN) => Ok(Next::Wait),
        Err(other) => Err(text(other)),
    }
}

/// Length of the PROXY header at the start of `bytes`, 0 where there is none; `None` while it is not whole.
fn header_length(bytes: &[u8]) -> Option<usize> {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    match *bytes.first()? {
        b'\r' => {
            let length = bytes.get(14..16)?;
            assert!(bytes.starts_with(V2), "a PROXY v2 header with a broken signature");
            Some(16 + usize::from(u16::from_be_bytes([length[0], length[1]])))
        }
        b'P' => bytes.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2),
        _ => Some(0),
    }
}
