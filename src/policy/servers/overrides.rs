//! What an operator has set for a server of the running process, beside the file.
use serde::{Deserialize, Serialize};

use super::{Group, Member, ServerIndex};
use crate::policy::health::Change;
use crate::policy::time::Time;

/// Whether a server takes new connections and is probed, in HAProxy's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As its probes and its weight say.
    #[default]
    Ready,
    /// No new connections. Probes go on.
    Drain,
    /// No new connections and no probes.
    Maint,
}

/// An operator's settings of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Override {
    /// Whether it takes new connections.
    pub mode: Mode,
    /// The weight, instead of the file's.
    pub weight: Option<u16>,
    /// When it was set.
    pub since: Time,
    /// When it expires.
    pub until: Option<Time>,
    /// The user who set it.
    pub uid: u32,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 3] = [Mode::Ready, Mode::Drain, Mode::Maint];

    /// The word of the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Ready => "ready",
            Mode::Drain => "drain",
            Mode::Maint => "maint",
        }
    }
}

impl Override {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.mode != Mode::Ready || self.weight.is_some()
    }
}

impl Member {
    /// The operator's settings.
    #[must_use]
    pub fn set(&self) -> &Override {
        &self.set
    }

    /// Its share of new connections: the operator's setting, or the file's.
    #[must_use]
    pub fn weight(&self) -> u16 {
        self.set.weight.unwrap_or(self.server.weight)
    }

    /// When the next probe starts; `None` while one is running, and without probes.
    #[must_use]
    pub fn next_probe(&self) -> Option<Time> {
        self.health.next_probe().filter(|_| self.set.mode != Mode::Maint)
    }
}

impl Group {
    /// Takes over what an operator has set in the previous process.
    pub fn take_up_override(&mut self, now: Time, index: ServerIndex, set: Override) {
        if let Some(member) = self.members.get_mut(index.index()) {
            member.set = set;
            self.rebuild(now);
        }
    }

    /// Applies an operator's settings. A server that leaves [`Mode::Maint`] counts as new: up, and down after one
    /// failed probe. The answer is therefore a change of state, if it was down.
    pub fn set(&mut self, now: Time, index: ServerIndex, set: Override) -> Option<Change> {
        let member = self.members.get_mut(index.index())?;
        let before = std::mem::replace(&mut member.set, set);
        let change = match (before.mode, set.mode) {
            (Mode::Maint, Mode::Maint) => None,
            (Mode::Maint, _) => member.health.restart(now, now),
            (_, Mode::Maint) => {
                member.health.stop_probe();
                None
            }
            _ => None,
        };
        self.rebuild(now);
        change
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::config;
    use crate::policy::health::{Checked, Spread};
    use crate::policy::servers::Pick;
    use crate::vocabulary::CheckResult;
    use std::time::Duration;

    fn group() -> Group {
        let text = r#"{ "listen": ["127.0.0.1:0"], "routes": { "a": { "sni": ["*"],
            "servers": ["127.0.0.1:1", "127.0.0.1:2"] } } }"#;
        let config = config::parse("test", text).unwrap();
        Group::new(&config.routes[0], &mut Spread::new(Time::ZERO, 2))
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn mode(mode: Mode) -> Override {
        Override { mode, ..Override::default() }
    }

    fn picks(group: &mut Group, count: usize) -> [usize; 2] {
        let mut picks = [0; 2];
        for _ in 0..count {
            if let Pick::Server(index) = group.pick(IpAddr::V4(Ipv4Addr::LOCALHOST), &[]) {
                picks[index.index()] += 1;
            }
        }
        picks
    }

    fn report(group: &mut Group, index: u32, passed: bool) -> Option<Change> {
        let result = if passed { CheckResult::L4Ok } else { CheckResult::L4Connection };
        group.probe_started(ServerIndex(index));
        group.report(at(1), ServerIndex(index), Checked { result, status: None, info: "".into(), took: Duration::ZERO })
    }

    /// Without this, a server that is drained for maintenance gets new clients, or counts as down.
    #[test]
    fn a_drained_server_gets_no_new_connections() {
        let mut group = group();
        assert_eq!(group.set(at(0), ServerIndex(0), mode(Mode::Drain)), None);
        assert_eq!(picks(&mut group, 10), [0, 10]);
        assert!(group.member(ServerIndex(0)).unwrap().health().is_up());
        assert!(group.member(ServerIndex(0)).unwrap().next_probe().is_some(), "it is probed on");
        group.set(at(0), ServerIndex(1), mode(Mode::Drain));
        assert_eq!(picks(&mut group, 1), [0, 0]);
        group.set(at(0), ServerIndex(0), Override::default());
        assert_eq!(picks(&mut group, 10), [10, 0]);
    }

    /// Without this, probes of a server in maintenance fill the log, or an old verdict takes it down later.
    #[test]
    fn a_server_in_maintenance_is_not_probed() {
        let mut group = group();
        // One failure would take it down: it was not probed yet.
        group.probe_started(ServerIndex(0));
        group.set(at(1), ServerIndex(0), mode(Mode::Maint));
        assert_eq!(group.member(ServerIndex(0)).unwrap().next_probe(), None);
        let late = Checked { result: CheckResult::L4Connection, status: None, info: "".into(), took: Duration::ZERO };
        assert_eq!(group.report(at(1), ServerIndex(0), late), None);
        group.set(at(9), ServerIndex(0), Override::default());
        assert_eq!(group.member(ServerIndex(0)).unwrap().next_probe(), Some(at(9)));
        assert_eq!(report(&mut group, 0, false), Some(Change::Down), "it counts as new");
        group.set(at(9), ServerIndex(0), mode(Mode::Maint));
        let heavier = Override { weight: Some(3), ..mode(Mode::Maint) };
        assert_eq!(group.set(at(9), ServerIndex(0), heavier), None, "it stays in maintenance, and down");
        assert_eq!(group.set(at(10), ServerIndex(0), Override::default()), Some(Change::Up));
    }

    /// Without this, the file's weight hides the operator's, or the operator's lasts only until the next verdict.
    #[test]
    fn an_operators_weight_goes_before_the_files() {
        let mut group = group();
        group.set(at(0), ServerIndex(0), Override { weight: Some(3), ..Override::default() });
        assert_eq!(group.member(ServerIndex(0)).unwrap().set().weight, Some(3));
        report(&mut group, 1, true);
        assert_eq!(picks(&mut group, 40), [30, 10]);
        group.set(at(0), ServerIndex(0), Override { weight: Some(0), ..Override::default() });
        assert_eq!(picks(&mut group, 10), [0, 10]);
    }

    /// Without this, a restart sends clients to a server that an operator has drained.
    #[test]
    fn another_process_keeps_what_is_set() {
        let mut group = group();
        group.take_up_override(at(0), ServerIndex(0), mode(Mode::Drain));
        assert_eq!(picks(&mut group, 10), [0, 10]);
    }

    /// Without this, the page and the control socket hide a setting, or show one where there is none.
    #[test]
    fn a_mode_or_a_weight_is_a_setting() {
        let weight = Override { weight: Some(1), ..Override::default() };
        assert!(!Override::default().is_set() && mode(Mode::Drain).is_set() && weight.is_set());
        assert_eq!(Mode::ALL.map(Mode::word), ["ready", "drain", "maint"], "HAProxy's words");
    }
}
