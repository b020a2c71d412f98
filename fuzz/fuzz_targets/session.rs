#![no_main]
use std::sync::Arc;

use signal_hook::consts::SIGPIPE;

libfuzzer_sys::fuzz_target!(
    // splice(2) to a socket whose peer is gone raises it. In a program whose main is Rust's, std ignores it.
    init: signal_hook::flag::register(SIGPIPE, Arc::default()).unwrap(),
    |data| fiscalismia_lb_fuzz::session(data)
);
