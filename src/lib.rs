//! fiscalismia-lb: a load balancer that routes TLS by SNI and never decrypts it.
//!
//! It reads the server name of a `ClientHello`, picks a server, connects to it, writes a PROXY header with the client's
//! address, and from then on moves bytes, untouched, both ways. One process, one thread, one event loop.
//!
//! # The life of a connection
//!
//! 1. [`event_loop`] sleeps until a listener ([`net::Listener`]) has a client in its backlog. Its door accepts the client while
//!    there are fds ([`policy::fds`]) for the client and a server.
//! 2. If a balancer in front has connected, [`preface`] reads the client's address from its PROXY header.
//!    [`policy::rate_limit`] may refuse that address.
//! 3. A [`session`] begins. It reads the hello, over however many segments and records ([`wire::client_hello`]).
//! 4. [`policy::routes`] finds the route of the SNI. [`fleet`] holds that route and its servers as they are now; its ledger
//!    counts the connection from here on.
//! 5. [`policy::servers`] picks a server that is up, as [`policy::health`] judges by the results of [`probe`]s.
//! 6. The session connects to the server, or to another one if it refuses, and sends the PROXY header
//!    ([`wire::proxy_header`]) and the hello in one write.
//! 7. Two [`net::Direction`]s relay bytes until both have ended or a deadline ([`policy::timers`]) is over. A direction that
//!    proves to be bulk is spliced, in the order of [`policy::line`].
//! 8. Every end goes through one function, which writes the line of [`access_log`] and updates the counters of [`metrics`].
//!
//! Beside that, [`http`] carries requests to the redirect, which answers with the address on https, to [`admin`], which
//! shows the state of the proxy, and to [`control`], which carries out an operator's commands. [`handover`] passes
//! everything that lives to the next process, and [`systemd`] passes sockets and is told the state.
//!
//! [`event_loop::EventLoop`] composes the owners of all that, and [`context`] is what it lends to each of them.
//! [`config`] is checked once, when it is read: every value of its types is valid. [`vocabulary`] has the words that
//! log, metrics, page and command line share.
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
