//! The one place that reads a clock.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime},
};

use crate::catalogue::UnixMillis;

/// When this process first asked, by both clocks.
static BEGAN: LazyLock<(u64, Instant)> = LazyLock::new(|| {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    (millis, Instant::now())
});

/// Now: the wall clock as it was when the process began, and from then on the monotonic one. Never
/// goes back and never jumps, so that deadlines can be computed with it; the price is that a wall
/// clock that is set later is not followed.
pub(crate) fn now() -> UnixMillis {
    let (wall, began) = *BEGAN;
    UnixMillis(wall).after(began.elapsed())
}
