//! Writes man pages, and completions for bash, zsh and fish, from the program's own command line: `cargo run --example manual -- PREFIX`.
//!
//! An example, so that the program does not carry the crates for it.
#![forbid(unsafe_code)]
use std::env;
use std::fs::create_dir_all;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};

#[path = "../src/cli/mod.rs"]
#[allow(dead_code, reason = "nothing is run here")]
mod cli;

/// Where the shells look below a prefix.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions"),
    (Shell::Zsh, "share/zsh/site-functions"),
    (Shell::Fish, "share/fish/vendor_completions.d"),
];

fn main() -> io::Result<()> {
    let prefix = env::args_os().nth(1).map(PathBuf::from);
    let usage = "usage: cargo run --example manual -- PREFIX, like /usr/local";
    write(&prefix.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, usage))?)
}

fn write(prefix: &Path) -> io::Result<()> {
    let command = cli::Arguments::command();
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

/// Without this, a package lacks the man page of a command, or the completions of a shell.
#[test]
#[allow(clippy::unwrap_used, reason = "this is a test")]
fn man_pages_and_completions() {
    let prefix = env::temp_dir().join(format!("fiscalismia-lb-manual-{}", std::process::id()));
    write(&prefix).unwrap();
    let read = |path: &str| std::fs::read_to_string(prefix.join("share").join(path)).unwrap();
    for command in cli::Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()) {
        let page = read(&format!("man/man1/fiscalismia-lb-{command}.1"));
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
        for completions in [
            "bash-completion/completions/fiscalismia-lb.bash",
            "zsh/site-functions/_fiscalismia-lb",
            "fish/vendor_completions.d/fiscalismia-lb.fish",
        ] {
            assert!(read(completions).contains(&command), "{command} is not in {completions}");
        }
    }
    assert!(read("man/man1/fiscalismia-lb.1").contains("/etc/fiscalismia\\-lb/config.json"));
    std::fs::remove_dir_all(prefix).unwrap();
}
