//! The command line, one file for each command. A command that fails answers with lines for stderr.
use std::env;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fiscalismia_lb::access_log::Backend;
use fiscalismia_lb::config::{self, File, plain};

mod check;
mod control;
mod health;
mod import;
mod route;
mod run;
mod schema;
mod r#try;

/// Routes TLS by SNI without decrypting it, and tells servers the client's address in a PROXY header
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Route(route::Route),
    Try(r#try::Try),
    Import(import::Import),
    Server(control::server::Server),
    Drain(control::drain::Drain),
    Diff(control::diff::Diff),
    Connections(control::connections::Connections),
    Top(control::top::Top),
    Health(health::Health),
    Schema(schema::Schema),
}

const AFTER_HELP: &str = "\
Without --config the file is /etc/fiscalismia-lb/config.json.

Signals of run: SIGHUP reads the file again. SIGUSR1 lets connections finish, at most for timeouts.drain. SIGTERM does the \
same, or hands them over to the next process if systemd stores file descriptors. A second one, or SIGINT, stops at once.

Exit codes: 0 fine; 1 the configuration is rejected, or something failed; 2 wrong arguments; 3 import \
has left something out.

Documentation: https://github.com/fiscalismia/fiscalismia-lb";

/// The option of every command that reads the configuration file.
#[derive(Args)]
struct ConfigFile {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/fiscalismia-lb/config.json")]
    config: PathBuf,
}

/// The result of a command: nothing, or its errors, a line each.
pub(crate) type Outcome = Result<(), Vec<String>>;

impl Arguments {
    /// The arguments of this process. Those of `run` as the units write them are parsed without clap, whose code would
    /// otherwise stay resident: 3.6 MB and not 4.0 (`VmRSS` after start, one route).
    pub(crate) fn of_process() -> Self {
        let arguments: Vec<_> = env::args_os().skip(1).collect();
        match arguments.as_slice() {
            [run, key, file] if run == "run" && (key == "--config" || key == "-c") => {
                Self { command: Command::Run(run::Run::new(file.into())) }
            }
            _ => Self::parse(),
        }
    }

    /// Runs the command. `backend` is the log crate's. The exit code is that of a command without errors.
    pub(crate) fn run(self, backend: &Backend) -> Result<ExitCode, Vec<String>> {
        let done = match self.command {
            Command::Run(run) => run.run(backend),
            Command::Check(check) => check.run(),
            Command::Route(route) => route.run(),
            Command::Try(r#try) => r#try.run(),
            Command::Import(import) => return import.run(),
            Command::Server(server) => server.run(),
            Command::Drain(drain) => drain.run(),
            Command::Diff(diff) => diff.run(),
            Command::Connections(connections) => connections.run(),
            Command::Top(top) => top.run(),
            Command::Health(health) => health.run(),
            Command::Schema(schema) => schema.run(),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

fn load(path: &Path) -> Result<File, Vec<String>> {
    config::load(path).map_err(|errors| errors.iter().map(|error| format!("{error:#}")).collect())
}

/// Lines for stderr. `eprintln!` would panic when the reader has gone, and the exit code would be lost.
pub(crate) fn complain(lines: impl IntoIterator<Item = impl Display>) {
    for line in lines {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// `println!` would panic when the reader has gone.
fn print(text: &str) -> Outcome {
    io::stdout().write_all(text.as_bytes()).map_err(|error| vec![format!("cannot write to stdout: {}", plain(&error))])
}
