//! `check`: one line about the file, and a line for each warning.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use fiscalismia_lb::config::{self, Config, File, count};
use fiscalismia_lb::policy::fds::Demand;
use rustix::process::{Resource, getrlimit};

use super::{ConfigFile, Outcome, load, print};

/// Check the configuration file, without binding or connecting any socket
///
/// Prints one line, then warnings. Exits with 1 when the configuration is rejected.
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// The configuration, as with --config
    #[arg(value_name = "FILE", conflicts_with = "config")]
    path: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        let path = self.path.unwrap_or(self.file.config);
        let File { config, .. } = load(&path)?;
        let mut text = format!(
            "{}: ok, {}, {}, {}\n",
            path.display(),
            count(config.routes.len(), "route"),
            count(config.server_count(), "server"),
            count(config.addresses().count(), "listener"),
        );
        let fd_limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        for warning in Demand::of(&config)
            .warning(fd_limit)
            .into_iter()
            .chain(config::warnings(&config))
            .chain(config::ipv6_only(&config))
        {
            let _ = writeln!(text, "{}: warning: {warning}", path.display());
        }
        for (key, file) in missing_credentials(&config) {
            let _ = writeln!(
                text,
                "{}: warning: {key}: {} is not there, so /stats answers 403",
                path.display(),
                file.display()
            );
        }
        print(&text)
    }
}

/// Where systemd puts credentials while the service runs.
const CREDENTIALS: &str = "/run/credentials";

/// Files with credentials that are missing, each with its key.
fn missing_credentials(config: &Config) -> Vec<(&'static str, &Path)> {
    let files = config.admin.stats_credentials.iter().flat_map(|files| {
        [
            ("admin.stats_credentials.username_file", &*files.username_file),
            ("admin.stats_credentials.password_file", &*files.password_file),
        ]
    });
    files.filter(|(_, file)| !file.starts_with(CREDENTIALS) && !file.exists()).collect()
}
