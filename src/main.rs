//! Arguments and exit codes only.
#![forbid(unsafe_code)]
use std::process::ExitCode;

use clap::Parser as _;
use log::LevelFilter;
use simple_logger::SimpleLogger;

mod cli;

fn main() -> ExitCode {
    // Speaks before the loop turns, on stderr; from then on the log is the loop's own, which never waits for its reader.
    // `RUST_LOG=debug` has it say more. Only a second logger could make this fail.
    let _ = SimpleLogger::new().with_level(LevelFilter::Warn).env().init();
    match cli::Arguments::parse().run() {
        Ok(code) => code,
        Err(errors) => {
            for error in errors {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
