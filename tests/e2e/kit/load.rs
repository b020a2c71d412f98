//! Clients that connect again and again while a test does something else.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::wait_until;

/// What runs beside the body of [`under_load`].
#[derive(Default)]
pub(crate) struct Load {
    turns: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Waits for `more` turns: a load that is counted is one on a slow machine and on a fast one.
    pub(crate) fn wait_for(&self, more: usize) {
        let enough = self.turns.load(Ordering::Relaxed) + more;
        wait_until("the load goes on", || {
            assert!(!self.over.load(Ordering::Relaxed), "a client of the load has failed");
            self.turns.load(Ordering::Relaxed) >= enough
        });
    }
}

/// Ends the load however the body ends, and the body's waiting when a client fails. A scope waits for its threads, also
/// after a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `turn` over and over on each of some threads until `body` is done.
pub(crate) fn under_load(threads: usize, turn: impl Fn() + Sync, body: impl FnOnce(&Load)) {
    let load = Load::default();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _ends = Ends(&load.over);
                while !load.over.load(Ordering::Relaxed) {
                    turn();
                    load.turns.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _ends = Ends(&load.over);
        body(&load);
    });
}
