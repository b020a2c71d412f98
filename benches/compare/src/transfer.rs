//! Bytes of a transfer: generated on one side, thrown away on the other.
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Chunks that one connection moves before the next gets its turn.
const TURN: usize = 8;

/// How a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Wait,
    Again,
    Done,
}

/// Throws away up to `left` bytes that have come.
pub fn take(fd: &OwnedFd, scratch: &mut [u8], left: &mut u64) -> Result<Next, String> {
    for _ in 0..TURN {
        if *left == 0 {
            return Ok(Next::Done);
        }
        let room = scratch.len();
        // TRUNC on TCP throws bytes away without copying them (tcp(7)).
        match recv(fd, &mut scratch[..], RecvFlags::TRUNC) {
            Ok((_, 0)) => return Err("the proxy closed a connection that was not done".into()),
            Ok((_, count)) => {
                *left = left.saturating_sub(count as u64);
                if count < room && *left > 0 {
                    return Ok(Next::Wait);
                }
            }
            Err(Errno::AGAIN) => return Ok(Next::Wait),
            Err(other) => return Err(format!("recv: {other}")),
        }
    }
    Ok(if *left == 0 { Next::Done } else { Next::Again })
}

/// Sends up to `left` bytes, as many as the socket takes.
pub fn give(fd: &OwnedFd, scratch: &[u8], left: &mut u64) -> Result<Next, String> {
    for _ in 0..TURN {
        if *left == 0 {
            return Ok(Next::Done);
        }
        let count = scratch.len().min(*left as usize);
        match send(fd, &scratch[..count], SendFlags::NOSIGNAL) {
            Ok(sent) => *left -= sent as u64,
            Err(Errno::AGAIN) => return Ok(Next::Wait),
            Err(other) => return Err(format!("send: {other}")),
        }
    }
    Ok(if *left == 0 { Next::Done } else { Next::Again })
}
