//! The whole, as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod books;
mod chaos;
mod faults;
mod kept;
mod look;
mod registry;
mod rolling;
mod starting;
mod stopping;
mod story;
mod zakat;
