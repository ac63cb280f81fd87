//! How many connections a process has files for.

/// The least that is kept for everything else: stores, logs, calls to others.
const RESERVE_MIN: usize = 32;

/// One file in so many is kept for everything else, up to the most.
const RESERVE_SHARE: usize = 4;
const RESERVE_MAX: usize = 1024;

/// As many connections as are wanted, but no more than leave a reserve of the files that the process
/// may open; `None`: as many as it likes.
pub(super) fn connections_max(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files.and_then(|files| usize::try_from(files).ok()) else {
        return wanted;
    };
    let reserve = (files / RESERVE_SHARE).clamp(RESERVE_MIN, RESERVE_MAX);
    wanted.min(files.saturating_sub(reserve).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_always_files_left() {
        assert_eq!(connections_max(10_000, None), 10_000);
        assert_eq!(connections_max(10_000, Some(1 << 20)), 10_000);
        assert_eq!(connections_max(10_000, Some(1024)), 768);
        assert_eq!(connections_max(100, Some(1024)), 100);
        assert_eq!(connections_max(10_000, Some(160)), 120);
        assert_eq!(connections_max(10_000, Some(40)), 8);
        assert_eq!(connections_max(10_000, Some(10)), 1);
        assert_eq!(connections_max(10_000, Some(u64::MAX)), 10_000);
    }
}
