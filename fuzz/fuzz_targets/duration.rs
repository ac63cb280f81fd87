//! Go's durations.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| registry::fuzz::duration(text));
