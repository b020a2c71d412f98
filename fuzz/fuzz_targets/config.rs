#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fiscalismia_lb_fuzz::config(data));
