//! The one place that reads a clock.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime},
};

use parking_lot::RwLock;

use crate::catalogue::UnixMillis;

/// When this registry began, by both clocks.
static BEGAN: LazyLock<RwLock<(u64, Instant)>> = LazyLock::new(|| RwLock::new(both()));

fn both() -> (u64, Instant) {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    (millis, Instant::now())
}

/// A registry begins: the wall clock is read anew, as a new process would. A simulation restarts a
/// registry within one process, with a machine whose monotonic clock begins again.
pub(crate) fn begin() {
    *BEGAN.write() = both();
}

/// Now: the wall clock as it was when the registry began, and from then on the monotonic one. Never
/// goes back and never jumps, so that deadlines can be computed with it; the price is that a wall
/// clock that is set later is not followed.
pub(crate) fn now() -> UnixMillis {
    let (wall, began) = *BEGAN.read();
    UnixMillis(wall).after(began.elapsed())
}
