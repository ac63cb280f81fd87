//! How often a whole call allocates in the client's process, in steady state.

use std::io::Write;

use tokio::runtime;

use crate::{
    Error,
    contender::{Contender, Kind},
    processes::Servers,
    stats,
    table::Table,
};

/// Calls before counting: connections stand, and buffers have their size.
const WARM_UP_CALLS: u64 = 2_000;
const CALLS: u64 = 10_000;

/// Allocations and bytes that some work on this thread made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// How many.
    pub allocations: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Runs some work and counts; given by the program whose allocator counts.
pub type Counter = fn(&mut dyn FnMut()) -> Counted;

/// Counts whole calls and writes the table.
///
/// # Errors
/// Servers that do not start, or a call that fails.
pub fn calls(count: Counter, out: &mut impl Write) -> Result<(), Error> {
    writeln!(
        out,
        "## Allocations of a whole call, in the client's process\n"
    )?;
    let servers = Servers::start(3, None)?;
    // One thread, so that everything the client does is counted.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new(&["unary echo, c = 1", "allocations/call", "bytes/call"]);
    for kind in Kind::ALL {
        let guard = runtime.enter();
        let contender = Contender::new(kind, servers.addresses())?;
        drop(guard);
        runtime.block_on(contender.calls(WARM_UP_CALLS))?;
        let mut result = Ok(());
        let counted = count(&mut || result = runtime.block_on(contender.calls(CALLS)));
        result?;
        table.row(vec![
            kind.to_string(),
            format!("{:.2}", stats::each(counted.allocations, CALLS)),
            format!("{:.0}", stats::each(counted.bytes, CALLS)),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    Ok(())
}
