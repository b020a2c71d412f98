//! `schema`: the JSON Schema of the configuration file, for editors and validators.
use clap::Args;
use fiscalismia_lb::config;

use super::{Outcome, print};

/// Print the JSON Schema of the configuration, for editors and validators
///
/// A file may name it under "$schema".
#[derive(Args)]
pub(super) struct Schema;

impl Schema {
    #[expect(clippy::unused_self, reason = "a command is run like any other")]
    pub(super) fn run(self) -> Outcome {
        print(&format!("{:#}\n", config::schema()))
    }
}
