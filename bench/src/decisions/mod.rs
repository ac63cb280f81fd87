//! What one decision costs, without a call around it.

use std::io::Write;

use crate::{Error, allocations::Counter};

/// Counts the allocations of each decision and writes the table.
///
/// # Errors
/// A writer that fails.
pub fn allocations(_count: Counter, _out: &mut impl Write) -> Result<(), Error> {
    Ok(())
}
