//! Zakat as a pure function: no clock, no I/O, no wire.

pub mod assess;
pub mod date;
pub mod explain;
pub mod facts;
pub mod hawl;
pub mod livestock;
mod plain;
pub mod policy;
pub mod ratio;

pub use plain::{Base, Zakat, calculate};
