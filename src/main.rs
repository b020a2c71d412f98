//! Arguments and exit codes only.
#![forbid(unsafe_code)]
use std::process::ExitCode;

use fiscalismia_lb::access_log::Backend;
use log::LevelFilter;
use simple_logger::SimpleLogger;

mod cli;

fn main() -> ExitCode {
    // Before the loop turns it speaks on stderr; from then on through the loop's own log, which never waits for its reader.
    // `RUST_LOG=debug` has it say more.
    let before = SimpleLogger::new().with_level(LevelFilter::Warn).env();
    let level = before.max_level().max(LevelFilter::Info);
    let backend: &Backend = Box::leak(Box::new(Backend::new(Box::new(before))));
    // Only a second logger could make this fail.
    if log::set_logger(backend).is_ok() {
        log::set_max_level(level);
    }
    match cli::Arguments::of_process().run(backend) {
        Ok(code) => code,
        Err(errors) => {
            for error in errors {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
