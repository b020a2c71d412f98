//! `generate`: man pages and completions, for those who make packages.
use std::fs::create_dir_all;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use fiscalismia_lb::config::plain;

use super::{Arguments, Outcome};

/// Write man pages and completions below a directory, for packages
#[derive(Args)]
#[command(hide = true)]
pub(super) struct Generate {
    /// A prefix, like /usr/local
    #[arg(value_name = "DIRECTORY")]
    prefix: PathBuf,
}

/// Where the shells look below a prefix.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions"),
    (Shell::Zsh, "share/zsh/site-functions"),
    (Shell::Fish, "share/fish/vendor_completions.d"),
];

impl Generate {
    pub(super) fn run(self) -> Outcome {
        write(&self.prefix).map_err(|error| vec![format!("{}: {}", self.prefix.display(), plain(&error))])
    }
}

fn write(prefix: &Path) -> io::Result<()> {
    let command = Arguments::command();
    let name = command.get_name().to_owned();
    for (shell, directory) in COMPLETIONS {
        let directory = prefix.join(directory);
        create_dir_all(&directory)?;
        generate_to(shell, &mut command.clone(), &name, directory)?;
    }
    let directory = prefix.join("share/man/man1");
    create_dir_all(&directory)?;
    clap_mangen::generate_to(command, directory)
}
