//! What the log tells of single instances, which anybody who registers can have happen without end.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many lines may come at once: a fleet that starts or falls is told one by one.
const AT_ONCE: u32 = 1000;

/// How soon another one may come after that.
const EVERY: Duration = Duration::from_secs(1);

/// What may be told of instances.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When all that was told is forgotten.
    free: Option<Instant>,
    left_out: u64,
}

impl Lines {
    /// Whether a line may be written now. Says before it how many were left out.
    pub(super) fn may(&self) -> bool {
        match self.0.lock().line(Instant::now()) {
            None => return false,
            Some(0) => {}
            Some(left_out) => tracing::warn!(
                left_out,
                "lines about instances were left out: more happens than a log is for"
            ),
        }
        true
    }
}

impl Told {
    /// How many lines were left out before one that may be written.
    fn line(&mut self, now: Instant) -> Option<u64> {
        let free = self.free.map_or(now, |free| free.max(now)) + EVERY;
        if free > now + EVERY * AT_ONCE {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.free = Some(free);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_told_one_by_one_and_who_registers_without_end_is_told_each_second() {
        let (mut told, start) = (Told::default(), Instant::now());
        assert!((0..AT_ONCE).all(|_| told.line(start) == Some(0)));
        assert!((0..500).all(|_| told.line(start).is_none()));
        assert_eq!(told.line(start + EVERY), Some(500));
        assert_eq!(told.line(start + EVERY), None);
        assert_eq!(told.line(start + EVERY * 2), Some(1));
        // In quiet it recovers.
        let later = start + EVERY * 10_000;
        assert!((0..AT_ONCE).all(|_| told.line(later) == Some(0)));
        assert_eq!(told.line(later), None);
    }

    #[test]
    fn a_day_of_it_is_less_than_a_hundred_thousand_lines() {
        let (mut told, start) = (Told::default(), Instant::now());
        let lines = (0..24 * 3600 * 20).filter(|n| {
            let now = start + Duration::from_millis(n * 50);
            told.line(now).is_some()
        });
        assert!(lines.count() < 100_000);
    }
}
