//! A cgroup for one process, to freeze it.
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::wait_until;

/// Where cgroups are that can be frozen, what freezes one, and what a file says then: version 2, also beside version 1,
/// and version 1 (`Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/freezer-subsystem.rst` of the kernel).
const KINDS: [(&str, Switch); 3] = [
    ("/sys/fs/cgroup/unified", V2),
    (
        "/sys/fs/cgroup/freezer",
        Switch { file: "freezer.state", words: ["THAWED", "FROZEN"], state: "freezer.state", frozen: "FROZEN" },
    ),
    ("/sys/fs/cgroup", V2),
];
const V2: Switch = Switch { file: "cgroup.freeze", words: ["0", "1"], state: "cgroup.events", frozen: "frozen 1" };

#[derive(Clone, Copy)]
struct Switch {
    file: &'static str,
    words: [&'static str; 2],
    state: &'static str,
    frozen: &'static str,
}

/// A process in a cgroup of its own, which ends with this.
pub(crate) struct Freezer {
    folder: PathBuf,
    switch: Switch,
    process: Pid,
}

impl Freezer {
    /// `None` where this user may not make cgroups, or none can be frozen.
    pub(crate) fn of(process: Pid) -> Option<Freezer> {
        KINDS.into_iter().find_map(|(root, switch)| {
            let folder = Path::new(root).join(format!("lb-e2e-{process}"));
            fs::create_dir(&folder).ok()?;
            let freezer = Freezer { folder, switch, process };
            let is_one = freezer.folder.join(switch.file).exists();
            (is_one && freezer.move_to(&freezer.folder)).then_some(freezer)
        })
    }

    /// Freezes it, does `work`, and thaws it.
    pub(crate) fn while_frozen(&self, work: &mut dyn FnMut()) {
        self.turn(1);
        wait_until("it is frozen", || {
            fs::read_to_string(self.folder.join(self.switch.state)).unwrap().contains(self.switch.frozen)
        });
        work();
        self.turn(0);
    }

    fn turn(&self, to: usize) {
        fs::write(self.folder.join(self.switch.file), self.switch.words[to]).unwrap();
    }

    fn move_to(&self, folder: &Path) -> bool {
        fs::write(folder.join("cgroup.procs"), self.process.to_string()).is_ok()
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        // Frozen, it could not even be killed. It may never have been in there, or have ended.
        let _ = fs::write(self.folder.join(self.switch.file), self.switch.words[0]);
        self.move_to(self.folder.parent().unwrap());
        let _ = fs::remove_dir(&self.folder);
    }
}
