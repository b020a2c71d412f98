//! Parts of the tests: the real program, servers and clients around it, and hosts to run them on.
pub(crate) mod capture;
pub(crate) mod client;
pub(crate) mod freezer;
pub(crate) mod header;
pub(crate) mod hello;
pub(crate) mod lines;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod manager;
pub(crate) mod namespace;
pub(crate) mod oracle;
pub(crate) mod origin;
pub(crate) mod other_state;
pub(crate) mod places;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod sockets;
pub(crate) mod stream;

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Long, so that a busy machine fails nothing.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `done` holds; fails with `what` after [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Tries `attempt` until it holds. One that does not hold fails the test only if it took less than `limit`: what has to
/// be done in a certain time proves nothing where the machine had no time for it.
pub(crate) fn in_time(limit: Duration, mut attempt: impl FnMut() -> bool) {
    for _ in 0..20 {
        let start = Instant::now();
        if attempt() {
            return;
        }
        let took = start.elapsed();
        assert!(took >= limit, "it took {took:?} of {limit:?}, and yet it does not hold");
    }
    panic!("never in {limit:?}");
}
