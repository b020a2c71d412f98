use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll};

use super::*;
use crate::net::Listener;

/// A body of so many bytes.
struct Zeros(usize);

impl Body for Zeros {
    fn make(&mut self, out: &mut Vec<u8>, least: usize) -> bool {
        let piece = self.0.min(least);
        out.resize(out.len() + piece, b'0');
        self.0 -= piece;
        self.0 > 0
    }
}

/// Clients, their listener, a poll, and the time as the test has it.
struct Site {
    clients: Clients<Zeros>,
    listener: Listener<()>,
    poll: Poll,
    now: Time,
}

impl Site {
    fn new() -> Site {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), ()).unwrap();
        Site { clients: Clients::new(Token::Redirect), listener, poll: Poll::new().unwrap(), now: Time::ZERO }
    }

    /// A client that is connected and was let in, and what became of that.
    fn connect(&mut self, first: &[u8]) -> (TcpStream, Outcome) {
        let mut client = TcpStream::connect(self.listener.bound).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(first).unwrap();
        let accepted = loop {
            // A connect may be over a moment before accept can see it.
            match self.listener.accept().unwrap() {
                Some(accepted) => break accepted,
                None => thread::yield_now(),
            }
        };
        let outcome = self.clients.accept(accepted, Way::Direct, self.now, self.poll.registry());
        (client, outcome)
    }

    /// Takes events until a client has asked or ended, and answers with `body` bytes.
    fn serve(&mut self, first: Outcome, body: Option<usize>) -> Option<End> {
        let (mut events, mut outcomes) = (Events::with_capacity(16), vec![first]);
        loop {
            for outcome in outcomes.drain(..) {
                match outcome {
                    Outcome::Waits => {}
                    Outcome::Asked(key, asked) => {
                        let answer = match (asked.request(), body) {
                            (Ok(_), Some(length)) => Answer::made(String::new(), Zeros(length)),
                            (Ok(_), None) => Answer::text(Status::Ok, "", "short\n".to_owned()),
                            (Err(refusal), _) => refusal.into(),
                        };
                        if let Outcome::Ended(end) =
                            self.clients.answer(key, asked, answer, self.now, self.poll.registry())
                        {
                            return Some(end);
                        }
                    }
                    Outcome::Ended(end) => return Some(end),
                }
            }
            for key in self.clients.unfinished() {
                outcomes.push(self.clients.resume(key, self.now, self.poll.registry()));
            }
            if outcomes.is_empty() {
                self.poll.poll(&mut events, Some(Duration::from_millis(200))).unwrap();
                if events.is_empty() {
                    return None;
                }
                for event in &events {
                    let Token::Redirect(key) = Token::from(event.token()) else { continue };
                    outcomes.push(self.clients.hear(key, event, self.now, self.poll.registry()));
                }
            }
        }
    }

    /// Lets time pass, and ends what is over.
    fn pass(&mut self, time: Duration) -> Vec<Outcome> {
        self.now = self.now + time;
        std::iter::from_fn(|| self.clients.expire(self.now, self.poll.registry())).collect()
    }
}

fn rest(mut client: TcpStream) -> (String, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = client.read_to_end(&mut bytes).err().map(|error| error.kind());
    (String::from_utf8(bytes).unwrap(), end)
}

/// Without this, bytes of an answer are lost between two slices, or through bytes that a client sends after its
/// request.
#[test]
fn an_answer_of_any_size_comes_whole() {
    for body in [None, Some(0), Some(1), Some(3_000_000)] {
        let mut site = Site::new();
        let (client, outcome) = site.connect(b"GET / HTTP/1.0\r\n\r\nand more of it");
        let reader = thread::spawn(move || rest(client));
        let end = site.serve(outcome, body);
        let (answer, error) = reader.join().unwrap();
        // The client closes when it has its answer.
        let end = end.or_else(|| site.serve(Outcome::Waits, body)).unwrap();
        assert_eq!((end.reason, error), (CloseReason::Answered, None));
        assert_eq!(end.bytes_down, answer.len() as u64);
        assert_eq!(end.bytes_up, 32);
        let (_, text) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(text.len(), body.unwrap_or("short\n".len()));
        assert!(site.clients.len() == 0 && site.clients.reclaim().is_some() == body.is_some());
    }
}

/// Without this, a client that waits keeps its slot for ever, or gets an answer to a request that it has not sent.
#[test]
fn a_phase_is_over_in_time() {
    let mut site = Site::new();
    let (silent, _) = site.connect(b"");
    let (slow, _) = site.connect(b"GET / HT");
    assert!(site.pass(PHASE_TIMEOUT / 2).is_empty());
    assert_eq!(site.clients.deadline(), Some(Time::ZERO + PHASE_TIMEOUT));
    let mut ends = Vec::new();
    for outcome in site.pass(PHASE_TIMEOUT) {
        ends.extend(site.serve(outcome, None));
    }
    assert_eq!(ends.iter().map(|end| end.reason).collect::<Vec<_>>(), [CloseReason::ClientSilent]);
    assert_eq!(rest(silent), (String::new(), None));
    let mut head = [0; 12];
    (&slow).read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
    // It has its answer, and does not close.
    let [Outcome::Ended(end)] = site.pass(PHASE_TIMEOUT)[..] else { panic!("it stays") };
    assert_eq!(end.reason, CloseReason::Answered);
}

/// Without this, a delayed loop ends a client whose request arrived in time.
#[test]
fn a_request_that_nobody_has_read_is_in_time() {
    let mut site = Site::new();
    let (mut client, _) = site.connect(b"GET / ");
    client.write_all(b"HTTP/1.0\r\n\r\n").unwrap();
    let outcomes = loop {
        match site.pass(PHASE_TIMEOUT) {
            outcomes if outcomes.is_empty() => {}
            outcomes => break outcomes,
        }
    };
    let [Outcome::Asked(_, asked)] = &outcomes[..] else { panic!("it was ended") };
    assert!(asked.request().is_ok());
}

/// Without this, slow clients lock others out, or a client loses its answer in favour of an idle one.
#[test]
fn the_one_that_is_answered_goes_first_and_the_one_that_reads_last() {
    let mut site = Site::new();
    let (reading, outcome) = site.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(site.serve(outcome, Some(50_000_000)), None);
    site.pass(Duration::from_secs(1));
    let (idle, _) = site.connect(b"GET");
    let (answered, outcome) = site.connect(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(site.serve(outcome, None), None);
    let evicted: Vec<_> = std::iter::from_fn(|| site.clients.evict()).map(|end| (end.source, end.reason)).collect();
    let address = |client: &TcpStream| client.local_addr().unwrap();
    let wanted = [
        (address(&answered), CloseReason::Answered),
        (address(&idle), CloseReason::ClientSilent),
        (address(&reading), CloseReason::ClientSilent),
    ];
    assert_eq!(evicted, wanted);
    assert_eq!(rest(reading).1, Some(ErrorKind::ConnectionReset), "half an answer must not look like a whole one");
}

/// Without this, a redirect leads to a host that a client chose, or a request without a host is not counted.
#[test]
fn the_redirect_is_a_function_of_the_request() {
    for (request, wanted, errors) in [
        (
            &b"GET /a?b HTTP/1.1\r\nHost: c.d\r\n\r\n"[..],
            "HTTP/1.1 301 Moved Permanently\r\nLocation: https://c.d/a?b\r\n",
            0,
        ),
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", 1),
        (b"HEAD / HTTP/1.0\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", 1),
        (b"what\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", 1),
    ] {
        let mut site = Site::new();
        let (_client, outcome) = site.connect(request);
        let Outcome::Asked(_, asked) = outcome else { panic!("it has not asked") };
        let mut counters = crate::metrics::Frontend::default();
        let answer: Answer<Infallible> = redirect::answer(&asked, &mut counters);
        let (bytes, rest) = answer.begin(asked.request().ok().as_ref());
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(wanted) && rest.is_none(), "{text}");
        assert_eq!(text.ends_with("\r\n\r\n"), wanted.contains("301") || request.starts_with(b"HEAD"), "{text}");
        assert_eq!(counters.errors, errors);
    }
}
