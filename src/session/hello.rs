//! From accept to a whole hello and its route.
use std::borrow::Cow;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use super::close;
use super::connect::line_up;
use super::memory::FREE;
use super::routed::{Found, Routed};
use super::{Client, Lent, Moved, Next, Session};
use crate::access_log::Step;
use crate::config::{self, ProxyProtocol};
use crate::fleet::{Open, RouteId};
use crate::net::{Received, Token};
use crate::policy::time::Time;
use crate::vocabulary::{CloseReason, DropReason};
use crate::wire::client_hello::{self, Reader, Verdict};
use crate::wire::proxy_header::{self, Tlvs};

/// Free room in the scratch buffer before a hello, so that the PROXY header can be written right in front of it.
const HEADER_ROOM: usize = proxy_header::MAX_LEN;

/// Size of the scratch buffer: a header, and the longest hello with bytes after it. malloc maps blocks over 128 KiB on
/// their own (mallopt(3)), so only the pages that are used are resident.
pub(super) const SCRATCH_ROOM: usize = HEADER_ROOM + client_hello::MAX_RAW + 64 * 1024;

/// The reason that the log has for a client outside `allow_from`.
const NOT_ALLOWED: &str = "not from that address";

/// The longest read beyond what every hello may take.
const MAX_READ: usize = 16 * 1024;

/// A client whose hello is not whole yet.
pub struct Hello {
    pub(super) client: Client,
    /// The address of its listener.
    bound: SocketAddr,
    until: Time,
    /// The bytes so far, unless the hello came at once.
    raw: Vec<u8>,
    reader: Reader,
}

/// What the bytes so far are.
enum Judgement {
    Incomplete,
    Refused(DropReason),
    /// A hello with a route. The PROXY header ends at the end of its room.
    Found(Found),
}

impl Hello {
    pub(super) fn accept(client: Client, bound: SocketAddr, lent: &mut Lent<'_>) -> Next {
        let until = client.accepted + lent.context.config.timeouts.client_hello;
        if client.is_logged(lent.context) {
            log_accept(&client, lent);
        }
        Hello { client, bound, until, raw: Vec::new(), reader: Reader::default() }.advance(lent)
    }

    /// Reads until the hello is whole or the socket is empty.
    pub(super) fn advance(mut self, lent: &mut Lent<'_>) -> Next {
        // Taken out during this call, because its bytes are passed on together with `lent`.
        let mut scratch = mem::take(&mut lent.shared.scratch);
        let next = loop {
            let Some((front, room)) = scratch.split_first_chunk_mut() else { break self.run_short(lent) };
            // A read and the earlier bytes must fit into the room together.
            let came_before = self.raw.len();
            // Bytes after the hello stay in the kernel until there is a server.
            let most = came_before + if came_before < FREE { FREE - came_before } else { MAX_READ };
            let fresh = match self.client.stream.read(room.get_mut(came_before..most).unwrap_or_default()) {
                Received::Bytes(n) => room.get(came_before..came_before + n).unwrap_or_default(),
                Received::Blocked => break self.wait(lent),
                Received::End | Received::Failed(_) => break self.refuse(DropReason::ClosedEarly, lent),
            };
            self.note_heard(lent);
            if came_before > 0 && !self.keep(fresh, lent) {
                break self.run_short(lent);
            }
            let len = came_before + fresh.len();
            match self.judge(fresh, front, lent) {
                Judgement::Incomplete => {
                    if came_before == 0 {
                        self.raw = fresh.to_vec();
                    }
                    if !self.client.stream.is_readable() {
                        break self.wait(lent);
                    }
                }
                Judgement::Refused(reason) => break self.refuse(reason, lent),
                Judgement::Found(found) => break self.go_on(found, len, &mut scratch, lent),
            }
        };
        lent.shared.scratch = scratch;
        next
    }

    /// Appends new bytes to the earlier ones. Answers whether there is memory for them.
    fn keep(&mut self, fresh: &[u8], lent: &mut Lent<'_>) -> bool {
        let raw = &mut self.raw;
        if raw.capacity() - raw.len() < fresh.len() {
            // `Vec` would double. An eighth more still moves every byte only a few times.
            raw.reserve_exact(fresh.len().max(raw.len() / 8));
        }
        raw.extend_from_slice(fresh);
        lent.shared.memory.lend(&mut self.client, raw.capacity())
    }

    /// Takes over a client of the previous process, which had received `raw`.
    pub(super) fn take_up(client: Client, until: Time, raw: Vec<u8>, lent: &mut Lent<'_>) -> Next {
        let Ok(bound) = client.stream.local_address() else {
            return close::refuse(client, DropReason::ClosedEarly, lent);
        };
        let len = raw.len();
        let client = Client { is_unheard: raw.is_empty(), ..client };
        let mut hello = Hello { client, bound, until, raw, reader: Reader::default() };
        let mut scratch = mem::take(&mut lent.shared.scratch);
        let judgement = scratch.first_chunk_mut().map(|front| hello.judge(&[], front, lent));
        let next = match judgement {
            None => Ok(hello.run_short(lent)),
            Some(Judgement::Incomplete) => Err(hello),
            Some(Judgement::Refused(reason)) => Ok(hello.refuse(reason, lent)),
            Some(Judgement::Found(found)) => Ok(hello.go_on(found, len, &mut scratch, lent)),
        };
        lent.shared.scratch = scratch;
        next.unwrap_or_else(|hello| hello.advance(lent))
    }

    /// The bytes so far, for the next process.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Goes on to a server. The room holds the part of the hello, `len` bytes long, that is not in `raw`.
    fn go_on(self, found: Found, len: usize, scratch: &mut [u8], lent: &mut Lent<'_>) -> Next {
        if let Some(place) = scratch.get_mut(HEADER_ROOM..HEADER_ROOM + self.raw.len()) {
            place.copy_from_slice(&self.raw);
        }
        let start = HEADER_ROOM - usize::from(found.header);
        // Without its header the hello would hide the client from the server.
        let Some(payload) = scratch.get(start..HEADER_ROOM + len) else { return self.run_short(lent) };
        let routed = Routed::open(self.client, found, lent);
        line_up(routed, Cow::Borrowed(payload), lent)
    }

    pub(super) fn expire(self, lent: &mut Lent<'_>) -> Next {
        self.refuse(DropReason::HelloTimeout, lent)
    }

    pub(super) fn deadline(&self) -> Time {
        self.until
    }

    pub(super) fn end(self, reason: CloseReason, lent: &mut Lent<'_>) {
        let reason = self.client.refused().map_or(reason, CloseReason::Dropped);
        close::close(&self.client, None, Moved::default(), reason, lent);
    }

    fn wait(mut self, lent: &mut Lent<'_>) -> Next {
        if self.client.stream.watch(&lent.context.registry, Token::Client(lent.key)).is_err() {
            return self.run_short(lent);
        }
        lent.arm(self.until);
        Next::Wait(Session::Hello(self.into()))
    }

    fn run_short(self, lent: &mut Lent<'_>) -> Next {
        self.end(CloseReason::OutOfResources, lent);
        Next::Ended
    }

    /// Notes the first byte: the log may have lines of the client now.
    fn note_heard(&mut self, lent: &mut Lent<'_>) {
        let was_logged = self.client.is_logged(lent.context);
        self.client.is_unheard = false;
        if !was_logged {
            log_accept(&self.client, lent);
        }
    }

    fn refuse(self, reason: DropReason, lent: &mut Lent<'_>) -> Next {
        let reason = self.client.refused().unwrap_or(reason);
        close::refuse(self.client, reason, lent)
    }

    /// Judges the hello so far: `fresh`, or, if more came earlier, all of it joined.
    fn judge(&mut self, fresh: &[u8], front: &mut [u8; HEADER_ROOM], lent: &mut Lent<'_>) -> Judgement {
        let raw = if self.raw.is_empty() { fresh } else { &self.raw };
        let verdict = self.reader.read(raw);
        if let Verdict::Hello(hello) = &verdict {
            self.client.names = Some(lent.shared.names.of(hello));
        }
        let (reason, why) = match (verdict, self.client.refused()) {
            (Verdict::Incomplete, _) => return Judgement::Incomplete,
            (_, Some(reason)) => return Judgement::Refused(reason),
            (Verdict::NotTls, None) if proxy_header::begins(raw) && self.client.told.is_none() => {
                (DropReason::NotTls, "a PROXY header, which is not accepted from here")
            }
            (Verdict::NotTls, None) => (DropReason::NotTls, "not TLS"),
            (Verdict::Malformed(why), None) => (DropReason::MalformedHello, why),
            (Verdict::Hello(hello), None) => {
                lent.context.process.histograms.hello(hello.len);
                match lent.context.fleet.find(self.client.frontend, hello.sni, hello.alpn()) {
                    Some(id) if is_allowed(&self.client, id, lent) => {
                        let found = route(&self.client, self.bound, id, Some(&hello), front, lent);
                        return found.map_or_else(Judgement::Refused, Judgement::Found);
                    }
                    Some(_) => (DropReason::NotAllowed, NOT_ALLOWED),
                    None if hello.sni.is_none() => (DropReason::NoSni, "no SNI, and no route for that"),
                    None => (DropReason::UnknownSni, "no route for that name"),
                }
            }
        };
        self.client.log(&Step::Refuse { why: &why }, lent.context);
        Judgement::Refused(reason)
    }
}

fn is_allowed(client: &Client, id: RouteId, lent: &Lent<'_>) -> bool {
    lent.context.fleet.route(id).is_none_or(|route| route.config().allows(client.source.ip()))
}

/// Gives a client its route at once: every client at the address is the route's, and the server may speak first.
pub(super) fn take_all(client: Client, bound: SocketAddr, id: RouteId, lent: &mut Lent<'_>) -> Next {
    log_accept(&client, lent);
    give(client, bound, id, &[], lent)
}

/// Takes over such a client of the previous process. If that expected a hello, the client has sent something.
pub(super) fn take_up_all(client: Client, id: RouteId, sent: &[u8], lent: &mut Lent<'_>) -> Next {
    match client.stream.local_address() {
        Ok(bound) if client.refused().is_none() => give(client, bound, id, sent, lent),
        _ => close::refuse(client, DropReason::ClosedEarly, lent),
    }
}

/// Takes a client of the redirect: its bytes go to a server of the route `id`.
pub(super) fn take_on(client: Client, id: RouteId, sent: &[u8], lent: &mut Lent<'_>) -> Next {
    match client.stream.local_address() {
        Ok(bound) => give(client, bound, id, sent, lent),
        Err(_) => close::refuse(client, DropReason::ClosedEarly, lent),
    }
}

fn give(client: Client, bound: SocketAddr, id: RouteId, sent: &[u8], lent: &mut Lent<'_>) -> Next {
    if !is_allowed(&client, id, lent) {
        client.log(&Step::Refuse { why: &NOT_ALLOWED }, lent.context);
        return close::refuse(client, DropReason::NotAllowed, lent);
    }
    let mut front = [0; HEADER_ROOM];
    match route(&client, bound, id, None, &mut front, lent) {
        Ok(found) => {
            let Some(header) = front.get(HEADER_ROOM - usize::from(found.header)..) else {
                return close::refuse(client, DropReason::ClosedEarly, lent);
            };
            let payload = if sent.is_empty() { Cow::Borrowed(header) } else { Cow::Owned([header, sent].concat()) };
            line_up(Routed::open(client, found, lent), payload, lent)
        }
        Err(reason) => close::refuse(client, reason, lent),
    }
}

fn log_accept(client: &Client, lent: &mut Lent<'_>) {
    if client.refused().is_none() {
        let counts = client.counts(Open::default(), lent.context);
        client.log(&Step::Accept(counts), lent.context);
    }
}

/// Gives the hello its route, and writes the PROXY header to the end of `front`.
fn route(
    client: &Client,
    bound: SocketAddr,
    id: RouteId,
    hello: Option<&client_hello::Hello<'_>>,
    front: &mut [u8; HEADER_ROOM],
    lent: &mut Lent<'_>,
) -> Result<Found, DropReason> {
    let route = lent.context.fleet.route(id).ok_or(DropReason::UnknownSni)?;
    let config = Arc::clone(route.config());
    let unique_id = config.proxy_header.tlvs.unique_id.then(|| lent.shared.unique_ids.draw());
    // The kernel has no address for a socket whose client has left.
    let header = write_header(client, bound, &config, hello, unique_id, front).map_err(|_| DropReason::ClosedEarly)?;
    Ok(Found { config, route: id, unique_id, header: header as u16 })
}

/// Writes the PROXY header to the end of `front`. Answers its length.
fn write_header(
    client: &Client,
    bound: SocketAddr,
    route: &config::Route,
    hello: Option<&client_hello::Hello<'_>>,
    unique_id: Option<[u8; 16]>,
    front: &mut [u8; HEADER_ROOM],
) -> std::io::Result<usize> {
    let len = match route.proxy_header.protocol {
        ProxyProtocol::Off => 0,
        ProxyProtocol::V1 => proxy_header::v1(front, client.source, client.destination(bound)?).len(),
        ProxyProtocol::V2 => {
            let wanted = route.proxy_header.tlvs;
            let tlvs = Tlvs {
                authority: hello.and_then(|hello| hello.sni).filter(|_| wanted.authority),
                alpn: hello.and_then(|hello| hello.alpn().next()).filter(|_| wanted.alpn),
                unique_id,
                crc32c: wanted.crc32c,
                received: client.told.as_ref().filter(|_| wanted.received).map_or(b"", |told| &told.tlvs),
            };
            proxy_header::v2(front, client.source, client.destination(bound)?, &tlvs).len()
        }
    };
    front.copy_within(..len, HEADER_ROOM - len);
    Ok(len)
}
