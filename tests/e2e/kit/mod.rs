//! What the tests are made of: the real program, servers and clients around it, and hosts to put them on.
pub(crate) mod capture;
pub(crate) mod client;
pub(crate) mod header;
pub(crate) mod hello;
pub(crate) mod lines;
pub(crate) mod log;
pub(crate) mod namespace;
pub(crate) mod origin;
pub(crate) mod places;
pub(crate) mod proxy;
pub(crate) mod sockets;
pub(crate) mod stream;

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Long, so that a busy machine fails nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done` holds; fails with `what` after [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        sleep(Duration::from_millis(5));
    }
}
