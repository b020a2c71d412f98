//! One direction of a relay. The same code moves `up` and `down`.
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::pipes::{Pipe, Pipes, is_refusal};
use super::stream::{Received, Stream};

/// The size of a read that looks like bulk.
const BULK_READ: usize = 16 * 1024;
/// Such reads in a row that prove bulk.
const BULK_READS: u8 = 4;
/// The most such reads that count. A smaller read takes back one that counted, and several end bulk: a proxy that is faster than
/// the sender finds few bytes now and then, and bulk that began anew would be copied for a while.
const MAX_BULK_READS: u8 = 2 * BULK_READS;
/// Bytes after which copied bulk asks for a place: more than the kernel takes by default for a sink that reads nothing.
const PROVEN: u64 = 1024 * 1024;

/// Bytes on their way from one socket to the other. They are counted; only the first one is looked at.
#[derive(Default)]
pub struct Direction {
    bytes: u64,
    spliced: u64,
    /// Boxed, for an idle direction holds nothing.
    held: Option<Box<Held>>,
    flow: Flow,
    bulk_reads: u8,
    beginning: Beginning,
    /// Whether it is one of the few that may copy bulk in haste.
    has_place: bool,
}

/// Bytes that were read and are not written yet.
enum Held {
    /// The kernel holds it, in the source's receive queue.
    AtSource,
    Bytes {
        bytes: Box<[u8]>,
        written: u32,
    },
    Pipe(Pipe),
}

impl Held {
    fn unwritten(bytes: impl Into<Box<[u8]>>) -> Held {
        Held::Bytes { bytes: bytes.into(), written: 0 }
    }
}

/// The first bytes of a direction.
#[derive(Clone, Copy, Default)]
enum Beginning {
    #[default]
    Unknown,
    /// The answer to bytes that begin like this. A source that is connected with itself sends the same bytes back.
    Answer([u8; 4]),
    /// This byte, which has come.
    Byte(u8),
}

/// What a read brought, and how much of it the sink has taken.
struct Passed<'a> {
    bytes: &'a [u8],
    written: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Flow {
    #[default]
    Open,
    /// FIN was read; held bytes are written first.
    Ending,
    Ended,
}

/// A direction as the next process gets it, without the held bytes.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ParkedDirection {
    bytes: u64,
    spliced: u64,
    flow: Flow,
}

/// The progress of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Bytes written.
    pub bytes: u64,
    /// Whether everything is written and FIN was read.
    pub has_ended: bool,
}

/// Why a pump stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for an event on either socket.
    Waiting,
    /// It has moved its portion, and there is more.
    Unfinished,
    /// FIN was read and everything before it is written. The caller passes FIN on now.
    Ended,
    /// The source's socket has failed; refused, if it is connected with itself.
    SourceFailed(Errno),
    /// The sink's socket has failed.
    SinkFailed(Errno),
}

impl Direction {
    /// A direction that begins with `bytes`, of which `written` are written already.
    #[must_use]
    pub fn starting_with(bytes: &[u8], written: usize) -> Direction {
        let held = match bytes.get(written..) {
            None | Some([]) => None,
            Some(rest) => Some(Held::unwritten(rest).into()),
        };
        let beginning = bytes.first().copied().map_or(Beginning::Unknown, Beginning::Byte);
        Direction { bytes: written as u64, beginning, held, ..Direction::default() }
    }

    /// The direction that carries the answer to `sent`. A source that sends the same bytes back may be connected with
    /// itself: the kernel can give a socket the very port that it connects to on this host.
    #[must_use]
    pub fn answering(sent: &[u8]) -> Direction {
        let beginning = sent.first_chunk().copied().map_or(Beginning::Unknown, Beginning::Answer);
        Direction { beginning, ..Direction::default() }
    }

    /// The state that the next process needs, and the held bytes. Nothing is lost if no next process comes.
    ///
    /// # Errors
    /// The kernel's, if a pipe cannot be read.
    pub fn park(&mut self, to: &Stream, pipes: &mut Pipes) -> Result<(ParkedDirection, &[u8]), Errno> {
        self.empty_pipe(pipes)?;
        self.leave_place(to, pipes);
        let held = match self.held.as_deref() {
            Some(Held::Bytes { bytes, written }) => bytes.get(*written as usize..).unwrap_or_default(),
            _ => &[],
        };
        Ok((ParkedDirection { bytes: self.bytes, spliced: self.spliced, flow: self.flow }, held))
    }

    /// The reverse of [`park`](Direction::park).
    #[must_use]
    pub fn take_up(parked: ParkedDirection, held: &[u8]) -> Direction {
        let ParkedDirection { bytes, spliced, flow } = parked;
        Direction { bytes, spliced, flow, ..Direction::starting_with(held, 0) }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first byte of the direction; in one that was taken over midway, the first byte since then.
    #[must_use]
    pub fn first(&self) -> Option<u8> {
        match self.beginning {
            Beginning::Byte(first) => Some(first),
            Beginning::Unknown | Beginning::Answer(_) => None,
        }
    }

    /// How many of the [`bytes`](Direction::bytes) were spliced.
    #[must_use]
    pub fn spliced(&self) -> u64 {
        self.spliced
    }

    /// Whether bytes are held until the sink takes them.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        self.held.is_some()
    }

    /// Whether it has proved to be bulk.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.bulk_reads >= BULK_READS
    }

    /// Whether everything is written and FIN was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.flow == Flow::Ended
    }

    /// Its progress: bytes written, and whether it has ended.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing { bytes: self.bytes, has_ended: self.has_ended() }
    }

    /// Ends the direction now. Held bytes are thrown away.
    pub fn cut(&mut self, pipes: &mut Pipes) {
        self.flow = Flow::Ended;
        self.let_go(pipes);
        pipes.give_up_place(&mut self.has_place);
    }

    fn hold(&mut self, held: Held) {
        self.held = Some(Box::new(held));
    }

    /// Holds nothing any more.
    fn let_go(&mut self, pipes: &mut Pipes) {
        if let Some(Held::Pipe(pipe)) = self.held.take().map(|held| *held) {
            pipes.give_back(pipe);
        }
    }

    /// Moves bytes until one of the sockets blocks, the source ends, or `portion` bytes have been moved; the last read
    /// may exceed `portion`.
    pub fn pump(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        portion: usize,
        scratch: &mut [u8],
        pipes: &mut Pipes,
    ) -> Progress {
        if self.flow == Flow::Ended {
            return Progress::Waiting;
        }
        let mut left = portion;
        loop {
            match self.flush(to, pipes) {
                Ok(true) => {}
                Ok(false) => return Progress::Waiting,
                Err(error) => return Progress::SinkFailed(error),
            }
            if self.flow == Flow::Ending {
                self.flow = Flow::Ended;
                pipes.give_up_place(&mut self.has_place);
                return Progress::Ended;
            }
            if !from.is_readable() {
                return Progress::Waiting;
            }
            if left == 0 {
                return Progress::Unfinished;
            }
            match self.step(from, to, scratch, pipes) {
                Ok(moved) => left = left.saturating_sub(moved),
                Err(progress) => return progress,
            }
        }
    }

    /// Reads once from the source and writes what the sink takes. The rest is held.
    fn step(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        scratch: &mut [u8],
        pipes: &mut Pipes,
    ) -> Result<usize, Progress> {
        if self.is_bulk()
            && let Some(pipe) = pipes.lend()
        {
            return self.splice(pipe, from, pipes);
        }
        self.settle_place(to, pipes);
        // Before bulk is proved, reads are no larger than they must be, so that little is copied of what will be spliced.
        let most = if self.is_bulk() { scratch.len() } else { BULK_READ.min(scratch.len()) };
        let (room, _) = scratch.split_at_mut(most);
        if self.bulk_reads > 0 && !self.has_place {
            return self.copy_much(from, to, room);
        }
        let received = from.read(room);
        if let Received::Bytes(n) = received
            && self.bytes == 0
            && self.is_echo(room.get(..n).unwrap_or_default())
            && from.is_its_own_peer()
        {
            return Err(Progress::SourceFailed(Errno::CONNREFUSED));
        }
        let Some(Passed { bytes, written }) = self.pass_on(received, room, to)? else { return Ok(0) };
        if let Some(rest @ [_, ..]) = bytes.get(written..) {
            self.hold(Held::unwritten(rest));
        }
        Ok(bytes.len())
    }

    fn is_echo(&self, bytes: &[u8]) -> bool {
        matches!(self.beginning, Beginning::Answer(asked) if bytes.starts_with(&asked))
    }

    /// Takes a place for copied bulk whose sink has proved to read, and leaves it when bulk has ended. With a place, what the sink does not
    /// take is held in memory, and its socket takes more than is on its way: fewer system calls and wakes, for more memory.
    fn settle_place(&mut self, to: &Stream, pipes: &mut Pipes) {
        match (self.has_place, self.is_bulk()) {
            (false, true) if self.bytes >= PROVEN && pipes.take_place() => {
                self.has_place = true;
                to.take_more();
            }
            (true, false) => self.leave_place(to, pipes),
            _ => {}
        }
    }

    /// Leaves a place while the sink is still written to. At the end of a direction its socket may stay as it is.
    fn leave_place(&mut self, to: &Stream, pipes: &mut Pipes) {
        if self.has_place {
            to.take_less();
        }
        pipes.give_up_place(&mut self.has_place);
    }

    /// Copies bulk in large reads. What the sink does not take stays in the kernel, and not in memory of this process.
    /// That takes one more system call for up to ten times as many bytes.
    fn copy_much(&mut self, from: &mut Stream, to: &mut Stream, room: &mut [u8]) -> Result<usize, Progress> {
        let received = from.peek(room);
        let Some(Passed { bytes, written }) = self.pass_on(received, room, to)? else { return Ok(0) };
        let seen = bytes.len();
        if written < seen {
            self.hold(Held::AtSource);
        }
        from.skip(written, seen, room).map_err(Progress::SourceFailed)?;
        Ok(written)
    }

    /// Writes the result of a read, at the front of `room`, as far as the sink takes it. `None`: the read brought no
    /// bytes.
    fn pass_on<'a>(
        &mut self,
        received: Received,
        room: &'a [u8],
        to: &mut Stream,
    ) -> Result<Option<Passed<'a>>, Progress> {
        match received {
            Received::Bytes(n) => {
                let bytes = room.get(..n).unwrap_or_default();
                // Bytes are spliced, and not seen here, only after several reads.
                if let (None, Some(first)) = (self.first(), bytes.first()) {
                    self.beginning = Beginning::Byte(*first);
                }
                let written = to.write(bytes).map_err(Progress::SinkFailed)?;
                self.bytes += written as u64;
                self.note_read(n);
                Ok(Some(Passed { bytes, written }))
            }
            Received::Blocked => Ok(None),
            Received::End => {
                self.flow = Flow::Ending;
                Ok(None)
            }
            Received::Failed(error) => Err(Progress::SourceFailed(error)),
        }
    }

    /// Counts a read of `size` bytes for or against bulk.
    fn note_read(&mut self, size: usize) {
        self.bulk_reads = if size >= BULK_READ {
            (self.bulk_reads + 1).min(MAX_BULK_READS)
        } else if self.is_bulk() {
            self.bulk_reads - 1
        } else {
            0
        };
    }

    /// Fills the pipe; the next flush drains it.
    fn splice(&mut self, mut pipe: Pipe, from: &mut Stream, pipes: &mut Pipes) -> Result<usize, Progress> {
        let filled = pipe.fill(from);
        if pipe.is_empty() {
            pipes.give_back(pipe);
        } else {
            self.hold(Held::Pipe(pipe));
        }
        match filled {
            Ok(Some(0)) => {
                self.flow = Flow::Ending;
                Ok(0)
            }
            Ok(Some(n)) => {
                self.note_read(n);
                Ok(n)
            }
            Ok(None) => Ok(0),
            Err(error) if is_refusal(error) => {
                pipes.forbid();
                Ok(0)
            }
            Err(error) => Err(Progress::SourceFailed(error)),
        }
    }

    /// Writes what is held. Answers whether nothing is held any more.
    fn flush(&mut self, to: &mut Stream, pipes: &mut Pipes) -> Result<bool, Errno> {
        let Some(held) = self.held.as_deref_mut() else { return Ok(true) };
        if !to.is_writable() {
            return Ok(false);
        }
        match held {
            Held::AtSource => {}
            Held::Bytes { bytes, written } => {
                let n = to.write(bytes.get(*written as usize..).unwrap_or_default())?;
                *written += n as u32;
                self.bytes += n as u64;
                if (*written as usize) < bytes.len() {
                    return Ok(false);
                }
            }
            Held::Pipe(pipe) => {
                let before = pipe.held();
                let drained = pipe.drain(to);
                let n = (before - pipe.held()) as u64;
                self.bytes += n;
                self.spliced += n;
                match drained {
                    Err(error) if is_refusal(error) => return self.copy_pipe(to, pipes),
                    drained => drained?,
                }
                if !pipe.is_empty() {
                    return Ok(false);
                }
            }
        }
        self.let_go(pipes);
        Ok(true)
    }

    /// Reads what is held out of a pipe that cannot be spliced from, and writes it.
    fn copy_pipe(&mut self, to: &mut Stream, pipes: &mut Pipes) -> Result<bool, Errno> {
        pipes.forbid();
        self.empty_pipe(pipes)?;
        self.flush(to, pipes)
    }

    /// Reads what is held out of a pipe, if it is in one.
    fn empty_pipe(&mut self, pipes: &mut Pipes) -> Result<(), Errno> {
        if let Some(Held::Pipe(pipe)) = self.held.as_deref_mut() {
            let bytes = pipe.empty()?;
            self.let_go(pipes);
            self.hold(Held::unwritten(bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::thread;

    use rustix::io::ioctl_fionread;
    use socket2::SockRef;

    use super::*;
    use crate::net::pipes::MAX_PLACES;
    use crate::net::stream::MAX_NOT_SENT;

    const PORTION: usize = 512 * 1024;

    /// Without this, a fast source and a fast sink keep the loop to themselves.
    #[test]
    fn a_turn_ends_however_much_there_is() {
        const TOTAL: usize = 64 << 20;
        for most_pipes in [0, 1] {
            let (mut source, mut from) = Stream::pair();
            let (mut sink, mut to) = Stream::pair();
            let writer = thread::spawn(move || source.write_all(&vec![7; TOTAL]).unwrap());
            let reader = thread::spawn(move || std::io::copy(&mut sink, &mut std::io::sink()).unwrap());
            let (mut direction, mut pipes) = (Direction::default(), Pipes::new(most_pipes));
            let mut scratch = vec![0; 100 * 1024];
            loop {
                let before = direction.bytes();
                let progress = direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes);
                let moved = direction.bytes() - before;
                // What was held when the turn began, and what its last step took, come on top.
                assert!(moved <= 3 << 20, "{moved} bytes in one turn");
                if progress == Progress::Ended {
                    break;
                }
                // Where a poll would wait, it is tried again.
                from.retry();
                to.retry();
            }
            drop(to);
            writer.join().unwrap();
            assert_eq!(reader.join().unwrap(), TOTAL as u64);
        }
    }

    /// Without this, a fast source fills the memory of a proxy whose sink is slow.
    #[test]
    fn nothing_is_read_while_the_sink_takes_nothing() {
        for most_pipes in [0, 1] {
            let (mut source, mut from) = Stream::pair();
            let (mut sink, mut to) = Stream::pair();
            source.set_nonblocking(true).unwrap();
            let (mut direction, mut pipes) = (Direction::default(), Pipes::new(most_pipes));
            let mut scratch = vec![0; 100 * 1024];
            let mut sent = 0;
            while !direction.is_held_up() {
                sent += source.write(&vec![7; 1 << 20]).unwrap_or(0) as u64;
                from.retry();
                direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes);
            }
            for _ in 0..100 {
                sent += source.write(&vec![7; 1 << 20]).unwrap_or(0) as u64;
                from.retry();
                let progress = direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes);
                assert_eq!(progress, Progress::Waiting);
            }
            // What was read is what was written and what is held, and the rest comes when the sink takes it.
            drop(source);
            let reader = thread::spawn(move || sink.read_to_end(&mut Vec::new()).unwrap());
            loop {
                from.retry();
                to.retry();
                if direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes) == Progress::Ended {
                    break;
                }
            }
            drop(to);
            assert_eq!(reader.join().unwrap() as u64, sent);
        }
    }

    /// Without this, a restart loses or doubles bytes that the program holds, in memory or in a pipe.
    #[test]
    fn what_is_held_goes_to_another_process() {
        for most_pipes in [0, 1] {
            let (mut source, mut from) = Stream::pair();
            let (mut sink, mut to) = Stream::pair();
            source.set_nonblocking(true).unwrap();
            let (mut direction, mut pipes) = (Direction::default(), Pipes::new(most_pipes));
            let mut scratch = vec![0; 100 * 1024];
            let (mut sent, mut byte) = (Vec::new(), 0_u8);
            let mut feed = |sent: &mut Vec<u8>| {
                let next = || {
                    byte = byte.wrapping_mul(5).wrapping_add(1);
                    byte
                };
                let piece: Vec<u8> = std::iter::repeat_with(next).take(64 * 1024).collect();
                let n = source.write(&piece).unwrap_or(0);
                sent.extend_from_slice(&piece[..n]);
                n
            };
            while !direction.is_held_up() {
                let n = feed(&mut sent);
                // On a busy machine a piece is on its way for a while, and in parts it would not look like bulk.
                while ioctl_fionread(&from).unwrap() < n as u64 {
                    thread::yield_now();
                }
                from.retry();
                direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes);
            }
            while feed(&mut sent) > 0 {}
            assert_eq!(most_pipes > 0, direction.spliced() > 0);
            drop(source);
            let moved = direction.bytes();
            let (parked, held) = direction.park(&to, &mut pipes).map(|(parked, held)| (parked, held.to_vec())).unwrap();
            assert_eq!(pipes.lent(), 0);
            let text = serde_json::to_string(&parked).unwrap();
            let mut direction = Direction::take_up(serde_json::from_str(&text).unwrap(), &held);
            assert_eq!((direction.bytes(), direction.is_held_up()), (moved, !held.is_empty()));
            let reader = thread::spawn(move || {
                let mut all = Vec::new();
                sink.read_to_end(&mut all).unwrap();
                all
            });
            loop {
                from.retry();
                to.retry();
                if direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes) == Progress::Ended {
                    break;
                }
            }
            drop(to);
            assert!(reader.join().unwrap() == sent);
            assert_eq!(direction.bytes(), sent.len() as u64);
        }
    }

    /// Without this, copied bulk costs as much as it did with a wake for each 16 KiB; or a sink that stops reading, or many at once, have
    /// the process and the kernel hold more than a small machine has.
    #[test]
    fn copied_bulk_takes_a_place_if_its_sink_reads() {
        for (others, sink_reads, expected) in
            [(MAX_PLACES - 1, true, true), (MAX_PLACES, true, false), (0, false, false)]
        {
            let (mut source, mut from) = Stream::pair();
            let (mut sink, mut to) = Stream::pair();
            to.take_little();
            source.set_nonblocking(true).unwrap();
            sink.set_nonblocking(true).unwrap();
            let (mut direction, mut pipes) = (Direction::default(), Pipes::new(0));
            (0..others).for_each(|_| assert!(pipes.take_place()));
            let (mut scratch, mut room) = (vec![0; 100 * 1024], vec![0; 1 << 20]);
            // By what has come, and not by what was sent: the kernel may keep all of that for a while.
            // And on a busy machine reads may be small for a while: a place is left then.
            let is_over = |direction: &Direction| {
                let is_settled = direction.has_place || !expected || direction.bytes() >= 256 * PROVEN;
                direction.bytes() >= 4 * PROVEN && is_settled || !sink_reads && direction.is_held_up()
            };
            while !is_over(&direction) {
                let _ = source.write(&vec![7; 1 << 20]);
                from.retry();
                to.retry();
                direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes);
                while sink_reads && sink.read(&mut room).is_ok() {}
            }
            let seen = (pipes.taken_places() - others, to.takes_much());
            assert_eq!(seen, (usize::from(expected), expected), "beside {others}, the sink reads: {sink_reads}");
            let (_, held) = direction.park(&to, &mut pipes).unwrap();
            assert!(expected || held.len() <= BULK_READ, "{} bytes are held without a place", held.len());
            assert_eq!((pipes.taken_places(), to.takes_much()), (others, false));
            direction.has_place = pipes.take_place();
            direction.cut(&mut pipes);
            assert_eq!(pipes.taken_places(), others);
        }
    }

    /// Without this, a connection that goes on with short messages keeps a place that a transfer needs.
    #[test]
    fn a_place_is_left_when_bulk_has_ended() {
        let (mut source, mut from) = Stream::pair();
        let (_sink, mut to) = Stream::pair();
        to.take_little();
        let mut direction = Direction { bytes: PROVEN, bulk_reads: BULK_READS, ..Direction::default() };
        let (mut pipes, mut scratch) = (Pipes::new(0), vec![0; 100 * 1024]);
        for expected in [1, 0] {
            source.write_all(b"a message").unwrap();
            from.wait_for_bytes();
            direction.pump(&mut from, &mut to, PORTION, &mut scratch, &mut pipes);
            assert_eq!(pipes.taken_places(), expected);
        }
    }

    /// Without this, bulk is copied in large part by a proxy that is faster than the sender; or a connection that goes on with short
    /// messages stays bulk.
    #[test]
    fn bulk_ends_after_several_small_reads() {
        let mut direction = Direction::default();
        let mut reads = |count, size| {
            (0..count).for_each(|_| direction.note_read(size));
            direction.is_bulk()
        };
        assert!(!reads(3, BULK_READ), "three large reads prove nothing yet");
        assert!(!reads(1, 100) && !reads(3, BULK_READ), "they were not in a row");
        assert!(reads(1, BULK_READ));
        assert!(reads(1000, BULK_READ) && reads(4, 100), "a few small reads among many");
        assert!(!reads(1, 100), "messages");
    }

    impl Stream {
        /// As if the poll had reported everything.
        fn retry(&mut self) {
            *self = Stream::accepted(self.as_fd().try_clone_to_owned().unwrap());
        }

        /// As if the poll had reported the bytes that are on their way.
        fn wait_for_bytes(&mut self) {
            while ioctl_fionread(&*self).unwrap() == 0 {
                thread::yield_now();
            }
            self.retry();
        }

        fn take_little(&self) {
            SockRef::from(self).set_tcp_notsent_lowat(MAX_NOT_SENT).unwrap();
        }

        fn takes_much(&self) -> bool {
            SockRef::from(self).tcp_notsent_lowat().unwrap() > MAX_NOT_SENT
        }
    }
}
