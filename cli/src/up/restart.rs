//! Whether a process that died is started again, and when. Pure: times are passed in.

use std::time::Duration;

/// The first pause before a restart; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// A process that lived so long had started well: its death is news, and the pause begins anew.
const LIVED_WELL: Duration = Duration::from_secs(10);

/// So many quick deaths of a process that was never passing: it cannot start.
const QUICK_DEATHS_MAX: u32 = 3;

/// What to do about a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start again after this pause.
    StartAfter(Duration),
    /// It cannot start: do not try again.
    GiveUp,
}

/// The deaths of one process so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deaths {
    pause: Duration,
    quick: u32,
}

impl Default for Deaths {
    fn default() -> Self {
        Self {
            pause: PAUSE_FIRST,
            quick: 0,
        }
    }
}

impl Deaths {
    /// Decides after a death. `ever_passed`: whether it was passing at any time since `up` began.
    pub(super) fn died(&mut self, lived: Duration, ever_passed: bool) -> Next {
        if lived >= LIVED_WELL {
            *self = Self::default();
        } else if !ever_passed {
            self.quick += 1;
        }
        if self.quick >= QUICK_DEATHS_MAX {
            return Next::GiveUp;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_LONGEST);
        Next::StartAfter(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(50);

    fn pause(millis: u64) -> Next {
        Next::StartAfter(Duration::from_millis(millis))
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut deaths = Deaths::default();
        for millis in [200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            assert_eq!(deaths.died(QUICK, true), pause(millis));
        }
    }

    #[test]
    fn a_long_life_is_a_new_beginning() {
        let mut deaths = Deaths::default();
        deaths.died(QUICK, true);
        deaths.died(QUICK, true);
        assert_eq!(deaths.died(LIVED_WELL, true), pause(200));
        assert_eq!(deaths.died(QUICK, true), pause(400));
    }

    #[test]
    fn three_quick_deaths_before_ever_passing_are_enough() {
        let mut deaths = Deaths::default();
        assert_eq!(deaths.died(QUICK, false), pause(200));
        assert_eq!(deaths.died(QUICK, false), pause(400));
        assert_eq!(deaths.died(QUICK, false), Next::GiveUp);
    }

    #[test]
    fn a_process_that_once_passed_is_never_given_up() {
        let mut deaths = Deaths::default();
        deaths.died(QUICK, false);
        deaths.died(QUICK, false);
        for _ in 0..20 {
            assert_ne!(deaths.died(QUICK, true), Next::GiveUp);
        }
    }
}
