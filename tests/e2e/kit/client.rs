//! Clients of the proxy.
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::hello::hello;

/// One connection. No call waits longer than [`PATIENCE`].
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Its own address, which the proxy should see.
    pub(crate) address: SocketAddr,
}

/// How a connection ended, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
    /// Neither, as long as the client looked.
    Silence,
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Client {
        Client::new(TcpStream::connect(to).unwrap())
    }

    /// Connects from an address of the client's choice.
    pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> Client {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        Client::new(socket.into())
    }

    pub(crate) fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let address = stream.local_addr().unwrap();
        Client { stream, address }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> &mut Client {
        self.stream.write_all(bytes).unwrap();
        self
    }

    /// Sends a hello for `sni`.
    pub(crate) fn hello(&mut self, sni: &str) -> &mut Client {
        self.send(&hello(sni))
    }

    /// The name that an [`super::origin::Origin`] greets with. Fails the test when the connection ends instead.
    pub(crate) fn greeting(&mut self) -> String {
        self.try_greeting().unwrap()
    }

    pub(crate) fn try_greeting(&mut self) -> io::Result<String> {
        let mut name = Vec::new();
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            match byte {
                [b'\n'] => return Ok(String::from_utf8(name).unwrap()),
                [byte] => name.push(byte),
            }
        }
    }

    /// Reads as many bytes as `wanted` has and holds them to be the same.
    pub(crate) fn expect(&mut self, wanted: &[u8]) -> &mut Client {
        let mut bytes = vec![0; wanted.len()];
        self.stream.read_exact(&mut bytes).unwrap();
        assert!(bytes == wanted, "other bytes came back");
        self
    }

    /// Ends the client's own direction.
    pub(crate) fn finish(&mut self) -> &mut Client {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Reads until the connection ends.
    pub(crate) fn end(&mut self) -> End {
        self.end_within(PATIENCE)
    }

    /// Reads until the connection ends or has been silent for `silence`.
    pub(crate) fn end_within(&mut self, silence: Duration) -> End {
        self.rest_within(silence).1
    }

    /// What comes until the connection ends, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        self.rest_within(PATIENCE)
    }

    fn rest_within(&mut self, silence: Duration) -> (Vec<u8>, End) {
        self.stream.set_read_timeout(Some(silence)).unwrap();
        let mut rest = Vec::new();
        let end = match self.stream.read_to_end(&mut rest) {
            Ok(_) => End::Fin,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(e) if e.kind() == ErrorKind::WouldBlock => End::Silence,
            Err(e) => panic!("reading: {e}"),
        };
        (rest, end)
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
