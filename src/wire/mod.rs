//! Pure functions of bytes: what the proxy reads from sockets and writes to them. No I/O, no clock.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod alert;
mod bytes;
pub mod client_hello;
pub mod hello_builder;
pub mod http_head;
pub mod http_status;
pub mod proxy_header;
pub mod server_hello;
