//! The PROXY header that a balancer in front must send before a client's first byte.
//!
//! The bytes stay in the socket until the header is whole: an unfinished header takes no memory, and the reader of the
//! hello needs not know of it. The caller ensures that the peer is a balancer: a header of any other peer must not be
//! read.
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::net::{Received, Stream, canonical};
use crate::vocabulary::DropReason;
use crate::wire::proxy_header::{self, Header, MAX_READ, Parsed};

/// What a balancer in front says of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Where the client is, IPv4 if the header has `::ffff:a.b.c.d`.
    pub source: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// Every TLV as received.
    pub tlvs: Box<[u8]>,
}

/// What the first bytes of a balancer's connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum Preface {
    /// Incomplete. The next event is worth another look.
    Incomplete,
    /// A client's, whose own bytes follow.
    Client(Told),
    /// The balancer's own health check: a LOCAL header, or an end before the first byte.
    Check,
    /// Unusable; with a sentence, if the header is malformed.
    Refused(DropReason, Option<&'static str>),
}

/// Looks at the bytes so far, and takes the header out of the socket once it is whole.
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
    // These bytes were seen before, so they are all there.
    if let Some(header) = room.get_mut(..len) {
        stream.read(header);
    }
    preface
}
