//! Resources of the process, and the size of the kernel's connection table.
use std::fs;
use std::path::Path;

use rustix::fs::stat;
use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};

use crate::metrics::UsageNow;

/// Asks the kernel. A figure that the kernel hides, for example because `/proc/sys` is masked, is `None`.
pub(super) fn measure() -> UsageNow {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let conntrack = |what: &str| number(&format!("/proc/sys/net/netfilter/nf_conntrack_{what}"));
    UsageNow {
        cpu: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        resident: resident(),
        open_fds: open_fds(Path::new("/proc/self/fd")),
        conntrack_entries: conntrack("count"),
        conntrack_max: conntrack("max"),
    }
}

/// In bytes; the second figure of `proc_pid_statm(5)` is in pages.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// Since Linux 6.2 the folder's size is the number of open fds; before it is 0. To list the folder would take
/// milliseconds if there are many.
fn open_fds(folder: &Path) -> Option<u64> {
    let size = stat(folder).ok()?.st_size;
    u64::try_from(size).ok().filter(|size| *size > 0)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
