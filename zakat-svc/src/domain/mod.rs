//! Zakat as a pure function: no clock, no I/O, no wire.

mod plain;

pub use plain::{Base, Zakat, calculate};
