//! Clients that connect and stay while a proxy restarts or reloads.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::Job;
use crate::load::{Load, Tally, Target};
use crate::scenario::Figure;

/// Connections that are open all the while.
const OPEN: usize = 100;
/// Short connections at a time.
const AT_ONCE: usize = 8;

/// Does `work` `times` times, so long apart, while clients come; what that means for them.
pub fn under_load(
    load: &mut Load,
    target: &Target,
    (times, apart): (usize, Duration),
    mut work: impl FnMut() -> Result<(), String> + Send,
) -> Result<Vec<Figure>, String> {
    let open = load.prepare(target, OPEN, Job::Ping(1))?;
    load.forgiving = true;
    load.tally = Tally::default();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let disturbance = scope.spawn(move || {
            let done = (0..times).try_for_each(|_| {
                thread::sleep(apart);
                work()
            });
            thread::sleep(apart);
            over.store(true, Ordering::Relaxed);
            done
        });
        let busy = load.keep_busy(target, AT_ONCE, over);
        disturbance.join().map_err(|_| "what disturbs has failed".to_owned())??;
        busy
    })?;
    let (new, mut latencies) = (load.tally.lost, std::mem::take(&mut load.tally.latencies));
    latencies.sort_unstable();
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).map_or(0.0, |&ns| ns as f64);
    let longest = latencies.last().map_or(0.0, |&ns| ns as f64);
    load.tally = Tally::default();
    load.go(&open)?;
    load.all_end(OPEN)?;
    Ok(vec![
        ("longest_ms", longest / 1e6),
        ("p99_us", at(0.99) / 1e3),
        ("lost_new", new as f64),
        ("lost_open", load.tally.lost as f64),
    ])
}
