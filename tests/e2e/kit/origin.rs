//! Servers behind the proxy.
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::header::{self, Header};
use super::places::free_address;

/// A connection that reached a server.
pub(crate) struct Visit {
    /// What its PROXY header said; `None` on an origin that expects none.
    pub(crate) header: Option<Header>,
    /// Where it came from. A stream that was reset meanwhile does not know it any more.
    pub(crate) peer: SocketAddr,
    pub(crate) stream: TcpStream,
}

/// What is remembered of every visit.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Where it came from: the proxy's own address.
    pub(crate) peer: SocketAddr,
    pub(crate) header: Option<Header>,
}

impl Seen {
    pub(crate) fn is_probe(&self) -> bool {
        self.header.as_ref().is_some_and(|h| h.source.is_none())
    }
}

/// Whether connections to an origin begin with a PROXY header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Header,
    Nothing,
}

/// A server with a thread for each connection. Stops listening when dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    /// Outlives the acceptor, with the connections that it may hold.
    _serve: Arc<dyn Fn(Visit) + Send + Sync>,
}

impl Origin {
    /// Says `name` and a newline, then sends back every byte that comes after the PROXY header.
    pub(crate) fn echo(name: &str) -> Origin {
        Origin::serve(Expect::Header, echo(name))
    }

    pub(crate) fn serve(expect: Expect, serve: impl Fn(Visit) + Send + Sync + 'static) -> Origin {
        Origin::serve_at(free_address(), expect, serve)
    }

    /// The same on an address, which another origin may have had before.
    pub(crate) fn serve_at(
        address: SocketAddr,
        expect: Expect,
        serve: impl Fn(Visit) + Send + Sync + 'static,
    ) -> Origin {
        Origin::serve_on(TcpListener::bind(address).unwrap(), expect, serve)
    }

    /// The same on a listener with options of the test's.
    pub(crate) fn serve_on(
        listener: TcpListener,
        expect: Expect,
        serve: impl Fn(Visit) + Send + Sync + 'static,
    ) -> Origin {
        let address = listener.local_addr().unwrap();
        // The standard library's backlog is 128, less than some tests open at once.
        SockRef::from(&listener).listen(4096).unwrap();
        let (seen, stopped, serve) =
            (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default(), Arc::new(serve));
        let acceptor =
            Acceptor { listener, expect, serve: serve.clone(), seen: seen.clone(), stopped: stopped.clone() };
        let acceptor = thread::spawn(move || acceptor.run());
        Origin { address, seen, stopped, acceptor: Some(acceptor), _serve: serve }
    }

    /// From now on the kernel refuses connections; those that are open stay.
    pub(crate) fn stop_listening(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            self.stopped.store(true, Ordering::Release);
            drop(TcpStream::connect(self.address));
            acceptor.join().unwrap();
        }
    }

    /// As an entry of `servers`.
    pub(crate) fn server(&self) -> Value {
        json!(self.address)
    }

    /// As an entry of `servers` with more to it.
    pub(crate) fn server_with(&self, mut more: Value) -> Value {
        more["address"] = json!(self.address);
        more
    }

    /// Every visit so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Visits of clients so far.
    pub(crate) fn clients(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| !seen.is_probe()).collect()
    }

    /// Probes so far.
    pub(crate) fn probes(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_probe()).count()
    }

    /// What the PROXY header said of the client at `client`.
    pub(crate) fn header_of(&self, client: SocketAddr) -> Header {
        let seen = self.seen();
        let found = seen.iter().filter_map(|seen| seen.header.clone()).find(|h| h.source == Some(client));
        found.unwrap_or_else(|| panic!("nobody from {client} among {seen:?}"))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop_listening();
    }
}

/// Greets with `name`, then sends back what comes.
pub(crate) fn echo(name: &str) -> impl Fn(Visit) + Send + Sync + use<> {
    let greeting = format!("{name}\n");
    move |mut visit| {
        let mut buffer = [0; 16 * 1024];
        let mut go = || -> io::Result<()> {
            visit.stream.write_all(greeting.as_bytes())?;
            loop {
                let n = visit.stream.read(&mut buffer)?;
                if n == 0 {
                    return Ok(());
                }
                visit.stream.write_all(&buffer[..n])?;
            }
        };
        // A client may break off; that is the test's business, not the server's.
        drop(go());
    }
}

/// Neither reads nor writes nor closes, as long as the origin lives.
pub(crate) fn hold() -> impl Fn(Visit) + Send + Sync + use<> {
    let held = Mutex::new(Vec::new());
    move |visit| held.lock().unwrap_or_else(PoisonError::into_inner).push(visit)
}

struct Acceptor<F> {
    listener: TcpListener,
    expect: Expect,
    serve: Arc<F>,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
}

impl<F: Fn(Visit) + Send + Sync + 'static> Acceptor<F> {
    fn run(self) {
        loop {
            let (stream, peer) = self.listener.accept().unwrap();
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            let (serve, seen, expect) = (self.serve.clone(), self.seen.clone(), self.expect);
            let visit = move || {
                if let Ok(visit) = welcome(stream, peer, expect) {
                    let is_probe = visit.header.as_ref().is_some_and(|h| h.source.is_none());
                    let header = visit.header.clone();
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { peer, header });
                    if !is_probe {
                        serve(visit);
                    }
                }
            };
            thread::Builder::new().stack_size(128 * 1024).spawn(visit).unwrap();
        }
    }
}

fn welcome(mut stream: TcpStream, peer: SocketAddr, expect: Expect) -> io::Result<Visit> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let header = if expect == Expect::Header { Some(header::read(&mut stream)?) } else { None };
    Ok(Visit { header, peer, stream })
}

/// An address that answers no SYN: a listener whose queue is full and that accepts nothing.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    listener: Socket,
    filler: Socket,
}

impl BlackHole {
    pub(crate) fn new() -> BlackHole {
        let address = free_address();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        // A queue of length 0 holds one connection; the next SYN is dropped (tcp_conn_request in the kernel).
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.connect(&address.into()).unwrap();
        BlackHole { address, listener, filler }
    }

    /// Answers after all: the first client whose SYN comes again.
    pub(crate) fn accept_who_waits(self) -> TcpStream {
        self.listener.accept().unwrap();
        drop(self.filler);
        self.listener.accept().unwrap().0.into()
    }
}
