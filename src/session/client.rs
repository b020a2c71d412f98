//! The client of a session.
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Lent;
use super::names::Names;
use crate::access_log::{Counts, Step, Whose};
use crate::context::Context;
use crate::fleet::{Fleet, Open, RouteId};
use crate::net::{Stream, canonical};
use crate::policy::time::Time;
use crate::preface::Told;
use crate::vocabulary::{CloseReason, DropReason, Role};

/// The client of a session, which every phase has.
pub struct Client {
    pub(super) stream: Stream,
    pub(super) source: SocketAddr,
    pub(super) accepted: Time,
    /// The route that owns the address it came to; `None`: the file does.
    pub(super) frontend: Option<RouteId>,
    /// The redirect handed it on: its client came to the redirect's addresses, and its request goes to this port of a
    /// server.
    pub(super) handed_on: Option<u16>,
    /// Whether no byte of its hello has come yet.
    pub(super) is_unheard: bool,
    /// Whether the previous process had given it a route, which has counted it as a session.
    pub(super) is_counted: bool,
    pub(super) admission: Admission,
    /// Bytes lent beyond what every hello may take.
    pub(super) lent: u32,
    /// What a balancer in front said of it.
    pub(super) told: Option<Box<Told>>,
    /// The names in its hello, once that is read.
    pub(super) names: Option<Rc<Names>>,
}

/// The decision of the source limits on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its address may have it.
    Granted,
    /// Its address is over its limits.
    Refused(DropReason),
    /// A balancer's, which has no limits.
    Unlimited,
}

impl Client {
    /// A client that came to the file's own addresses.
    pub(super) fn new(stream: Stream, source: SocketAddr, accepted: Time) -> Client {
        Client {
            stream,
            source,
            accepted,
            frontend: None,
            handed_on: None,
            is_unheard: false,
            is_counted: false,
            admission: Admission::Unlimited,
            lent: 0,
            told: None,
            names: None,
        }
    }

    /// Asks the source limits about its address. Answers the reason to refuse it, if any.
    pub(super) fn ask_limits(&mut self, lent: &mut Lent<'_>) -> Option<DropReason> {
        self.admission = match lent.shared.sources.admit(lent.context.now, self.source.ip()) {
            Ok(()) => Admission::Granted,
            Err(reason) => {
                lent.shared.count_over_limits();
                Admission::Refused(reason)
            }
        };
        self.refused()
    }

    /// Writes one of its log lines.
    pub(super) fn log(&self, step: &Step<'_>, context: &mut Context) {
        context.log.write(context.now, &self.whose(&context.fleet), step);
    }

    /// The beginning of its log lines.
    pub(super) fn whose<'a>(&'a self, fleet: &'a Fleet) -> Whose<'a> {
        let owner = self.frontend.and_then(|id| Some(&**fleet.route(id)?.name()));
        Whose {
            frontend: owner.unwrap_or(if self.handed_on.is_some() { Role::Http.name() } else { Role::Https.name() }),
            source: self.source,
            accepted: self.accepted,
            route: None,
            server: None,
            unique_id: None,
            sni: self.names.as_ref().and_then(|names| names.sni.as_deref()),
            alpn: self.names.as_ref().map_or(&[], |names| &names.alpn),
        }
    }

    /// Whether the log has lines of this client: after its first byte always, before that if `log.empty` is true.
    pub(super) fn is_logged(&self, context: &Context) -> bool {
        !self.is_unheard || context.config.log.empty
    }

    /// Whether an end for `reason` counts as denied. A client that left before its first byte, such as a port scanner,
    /// was not denied anything.
    pub(super) fn is_denied(&self, reason: CloseReason) -> bool {
        let has_left = self.is_unheard && reason == CloseReason::Dropped(DropReason::ClosedEarly);
        matches!(reason, CloseReason::Dropped(_)) && !has_left
    }

    /// The reason to refuse its address.
    pub(super) fn refused(&self) -> Option<DropReason> {
        match self.admission {
            Admission::Refused(reason) => Some(reason),
            Admission::Granted | Admission::Unlimited => None,
        }
    }

    /// Current connections, for its log lines.
    pub(super) fn counts(&self, open: Open, context: &Context) -> Counts {
        let counts = context.counts(self.frontend, open);
        if self.handed_on.is_some() { Counts { frontend: context.clients.at_redirect(), ..counts } } else { counts }
    }

    /// The address that it connected to. If the listener is `bound` to one address, no system call is needed.
    pub(super) fn destination(&self, bound: SocketAddr) -> io::Result<SocketAddr> {
        if let Some(told) = &self.told {
            return Ok(told.destination);
        }
        if bound.ip().is_unspecified() { self.stream.local_address().map(canonical) } else { Ok(bound) }
    }
}
