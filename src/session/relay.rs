//! Moves bytes both ways, until both directions have ended.
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::routed::{ParkedRouted, Routed};
use super::{Client, Lent, Moved, Next, Session, Shared, Side};
use crate::access_log::Event;
use crate::context::Context;
use crate::fleet::{MappedServer, ServerMap};
use crate::net::{self, Direction, ParkedDirection, Pipes, Progress, Standing, Stream, Token};
use crate::policy::time::Time;
use crate::vocabulary::CloseReason;
use crate::wire::server_hello;

/// Age at which a server's socket gets its keepalive. A short connection is over by then, and saves four system calls.
/// The silence so far counts.
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(1);
/// All servers' sockets whose keepalive is due within such a time get it in one turn.
const KEEPALIVE_STEP: Duration = Duration::from_millis(10);

/// A client and a server whose bytes are relayed.
pub struct Relay {
    pub(super) routed: Routed,
    pub(super) server: Stream,
    up: Direction,
    down: Direction,
    /// When the last byte, or end of a direction, was relayed.
    last_heard: Time,
    /// The side that sent it.
    last_word: Side,
    /// Whether the server's socket has failed for `up`. Bytes that the server sent before are still relayed.
    server_broke: bool,
    /// When the server's socket gets its keepalive; [`Time::NEVER`] after that, and if it gets none.
    keepalive_due: Time,
    /// Whether it is in the line of sessions that move bulk.
    is_put_off: bool,
    /// Whether it is counted as stalled.
    is_stalled: bool,
}

/// The state that the next process needs, without the client and the held bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct ParkedRelay {
    routed: ParkedRouted,
    up: ParkedDirection,
    down: ParkedDirection,
    last_heard: Time,
    #[serde(default)]
    #[cfg_attr(feature = "other-state", serde(rename = "spoke_last"))]
    client_spoke_last: bool,
    server_broke: bool,
}

/// The held bytes of a relay: `up`, then `down`.
pub(super) type Held<'a> = [&'a [u8]; 2];

impl ParkedRelay {
    /// Where it goes on. `map` has the routes and servers of the previous process.
    pub(super) fn mapped<'a>(&self, map: &'a ServerMap) -> Option<MappedServer<'a>> {
        self.routed.mapped(map)
    }
}

impl Relay {
    /// The state that the next process needs, with the held bytes and the sockets of client and server.
    ///
    /// # Errors
    /// The kernel's, if a pipe cannot be read.
    pub(super) fn park(&mut self, pipes: &mut Pipes) -> io::Result<(ParkedRelay, Held<'_>, [BorrowedFd<'_>; 2])> {
        let routed = self.routed.park().ok_or(io::ErrorKind::NotConnected)?;
        let (up, held_up) = self.up.park(&self.server, pipes)?;
        let (down, held_down) = self.down.park(&self.routed.client.stream, pipes)?;
        let client_spoke_last = self.last_word == Side::Client;
        let (last_heard, server_broke) = (self.last_heard, self.server_broke);
        let parked = ParkedRelay { routed, up, down, last_heard, client_spoke_last, server_broke };
        Ok((parked, [held_up, held_down], [self.routed.client.stream.as_fd(), self.server.as_fd()]))
    }

    /// Takes over a relay of the previous process, to a server of this one.
    pub(super) fn take_up(
        client: Client,
        server: Stream,
        parked: &ParkedRelay,
        mapped: MappedServer<'_>,
        [held_up, held_down]: Held<'_>,
        lent: &mut Lent<'_>,
    ) -> Next {
        let relay = Box::new(Relay {
            routed: Routed::take_up(client, &parked.routed, mapped, &mut lent.context.fleet),
            server,
            up: Direction::take_up(parked.up, held_up),
            down: Direction::take_up(parked.down, held_down),
            last_heard: parked.last_heard,
            last_word: if parked.client_spoke_last { Side::Client } else { Side::Server },
            server_broke: parked.server_broke,
            keepalive_due: keepalive_due(lent.context),
            is_put_off: false,
            is_stalled: false,
        });
        relay.wait(true, lent)
    }

    /// Begins with a server that has taken the first `written` bytes of `up`.
    pub(super) fn begin(
        mut routed: Routed,
        server: Stream,
        payload: &[u8],
        written: usize,
        lent: &mut Lent<'_>,
    ) -> Next {
        routed.connected(lent);
        lent.shared.memory.take_back(std::mem::take(&mut routed.client.lent));
        let relay = Box::new(Relay {
            routed,
            server,
            up: Direction::starting_with(payload, written),
            down: Direction::answering(payload),
            last_heard: lent.context.now,
            last_word: Side::Client,
            server_broke: false,
            keepalive_due: keepalive_due(lent.context),
            is_put_off: false,
            is_stalled: false,
        });
        // Nothing is read yet, because the payload may still be in the scratch buffer. What is there is reported once
        // the sockets are registered. What was reported before is not: bytes of the client after its hello, and an
        // answer that came with the connect; these are found by reading.
        let is_busy = relay.routed.client.stream.is_readable() || relay.server.is_readable();
        relay.wait(is_busy, lent)
    }

    /// Whether a pump may take long.
    pub(super) fn is_bulk(&self) -> bool {
        self.up.is_bulk() || self.down.is_bulk()
    }

    /// Puts it in the line, unless it is there.
    pub(super) fn put_off(mut self: Box<Self>) -> Next {
        let stood = std::mem::replace(&mut self.is_put_off, true);
        let session = Session::Relay(self);
        if stood { Next::Wait(session) } else { Next::Later(session) }
    }

    /// Moves what can be moved.
    pub(super) fn advance(mut self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        self.is_put_off = false;
        self.narrow(lent);
        let before = [self.up.standing(), self.down.standing()];
        let pumped = self.pump(lent);
        let [_, down] = before;
        self.look_at_first(down, lent);
        let is_busy = match pumped {
            Ok(is_busy) => is_busy,
            Err(reason) => {
                self.break_off(reason, lent);
                return Next::Ended;
            }
        };
        if self.up.has_ended() && self.down.has_ended() {
            let reason = if self.server_broke { CloseReason::ServerBroke } else { CloseReason::Done };
            if self.server_broke {
                self.break_off(reason, lent);
            } else {
                self.end(reason, lent);
            }
            return Next::Ended;
        }
        self.note_change(before, lent.context.now);
        self.wait(is_busy, lent)
    }

    fn wait(mut self: Box<Self>, is_busy: bool, lent: &mut Lent<'_>) -> Next {
        lent.shared.memory.note_stalled(&mut self.is_stalled, self.down.is_held_up());
        let registry = &lent.context.registry;
        let watched = self
            .routed
            .client
            .stream
            .watch(registry, Token::Client(lent.key))
            .and_then(|()| self.server.watch(registry, Token::Server(lent.key)));
        if watched.is_err() {
            self.end(CloseReason::OutOfResources, lent);
            return Next::Ended;
        }
        lent.arm(self.deadline());
        match is_busy {
            true if self.is_bulk() => self.put_off(),
            true => Next::Again(Session::Relay(self)),
            false => Next::Wait(Session::Relay(self)),
        }
    }

    /// While others are stalled, sets a bound for what this one keeps in the kernel if its client reads slowly: before it reads from
    /// the server, as each read lets the server send more. One whose client takes nothing has what it has: a lower bound would have the
    /// kernel drop what is on its way.
    fn narrow(&mut self, lent: &Lent<'_>) {
        let reads = self.server.is_readable() && (!self.down.is_held_up() || self.routed.client.stream.is_writable());
        if reads {
            self.server.narrow(lent.shared.memory.bound());
        }
    }

    /// Whether there is more to do at once. The error is the close reason.
    fn pump(&mut self, lent: &mut Lent<'_>) -> Result<bool, CloseReason> {
        let Shared { scratch, pipes, line, .. } = &mut *lent.shared;
        let portion = line.portion(lent.context.now);
        let up = self.up.pump(&mut self.routed.client.stream, &mut self.server, portion, scratch, pipes);
        match up {
            Progress::Ended if !self.down.has_ended() => self.server.finish(),
            Progress::SourceFailed(error) => return Err(broken(error, CloseReason::ClientBroke)),
            Progress::SinkFailed(error) if net::is_shortage(error) => return Err(CloseReason::OutOfResources),
            // What the server sent before it failed can still be read.
            Progress::SinkFailed(_) => {
                self.server_broke = !self.down.has_ended();
                self.up.cut(pipes);
            }
            _ => {}
        }
        let down = self.down.pump(&mut self.server, &mut self.routed.client.stream, portion, scratch, pipes);
        match down {
            Progress::Ended if !self.up.has_ended() => self.routed.client.stream.finish(),
            Progress::SourceFailed(Errno::CONNREFUSED) => return Err(CloseReason::ServerRefused),
            Progress::SourceFailed(error) => return Err(broken(error, CloseReason::ServerBroke)),
            Progress::SinkFailed(error) => return Err(broken(error, CloseReason::ClientBroke)),
            _ => {}
        }
        // A direction that neither reads nor writes a socket does not notice its reset.
        if self.routed.client.stream.is_broken() {
            return Err(CloseReason::ClientBroke);
        }
        if self.down.has_ended() && self.server.is_broken() {
            self.up.cut(pipes);
        }
        Ok(up == Progress::Unfinished || down == Progress::Unfinished)
    }

    /// Looks at the first byte of a server's answer to a hello. Bytes that are not TLS are counted and logged: the
    /// server expects another PROXY header or speaks plain HTTP, which TCP probes do not notice.
    fn look_at_first(&self, before: Standing, lent: &mut Lent<'_>) {
        let is_first = before.bytes == 0 && self.down.bytes() > 0 && self.routed.client.names.is_some();
        let (true, Some(first), Some(id)) = (is_first, self.down.first(), self.routed.server_id()) else { return };
        if server_hello::begins_record(first) {
            return;
        }
        let Context { fleet, log, now, .. } = &mut *lent.context;
        if fleet.not_tls(id, *now)
            && let Some(server) = fleet.server(id)
        {
            log.tell(*now, &Event::NotTls { route: &self.routed.found.config.name, server: &server.name, first });
        }
    }

    /// Notes the side that sent the last byte or FIN, by the progress of each direction before.
    fn note_change(&mut self, [up, down]: [Standing; 2], now: Time) {
        if self.up.standing() != up {
            self.last_word = Side::Client;
            self.last_heard = now;
        }
        if self.down.standing() != down {
            self.last_word = Side::Server;
            self.last_heard = now;
        }
    }

    pub(super) fn expire(mut self: Box<Self>, lent: &mut Lent<'_>) -> Next {
        if self.keepalive_due <= lent.context.now {
            self.keepalive_due = Time::NEVER;
            self.server.keep_alive(lent.context.config.timeouts.keepalive);
        }
        if self.deadline() > lent.context.now {
            lent.arm(self.deadline());
            return Next::Wait(Session::Relay(self));
        }
        // It may have been silent only because it stands in the line. Its turn there sets its deadline.
        if self.is_put_off {
            return Next::Wait(Session::Relay(self));
        }
        let reason = self.silent();
        self.end(reason, lent);
        Next::Ended
    }

    /// The side that was silent: the one that does not read its held bytes, else the one that has not ended its
    /// direction, else the one that did not answer the last byte.
    fn silent(&self) -> CloseReason {
        let client = if self.up.is_held_up() != self.down.is_held_up() {
            self.down.is_held_up()
        } else if self.up.has_ended() != self.down.has_ended() {
            self.down.has_ended()
        } else {
            self.last_word == Side::Server
        };
        if client { CloseReason::ClientSilent } else { CloseReason::ServerSilent }
    }

    pub(super) fn deadline(&self) -> Time {
        let timeouts = &self.routed.found.config.timeouts;
        let silent = self.last_heard + if self.is_half_closed() { timeouts.half_closed } else { timeouts.tunnel };
        silent.min(self.keepalive_due)
    }

    pub(super) fn is_half_closed(&self) -> bool {
        self.up.has_ended() || self.down.has_ended()
    }

    pub(super) fn moved(&self) -> Moved {
        Moved {
            up: self.up.bytes().saturating_sub(self.routed.found.header.into()),
            down: self.down.bytes(),
            spliced: self.up.spliced() + self.down.spliced(),
        }
    }

    /// Ends with RST to both sides: the one that did not fail must learn that this is no orderly end.
    fn break_off(mut self: Box<Self>, reason: CloseReason, lent: &mut Lent<'_>) {
        self.finish(reason, lent);
        self.routed.client.stream.reset();
        self.server.reset();
    }

    /// Ends with FIN to both.
    pub(super) fn end(mut self: Box<Self>, reason: CloseReason, lent: &mut Lent<'_>) {
        self.finish(reason, lent);
    }

    fn finish(&mut self, reason: CloseReason, lent: &mut Lent<'_>) {
        self.up.cut(&mut lent.shared.pipes);
        self.down.cut(&mut lent.shared.pipes);
        lent.shared.memory.note_stalled(&mut self.is_stalled, false);
        self.routed.close(self.moved(), reason, lent);
    }
}

/// The close reason for a failed socket: this host may be out of fds or memory.
fn broken(error: Errno, reason: CloseReason) -> CloseReason {
    if net::is_shortage(error) { CloseReason::OutOfResources } else { reason }
}

/// When the server's socket of a relay that begins now gets its keepalive.
fn keepalive_due(context: &Context) -> Time {
    let keepalive = context.config.timeouts.keepalive;
    if keepalive.is_zero() {
        return Time::NEVER;
    }
    (context.now + keepalive.min(KEEPALIVE_PAUSE)).rounded_up(KEEPALIVE_STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, each idle connection takes 16 bytes more than docs/how-cheap.md says, or 32: what the allocator gives grows in such
    /// steps, and this is the last size before one.
    #[test]
    fn a_relay_fits_where_the_next_byte_would_cost_16() {
        assert!(size_of::<Relay>() <= 264, "{} bytes", size_of::<Relay>());
    }
}
