//! `run`: the proxy itself.
use std::path::PathBuf;

use clap::Args;
use fiscalismia_lb::access_log::Backend;
use fiscalismia_lb::event_loop;

use super::{ConfigFile, Outcome};

/// Serve until told to stop
///
/// SIGHUP reloads the configuration. SIGUSR1 lets connections finish. SIGTERM does the same, or hands them over to the
/// next process if systemd stores file descriptors. SIGINT, or a second SIGTERM or SIGUSR1, stops at once.
#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    file: ConfigFile,
}

impl Run {
    pub(super) fn new(config: PathBuf) -> Self {
        Self { file: ConfigFile { config } }
    }

    pub(super) fn run(self, backend: &Backend) -> Outcome {
        event_loop::run(&self.file.config, backend)
    }
}
