//! Arguments and exit codes.
#![forbid(unsafe_code)]
use std::process::ExitCode;

use fiscalismia_lb::access_log::Backend;
use log::LevelFilter;
use simple_logger::SimpleLogger;

mod cli;

fn main() -> ExitCode {
    // Before the loop turns, messages go to stderr; after that to the loop's log, which never blocks on its reader.
    // `RUST_LOG=debug` shows more of them.
    let before = SimpleLogger::new().with_level(LevelFilter::Warn).env();
    let level = before.max_level().max(LevelFilter::Info);
    let backend: &Backend = Box::leak(Box::new(Backend::new(Box::new(before))));
    // Fails only if there is another logger already.
    if log::set_logger(backend).is_ok() {
        log::set_max_level(level);
    }
    match cli::Arguments::of_process().run(backend) {
        Ok(code) => code,
        Err(errors) => {
            cli::complain(errors);
            ExitCode::FAILURE
        }
    }
}
