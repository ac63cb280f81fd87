//! Filter expressions.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| registry::fuzz::filter(text));
