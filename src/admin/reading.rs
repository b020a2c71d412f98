//! A request comes in.
use super::answer::{self, Answer, Reply, Status};
use super::writing::Writing;
use super::{Asked, Client, Desk, Next, Peer};
use crate::context::Context;
use crate::net::{Key, Received};
use crate::wire::http_head::{self, Verdict};

/// A client whose request is not whole yet.
pub struct Reading {
    pub(super) peer: Peer,
    /// What came so far.
    head: Vec<u8>,
}

impl Reading {
    pub(super) fn new(peer: Peer) -> Reading {
        Reading { peer, head: Vec::new() }
    }

    /// Reads until the head is whole, or the socket is empty.
    pub(super) fn advance(mut self, key: Key, desk: &Desk<'_>, context: &mut Context) -> Next {
        let mut room = [0; 2048];
        loop {
            match self.peer.stream.read(&mut room) {
                Received::Bytes(n) => self.head.extend_from_slice(room.get(..n).unwrap_or_default()),
                Received::Blocked if self.peer.watch(key, context) => return Next::Wait(Client::Reading(self)),
                Received::Blocked | Received::End | Received::Failed(_) => return Next::Ended,
            }
            let answer = match http_head::read(&self.head) {
                Verdict::Incomplete => continue,
                Verdict::TooLong => {
                    let most = http_head::MAX_LEN / 1024;
                    Answer::failure(Status::HeadTooLong, &format!("the request's head is longer than {most} KiB"))
                }
                Verdict::TooManyFields => {
                    let most = http_head::MAX_FIELDS;
                    Answer::failure(Status::HeadTooLong, &format!("the request's head has more than {most} fields"))
                }
                Verdict::Malformed(why) => Answer::failure(Status::BadRequest, why),
                Verdict::Head(head) => match answer::to(&head, self.peer.source, desk, context) {
                    Reply::Answer(answer) => answer,
                    Reply::Report(wanted) => return Next::Asked(Asked { peer: self.peer, wanted }),
                },
            };
            return Writing::begin(self.peer, answer, key, context);
        }
    }

    /// The request did not come in time.
    pub(super) fn expire(self, key: Key, context: &mut Context) -> Next {
        let answer = Answer::failure(Status::Timeout, "the request took longer than 5 seconds");
        Writing::begin(self.peer, answer, key, context)
    }
}
