//! What a balancer in front says before a client's first byte: a PROXY header, which is required of it.
//!
//! The bytes stay in the socket until the header is whole: nothing is held of an unfinished header, and what follows it is left to
//! the hello's reader. The caller makes sure that the peer is a balancer: a header of any other peer must not be read.
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::net::{Received, Stream, canonical};
use crate::vocabulary::DropReason;
use crate::wire::proxy_header::{self, Header, MAX_READ, Parsed};

/// What a balancer has told of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Where the client is, IPv4 where it was told as `::ffff:a.b.c.d`.
    pub source: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// Every TLV, as it came.
    pub tlvs: Box<[u8]>,
}

/// What the first bytes of a balancer's connection come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Preface {
    /// More is to come. The next event is worth another look.
    Incomplete,
    /// It is a client's, whose own bytes follow.
    Client(Told),
    /// It is the balancer's own, which asks whether the proxy is there: a LOCAL header, or an end before the first byte.
    Check,
    /// There is no use in it, with a sentence where there is something to say.
    Refused(DropReason, Option<&'static str>),
}

/// Looks at what has come, and takes the header from the socket once it is whole.
pub fn read(stream: &mut Stream) -> Preface {
    let mut room = [0; MAX_READ];
    let bytes = match stream.peek(&mut room) {
        Received::Bytes(n) => room.get(..n).unwrap_or_default(),
        Received::Blocked => return Preface::Incomplete,
        Received::End | Received::Failed(_) => return Preface::Check,
    };
    let (preface, len) = match proxy_header::parse(bytes) {
        Parsed::Incomplete if stream.has_ended() => return Preface::Refused(DropReason::ClosedEarly, None),
        Parsed::Incomplete => return Preface::Incomplete,
        Parsed::NotProxy => {
            let why = "no PROXY header, which must come first from here";
            return Preface::Refused(DropReason::NoProxyHeader, Some(why));
        }
        Parsed::Malformed(why) => return Preface::Refused(DropReason::MalformedProxyHeader, Some(why)),
        Parsed::Header { header: Header::Unknown, .. } => {
            let why = "the PROXY header tells no address";
            return Preface::Refused(DropReason::NoClientAddress, Some(why));
        }
        Parsed::Header { header: Header::Local, len } => (Preface::Check, len),
        Parsed::Header { header: Header::Client { source, destination, tlvs }, len } => {
            let (source, destination) = (canonical(source), canonical(destination));
            (Preface::Client(Told { source, destination, tlvs: tlvs.received.into() }), len)
        }
    };
    // These are the bytes that were looked at: they are all there.
    if let Some(header) = room.get_mut(..len) {
        stream.read(header);
    }
    preface
}
