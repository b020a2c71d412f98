//! Arguments and exit codes only.
#![forbid(unsafe_code)]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fiscalismia_lb::event_loop;
use log::LevelFilter;
use simple_logger::SimpleLogger;

mod cli;

/// Routes TLS by SNI, without opening it, and hands the client's address on in a PROXY header
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until told to stop
    ///
    /// SIGHUP reads the configuration again, SIGTERM lets connections finish, SIGINT stops at once.
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/fiscalismia-lb/config.json")]
        config: PathBuf,
    },
    /// Say whether the configuration is good; nothing is bound, nothing connected
    ///
    /// Prints one line, then warnings. Exits with 1 when the configuration is rejected.
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say which route and servers a hello with that name gets, and why
    ///
    /// Exits with 0 also when the answer is that no route takes it, with 1 when the configuration is rejected.
    Route {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The name that the hello asks for; "" for a hello without one
        #[arg(value_parser = cli::sni)]
        sni: String,
        /// A protocol that the hello offers; several in the client's order
        #[arg(long, value_name = "PROTOCOL")]
        alpn: Vec<String>,
    },
    /// GET a URL and exit with 0 if the answer is 200: for container health checks
    Health {
        /// What to get, over plain HTTP
        #[arg(default_value = "http://127.0.0.1:8404/health", value_parser = cli::Url::parse)]
        url: cli::Url,
    },
}

fn main() -> ExitCode {
    // Speaks before the loop turns, on stderr; from then on the log is the loop's own, which never waits for its reader.
    // `RUST_LOG=debug` has it say more. Only a second logger could make this fail.
    let _ = SimpleLogger::new().with_level(LevelFilter::Warn).env().init();
    let result = match Arguments::parse().command {
        Command::Run { config } => event_loop::run(&config),
        Command::Check { config } => cli::check(&config),
        Command::Route { config, sni, alpn } => cli::route(&config, &sni, &alpn),
        Command::Health { url } => cli::health(&url),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => {
            for error in errors {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
