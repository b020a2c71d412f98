//! fiscalismia-lb: a load balancer that routes TLS by SNI and never opens it.
//!
//! It reads the server name of a `ClientHello`, picks a server, connects to it, writes a PROXY header with the client's
//! address, and from then on moves bytes, untouched, both ways. One process, one thread, one event loop.
//!
//! # The life of a connection
//!
//! 1. [`event_loop`] sleeps until a listener ([`net::Listener`]) has a client in its backlog. Its door lets the client in
//!    while there are fds ([`policy::fds`]) for it and its server.
//! 2. [`policy::rate_limit`] may turn it away. Of a client that came through a balancer, [`preface`] reads the client's address first.
//! 3. [`session`] begins: the hello is read, in however many segments and records it comes ([`wire::client_hello`]).
//! 4. [`policy::routes`] finds the route of its name; [`fleet`] has that route and its servers as they are now, and its ledger
//!    counts the connection from here on.
//! 5. [`policy::servers`] picks a server that [`policy::health`] holds for up, as [`probe`]s found it.
//! 6. The server is connected to, and again another if it refuses, and gets the PROXY header ([`wire::proxy_header`]) and
//!    the hello in one write.
//! 7. Bytes move in two [`net::Direction`]s, spliced where a direction proves to be bulk ([`policy::line`] says whose turn that
//!    is), until both have ended or one of the [`policy::timers`] comes up.
//! 8. Every end comes through one function, which writes the line of [`access_log`] and updates the counters of
//!    [`metrics`].
//!
//! Beside that, [`http`] carries requests to the redirect, which sends plain HTTP to https, to [`admin`], which shows
//! the operator how the proxy is, and to [`control`], which does what the operator asks. What lives goes on in the next
//! process by way of [`handover`].
//!
//! [`event_loop::EventLoop`] composes the owners of all that, and [`context`] is what it lends to each of them.
//! [`config`] is checked once, when it is read: a value of its types is good. [`systemd`] is told, and passes sockets.
//!
//! Time is an argument: nothing in [`wire`] and [`policy`] reads a clock or opens a socket, so their tests script both.
#![forbid(unsafe_code)]
#![allow(rustdoc::private_intra_doc_links, reason = "the map is for readers of the source")]

pub mod access_log;
mod admin;
pub mod config;
mod context;
mod control;
pub mod event_loop;
mod fleet;
mod handover;
mod http;
pub mod metrics;
mod net;
pub mod policy;
pub mod preface;
mod probe;
mod session;
mod systemd;
pub mod vocabulary;
pub mod wire;
