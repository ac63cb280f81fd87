//! Files without threads of their own, for deterministic simulations.
//!
//! A simulation runs all its machines on one thread and on a simulated clock. A writer's thread, or
//! a blocking one for reads, would answer after a real time, and no run would be like another. Here
//! the writer is a task and a read runs where it is asked for; how commands are gathered, what is
//! kept and when it is acknowledged is the same.

use std::{cell::Cell, time::Duration};

thread_local! {
    static INLINE: Cell<bool> = const { Cell::new(false) };
}

/// From now on, files that are opened by this thread have no threads of their own; they are opened
/// within a runtime. They are not synced: in a simulation processes die, and the machine under it
/// does not.
#[doc(hidden)]
pub fn simulate_on_this_thread() {
    INLINE.set(true);
}

/// Whether this thread simulates.
pub(crate) fn here() -> bool {
    INLINE.get()
}

/// The time between a commit and its answers: a process may die in it, as with a sync.
pub(crate) async fn commit() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
