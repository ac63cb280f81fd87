//! mizan
pub mod args;
pub mod status;
