//! From accept to the end of a balancer's PROXY header, which names the client.
use std::net::SocketAddr;

use super::{Client, Lent, Moved, Next, Session, close};
use crate::access_log::Step;
use crate::net::Token;
use crate::policy::time::Time;
use crate::preface::{self, Preface as Read};
use crate::vocabulary::{CloseReason, DropReason};

/// A connection of a balancer that has not named its client yet.
pub struct Preface {
    /// The balancer, which has no limits.
    pub(super) client: Client,
    /// The address of its listener.
    bound: SocketAddr,
    /// When header and hello must be whole.
    until: Time,
}

impl Preface {
    pub(super) fn accept(client: Client, bound: SocketAddr, lent: &mut Lent<'_>) -> Next {
        let until = client.accepted + lent.context.config.timeouts.client_hello;
        Preface { client, bound, until }.advance(lent)
    }

    /// Reads the header once it is whole, and goes on with the client that it names.
    pub(super) fn advance(mut self, lent: &mut Lent<'_>) -> Next {
        match preface::read(&mut self.client.stream) {
            Read::Incomplete => self.wait(lent),
            Read::Client(told) => {
                let client = Client { source: told.source, told: Some(told.into()), ..self.client };
                Session::admit(client, self.bound, lent)
            }
            Read::Check => {
                close::check(self.client.frontend, lent);
                Next::Ended
            }
            Read::Refused(reason, why) => {
                if let Some(why) = why {
                    self.client.log(&Step::Refuse { why: &why }, lent.context);
                }
                close::refuse(self.client, reason, lent)
            }
        }
    }

    /// Takes over a connection of the previous process. Nothing was taken from its socket.
    pub(super) fn take_up(client: Client, until: Time, lent: &mut Lent<'_>) -> Next {
        let Ok(bound) = client.stream.local_address() else {
            return close::refuse(client, DropReason::ClosedEarly, lent);
        };
        Preface { client, bound, until }.advance(lent)
    }

    pub(super) fn expire(self, lent: &mut Lent<'_>) -> Next {
        close::refuse(self.client, DropReason::HelloTimeout, lent)
    }

    pub(super) fn deadline(&self) -> Time {
        self.until
    }

    pub(super) fn end(self, reason: CloseReason, lent: &mut Lent<'_>) {
        close::close(&self.client, None, Moved::default(), reason, lent);
    }

    fn wait(mut self, lent: &mut Lent<'_>) -> Next {
        if self.client.stream.watch(&lent.context.registry, Token::Client(lent.key)).is_err() {
            self.end(CloseReason::OutOfResources, lent);
            return Next::Ended;
        }
        lent.arm(self.until);
        Next::Wait(Session::Preface(self.into()))
    }
}
