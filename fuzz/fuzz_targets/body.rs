//! The bodies of Consul's registrations.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry::fuzz::body(bytes));
