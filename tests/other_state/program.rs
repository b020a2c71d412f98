//! `fiscalismia-lb run --config FILE`, built with the feature `other-state`. End-to-end tests hand over from it to the
//! program, and back.
use std::path::PathBuf;
use std::process::ExitCode;

use fiscalismia_lb::access_log::Backend;
use log::LevelFilter;
use simple_logger::SimpleLogger;

fn main() -> ExitCode {
    let backend: &Backend = Box::leak(Box::new(Backend::new(Box::new(SimpleLogger::new()))));
    if log::set_logger(backend).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    let file = std::env::args_os().last().map(PathBuf::from).unwrap_or_default();
    match fiscalismia_lb::event_loop::run(&file, backend) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => {
            eprintln!("{}", errors.join("\n"));
            ExitCode::FAILURE
        }
    }
}
