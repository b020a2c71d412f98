//! Bytes move, both ways, until both directions have ended.
use std::rc::Rc;
use std::time::Duration;

use super::close::{self, Record};
use super::connect::Routed;
use super::{Client, Moved, Next, Session, Side};
use crate::access_log::{Counts, Step, Timing, Whose};
use crate::config::Route;
use crate::context::Context;
use crate::fleet::ServerId;
use crate::net::{Direction, Key, Progress, Stream, Token, slot_number};
use crate::policy::reason::CloseReason;
use crate::policy::time::Time;

/// Bytes that one direction moves before the other sessions have their turn.
const PORTION: usize = 512 * 1024;
/// The same while no session speaks but those that move bulk, for which larger portions are cheaper.
const PORTION_OF_BULK: usize = 8 * 1024 * 1024;
/// How long a session that has spoken is reckoned with.
const MEMORY: Duration = Duration::from_millis(20);

/// A client and a server that talk to each other.
pub struct Relay {
    pub(super) client: Client,
    pub(super) server: Stream,
    up: Direction,
    down: Direction,
    config: Rc<Route>,
    id: ServerId,
    unique_id: Option<[u8; 16]>,
    /// Bytes of `up` that are the PROXY header.
    header: u16,
    queued: Duration,
    ahead: u64,
    connect: Duration,
    /// When a byte, or the end of a direction, went through last.
    last_heard: Time,
    /// From whom that came.
    last_word: Side,
    /// The server is broken for what goes up. What it said before is still brought down.
    server_broke: bool,
    /// It stands in line behind the other sessions that move bulk.
    is_put_off: bool,
}

impl Relay {
    /// Begins with a server that has taken `written` bytes of the payload.
    #[expect(clippy::too_many_arguments, reason = "a phase begins with what the one before had, each under its name")]
    pub(super) fn begin(
        client: Client,
        server: Stream,
        routed: &Routed,
        id: ServerId,
        payload: &[u8],
        written: usize,
        key: Key,
        context: &mut Context,
    ) -> Next {
        let relay = Box::new(Relay {
            client,
            server,
            up: Direction::starting_with(payload, written),
            down: Direction::default(),
            config: Rc::clone(&routed.config),
            id,
            unique_id: routed.unique_id,
            header: routed.header as u16,
            queued: routed.queued,
            ahead: routed.ahead,
            connect: routed.connect_time(context.now),
            last_heard: context.now,
            last_word: Side::Client,
            server_broke: false,
            is_put_off: false,
        });
        relay.log(context);
        context.fleet.connected(id, relay.queued, relay.connect);
        context.process.histograms.connect(relay.connect);
        // Nothing is read yet: the payload may still lie in the scratch buffer. What is there already is reported as soon
        // as the sockets are watched, but for what has been reported before: what the client has left over from its
        // hello, and what a server said that took its time to connect.
        let is_busy = relay.client.stream.is_readable() || relay.server.is_readable();
        relay.wait(is_busy, key, context)
    }

    /// Whether moving what can be moved may take long.
    pub(super) fn is_bulk(&self) -> bool {
        self.up.is_bulk() || self.down.is_bulk()
    }

    /// Whether it stands in line.
    pub(super) fn is_put_off(&self) -> bool {
        self.is_put_off
    }

    /// Stands in line, once.
    pub(super) fn put_off(mut self: Box<Self>) -> Next {
        let stood = std::mem::replace(&mut self.is_put_off, true);
        let session = Session::Relay(self);
        if stood { Next::Wait(session) } else { Next::Later(session) }
    }

    /// Moves what can be moved.
    pub(super) fn advance(mut self: Box<Self>, key: Key, context: &mut Context) -> Next {
        self.is_put_off = false;
        let before = [self.up.standing(), self.down.standing()];
        let is_busy = match self.pump(context) {
            Ok(is_busy) => is_busy,
            Err(reason) => {
                self.break_off(reason, context);
                return Next::Ended;
            }
        };
        if self.up.has_ended() && self.down.has_ended() {
            let reason = if self.server_broke { CloseReason::ServerBroke } else { CloseReason::Done };
            if self.server_broke {
                self.break_off(reason, context);
            } else {
                self.end(reason, context);
            }
            return Next::Ended;
        }
        self.note_change(before, context.now);
        self.wait(is_busy, key, context)
    }

    fn wait(mut self: Box<Self>, is_busy: bool, key: Key, context: &mut Context) -> Next {
        let watched = self
            .client
            .stream
            .watch(&context.registry, Token::Client(key))
            .and_then(|()| self.server.watch(&context.registry, Token::Server(key)));
        if watched.is_err() {
            self.end(CloseReason::OutOfResources, context);
            return Next::Ended;
        }
        let deadline = self.deadline();
        context.deadlines.arm(slot_number(key), key, deadline);
        match is_busy {
            true if self.is_bulk() => self.put_off(),
            true => Next::Again(Session::Relay(self)),
            false => Next::Wait(Session::Relay(self)),
        }
    }

    /// Whether there is more to do at once. An error says why the connection is over.
    fn pump(&mut self, context: &mut Context) -> Result<bool, CloseReason> {
        let Context { scratch, pipes, now, spoken, .. } = context;
        let portion = if now.since(*spoken) > MEMORY { PORTION_OF_BULK } else { PORTION };
        let up = self.up.pump(&mut self.client.stream, &mut self.server, portion, scratch, pipes);
        match up {
            Progress::Ended if !self.down.has_ended() => self.server.finish(),
            Progress::SourceFailed(_) => return Err(CloseReason::ClientBroke),
            // What the server sent before it broke off can still be read.
            Progress::SinkFailed(_) => {
                self.server_broke = !self.down.has_ended();
                self.up.cut(pipes);
            }
            _ => {}
        }
        let down = self.down.pump(&mut self.server, &mut self.client.stream, portion, scratch, pipes);
        match down {
            Progress::Ended if !self.up.has_ended() => self.client.stream.finish(),
            Progress::SourceFailed(_) => return Err(CloseReason::ServerBroke),
            Progress::SinkFailed(_) => return Err(CloseReason::ClientBroke),
            _ => {}
        }
        // Where nothing is to be read from or written to a socket, nothing else tells of its reset.
        if self.client.stream.is_broken() {
            return Err(CloseReason::ClientBroke);
        }
        if self.down.has_ended() && self.server.is_broken() {
            self.up.cut(pipes);
        }
        Ok(up == Progress::Unfinished || down == Progress::Unfinished)
    }

    /// Notes whose byte or FIN was the last, given how far each direction had come before.
    fn note_change(&mut self, [up, down]: [(u64, bool); 2], now: Time) {
        if self.up.standing() != up {
            self.last_word = Side::Client;
            self.last_heard = now;
        }
        if self.down.standing() != down {
            self.last_word = Side::Server;
            self.last_heard = now;
        }
    }

    pub(super) fn expire(self: Box<Self>, context: &mut Context) -> Next {
        let reason = self.silent();
        self.end(reason, context);
        Next::Ended
    }

    /// Who let the other wait: who does not take what is held for it, who has not ended its direction yet, or who did not
    /// answer the last byte.
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
        let timeouts = &self.config.timeouts;
        self.last_heard + if self.is_half_closed() { timeouts.half_closed } else { timeouts.tunnel }
    }

    pub(super) fn server_id(&self) -> ServerId {
        self.id
    }

    pub(super) fn is_half_closed(&self) -> bool {
        self.up.has_ended() || self.down.has_ended()
    }

    pub(super) fn moved(&self) -> Moved {
        Moved {
            up: self.up.bytes().saturating_sub(self.header.into()),
            down: self.down.bytes(),
            spliced: self.up.spliced() + self.down.spliced(),
        }
    }

    /// Ends with RST to both: one of them has broken off, and the other is to know that this is no orderly end.
    fn break_off(mut self: Box<Self>, reason: CloseReason, context: &mut Context) {
        self.settle(reason, context);
        self.client.stream.reset();
        self.server.reset();
    }

    /// Ends with FIN to both.
    pub(super) fn end(mut self: Box<Self>, reason: CloseReason, context: &mut Context) {
        self.settle(reason, context);
    }

    fn settle(&mut self, reason: CloseReason, context: &mut Context) {
        self.up.cut(&mut context.pipes);
        self.down.cut(&mut context.pipes);
        let record = Record {
            route: Some(self.id.route),
            server: Some(self.id.server),
            unique_id: self.unique_id,
            queued: Some(self.queued),
            ahead: self.ahead,
            connect: Some(self.connect),
            moved: self.moved(),
        };
        close::close(&self.client, &record, reason, context);
    }

    fn log(&self, context: &mut Context) {
        let counts = Counts { ahead: self.ahead, ..context.counts(Some(self.id.route), Some(self.id.server)) };
        let total = context.now - self.client.accepted;
        let timing = Timing { queued: Some(self.queued), connect: Some(self.connect), total };
        let Context { log, fleet, now, .. } = context;
        let server = fleet.server(self.id).map(|server| &*server.name);
        let route = Some(&*self.config.name);
        let whose = Whose { route, server, unique_id: self.unique_id, ..self.client.whose() };
        log.write(*now, &whose, &Step::Connect { timing, counts });
    }
}
