//! The mass-expiry guard: what time alone takes from a service is bounded.
//!
//! When many instances of a service go silent together, the silence is more likely the registry's
//! (a partition on its side, a stall) than theirs. Of what is due to be marked or removed by time
//! alone, the guard lets at most 15 % of the service through in a window of 10 s, whichever ones;
//! the rest waits for the next. A service of fewer than 5 is not guarded: there is no share of it
//! to speak of, and a dead instance must be removable. The guard holds nothing once those that it
//! held reported again, were removed, or had their turn: it has no mode to get stuck in (Eureka's
//! self-preservation does).

use std::time::Duration;

use crate::catalogue::UnixMillis;

/// The share of a service that may expire in one window, in percent (Eureka's 85 % turned round).
pub(crate) const SHARE_PERCENT: usize = 15;

/// One sweep: the time within which the share counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// The smallest service that is guarded.
pub(crate) const GUARDED_MIN: usize = 5;

/// What the guard does for one service.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// When the window began, and how large the service was then.
    window: Option<(UnixMillis, usize)>,
    spent: usize,
    holding: Option<Holding>,
}

/// The guard holds something back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    /// How many expiries wait. The guard itself knows only of those that it held last; who asks the
    /// catalogue is told of all.
    pub(crate) held: usize,
    /// Since when some do.
    pub(crate) since: UnixMillis,
    /// When the next of them have their turn.
    pub(crate) until: UnixMillis,
}

impl Guard {
    /// How many of `due` expiries may happen now in a service of `size`; the rest is held.
    pub(crate) fn admit(&mut self, size: usize, due: usize, now: UnixMillis) -> usize {
        let (began, size) = match self.window {
            Some((began, size)) if now.since(began) < WINDOW => (began, size),
            _ => {
                self.spent = 0;
                (now, size)
            }
        };
        self.window = Some((began, size));
        let budget = if size < GUARDED_MIN {
            usize::MAX
        } else {
            (size.saturating_mul(SHARE_PERCENT) / 100).max(1)
        };
        let admitted = due.min(budget.saturating_sub(self.spent));
        self.spent = self.spent.saturating_add(admitted);
        let held = due - admitted;
        let since = self.holding.map_or(now, |holding| holding.since);
        self.holding = (held > 0).then(|| Holding {
            held,
            since,
            until: began.after(WINDOW),
        });
        admitted
    }

    /// What is held, unless the window in which it was has passed.
    pub(crate) fn holding(&self, now: UnixMillis) -> Option<Holding> {
        self.holding
            .filter(|holding| now <= holding.until.after(WINDOW))
    }

    /// Whether it may be forgotten: nothing of it counts any more.
    pub(crate) fn is_over(&self, now: UnixMillis) -> bool {
        self.holding(now).is_none()
            && self
                .window
                .is_none_or(|(began, _)| now.since(began) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMillis = UnixMillis(1_000_000);

    #[test]
    fn a_small_service_is_not_guarded() {
        for size in 1..GUARDED_MIN {
            let mut guard = Guard::default();
            assert_eq!(guard.admit(size, size, START), size);
            assert_eq!(guard.holding(START), None);
        }
    }

    #[test]
    fn of_a_guarded_one_a_share_goes_in_each_window() {
        let mut guard = Guard::default();
        assert_eq!(guard.admit(40, 40, START), 6);
        let holding = guard.holding(START).unwrap();
        assert_eq!((holding.held, holding.since), (34, START));
        assert_eq!(guard.admit(34, 34, START.after(WINDOW / 2)), 0);
        let next = START.after(WINDOW);
        assert_eq!(guard.admit(34, 34, next), 5);
        assert_eq!(guard.holding(next).unwrap().since, START);
        // All the others reported again: nothing is due, and the guard lets go by itself.
        assert_eq!(guard.admit(29, 0, next.after(WINDOW)), 0);
        assert_eq!(guard.holding(next.after(WINDOW)), None);
    }

    #[test]
    fn a_share_of_five_is_one() {
        assert_eq!(Guard::default().admit(5, 5, START), 1);
    }

    proptest! {
        /// Whatever is due and whenever, no window lets more through than its share.
        #[test]
        fn no_window_exceeds_the_share(
            size in GUARDED_MIN..200,
            sweeps in prop::collection::vec((0..50_usize, 0..4_000_u64), 1..60)
        ) {
            let mut guard = Guard::default();
            let mut now = START;
            let mut begun: Option<UnixMillis> = None;
            let mut through = 0;
            for (due, pause) in sweeps {
                now = UnixMillis(now.0 + pause);
                if begun.is_none_or(|begun| now.since(begun) >= WINDOW) {
                    begun = Some(now);
                    through = 0;
                }
                let admitted = guard.admit(size, due, now);
                prop_assert!(admitted <= due);
                through += admitted;
                prop_assert!(through <= (size * SHARE_PERCENT / 100).max(1));
                prop_assert_eq!(guard.holding(now).is_some(), admitted < due);
            }
        }
    }
}
