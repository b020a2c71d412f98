//! The file descriptors of this process.
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::policy::fds::{Demand, Shares};

/// The number in use to assume if it cannot be determined.
const USED_UNKNOWN: u64 = 32;

/// The fd limit, the number in use, and a spare fd for a shortage.
pub struct Fds {
    limit: u64,
    /// In use before the first client.
    used: u64,
    spare: Option<OwnedFd>,
}

impl Fds {
    /// A limit of `limit`, with none in use as far as is known.
    #[must_use]
    pub fn at_most(limit: u64) -> Fds {
        Fds { limit, used: 0, spare: None }
    }

    /// Raises the fd limit to the hard limit. None are in use as far as is known.
    pub(super) fn raise() -> Fds {
        let limits = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
        let limit = if raised.is_ok() { limits.maximum } else { limits.current }.unwrap_or(u64::MAX);
        if let Err(error) = raised {
            log::warn!("The fd limit stays at {limit}, as it could not be raised to the hard limit: {error}.");
        }
        Fds::at_most(limit)
    }

    /// Estimates the number in use by the lowest free fd, which the spare one gets.
    pub(super) fn measure(&mut self) {
        self.keep_spare();
        self.used = self.spare.as_ref().map_or(USED_UNKNOWN, |spare| spare.as_raw_fd() as u64 + 1);
        log::debug!("The fd limit is {}; {} fds are in use before the first client.", self.limit, self.used);
    }

    /// The fd limit.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The fds that `config` needs, beside those in use.
    pub(super) fn demand(&self, config: &Config) -> Demand {
        Demand::of(config).with_used(self.used)
    }

    /// The fds that clients and pipes get under `config`.
    ///
    /// # Errors
    /// A sentence: the limit is too low for a single client.
    pub(super) fn share_out(&self, config: &Config) -> Result<Shares, String> {
        self.demand(config).check(self.limit)
    }

    /// Closes the spare fd, so that another can be opened.
    pub(super) fn give_up_spare(&mut self) {
        self.spare = None;
    }

    /// Opens the spare fd again.
    pub(super) fn keep_spare(&mut self) {
        self.spare = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
    }
}
