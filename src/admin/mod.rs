//! The endpoints for whoever runs the proxy: `/health`, `/ready`, `/metrics`, `/stats` and its two other forms. They are
//! served in the same event loop as everything else, a client's phase being a struct with what is valid then:
//!
//! ```text
//!             whole head             written
//!   Reading ---------------> Writing ---------> Leaving ---> closed
//! ```
//!
//! Nobody here can hold up anyone: a phase lasts five seconds at most, who comes when there are [`MOST_CLIENTS`] makes the
//! one go that has been slow for longest, and a large answer is made and written a slice a turn.
mod answer;
mod credentials;
mod csv;
mod json;
mod page;
mod reading;
mod report;
mod writing;

use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;

use crate::context::Context;
use crate::metrics::Snapshot;
use crate::net::{Accepted, Key, Stream, Token, slot_number};
use crate::policy::fds::ADMIN_CLIENTS;
use crate::policy::time::Time;
use answer::Wanted;
pub use credentials::Credentials;
use reading::Reading;
use writing::{Leaving, Writing};

/// Clients at once.
pub const MOST_CLIENTS: usize = ADMIN_CLIENTS;
/// How long a client may take to send its request, then to take the answer, then to close.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client of the endpoints.
pub enum Client {
    /// Its request is not whole yet.
    Reading(Reading),
    /// It is answered.
    Writing(Writing),
    /// It has its answer, and is to close first.
    Leaving(Leaving),
}

/// What becomes of a client after it was worked on.
pub enum Next {
    /// It waits for an event or its deadline.
    Wait(Client),
    /// It had its turn, and goes on in the next one.
    Again(Client),
    /// It asks for what is made of a snapshot.
    Asked(Asked),
    /// It has ended.
    Ended,
}

/// What answers are made of, beside the [`Context`].
pub struct Desk<'a> {
    /// Who may see /stats.
    pub credentials: &'a Credentials,
    /// Whether the proxy is on its way out.
    pub is_draining: bool,
}

/// A client that asks for what is made of a snapshot.
pub struct Asked {
    peer: Peer,
    wanted: Wanted,
}

/// The socket of a client, and how long its phase may last.
struct Peer {
    stream: Stream,
    source: SocketAddr,
    until: Time,
}

impl Client {
    /// Begins with a client that was let in, and answers it if its request is there.
    pub fn accept(accepted: Accepted, key: Key, desk: &Desk<'_>, context: &mut Context) -> Next {
        let Accepted { stream, source } = accepted;
        let peer = Peer { stream, source, until: context.now + PATIENCE };
        Reading::new(peer).advance(key, desk, context)
    }

    /// Notes what an event says.
    pub fn note(&mut self, event: &Event) {
        self.peer_mut().stream.note(event);
    }

    /// Does what can be done now.
    pub fn advance(self, key: Key, desk: &Desk<'_>, context: &mut Context) -> Next {
        match self {
            Client::Reading(reading) => reading.advance(key, desk, context),
            Client::Writing(writing) => writing.advance(key, context),
            Client::Leaving(leaving) => leaving.advance(key, context),
        }
    }

    /// A deadline has come up, if not one that has moved meanwhile.
    pub fn expire(self, key: Key, context: &mut Context) -> Next {
        let until = self.peer().until;
        if until > context.now {
            context.admin_deadlines.arm(slot_number(key), key, until);
            return Next::Wait(self);
        }
        match self {
            Client::Reading(reading) => reading.expire(key, context),
            Client::Writing(_) | Client::Leaving(_) => {
                self.end();
                Next::Ended
            }
        }
    }

    /// Ends it, whatever it does. An answer that is not written whole ends with RST: to a client of HTTP/1.0, FIN would be
    /// the end of a whole one.
    pub fn end(self) {
        if let Client::Writing(writing) = self {
            writing.abandon();
        }
    }

    /// Who goes first to make room for another, the lowest first: who has its answer, then who has not asked yet, then
    /// who does not take the answer, of each the one who has been about that for longest.
    #[must_use]
    pub fn worth(&self) -> (u8, Time) {
        let phase = match self {
            Client::Leaving(_) => 0,
            Client::Reading(_) => 1,
            Client::Writing(_) => 2,
        };
        (phase, self.peer().until)
    }

    fn peer(&self) -> &Peer {
        match self {
            Client::Reading(Reading { peer, .. })
            | Client::Writing(Writing { peer, .. })
            | Client::Leaving(Leaving { peer, .. }) => peer,
        }
    }

    fn peer_mut(&mut self) -> &mut Peer {
        match self {
            Client::Reading(Reading { peer, .. })
            | Client::Writing(Writing { peer, .. })
            | Client::Leaving(Leaving { peer, .. }) => peer,
        }
    }
}

impl Asked {
    /// Answers with what is made of `snapshot`.
    pub fn answer(self, snapshot: Snapshot, key: Key, context: &mut Context) -> Next {
        Writing::begin(self.peer, self.wanted.answer(snapshot), key, context)
    }
}

impl Peer {
    /// Goes on to another phase.
    fn renew(mut self, now: Time) -> Peer {
        self.until = now + PATIENCE;
        self
    }

    /// Has the poll and the clock report what the client in `key` waits for; `false` where the kernel cannot.
    fn watch(&mut self, key: Key, context: &mut Context) -> bool {
        context.admin_deadlines.arm(slot_number(key), key, self.until);
        self.stream.watch(&context.registry, Token::Admin(key)).is_ok()
    }
}
