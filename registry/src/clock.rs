//! The one place that reads the wall clock.

use std::time::SystemTime;

use crate::catalogue::UnixMillis;

/// Now. A clock before 1970 reads as 1970, one past the range as its end: times are told, never
/// computed with.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
