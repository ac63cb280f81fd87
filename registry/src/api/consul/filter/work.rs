//! What judging answers costs: counted before it is done, refused beyond a bound.
//!
//! One unit is about a nanosecond of a machine of today. Counting units instead of time makes a
//! refusal depend on the filter and the catalogue alone, so the same request ends the same way on a
//! busy machine.

use super::Wrong;

/// What the tests of one filter may cost: a quarter of a second. A plain comparison over 20,000
/// instances costs a hundredth of it.
pub(crate) const TESTS_MAX: u64 = 250_000_000;

/// What it costs to find a value and look at it, however short it is.
const LOOK: u64 = 50;

/// Bytes times bytes of a compiled pattern that are looked at within one unit. The slowest patterns
/// that we found take 6 to 11.
const PATTERN_BYTES_A_UNIT: u64 = 6;

/// What one byte of a pattern costs to read.
const READ_BYTE: u64 = 1_000;

/// What a class of characters in a pattern costs to read, at most: folding the case of all letters.
const READ_CLASS: u64 = 150_000;

/// What one byte of a compiled pattern costs to make.
const COMPILED_BYTE: u64 = 8;

/// Why work does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It never will.
    Wrong(Wrong),
    /// It would be more than may be done now.
    Pause,
}

impl From<Wrong> for Stop {
    fn from(why: Wrong) -> Self {
        Self::Wrong(why)
    }
}

/// Counts what was done, refuses tests beyond their bound, and pauses where it is told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    used: u64,
    tests: u64,
    tests_max: u64,
    pause: u64,
}

impl Default for Work {
    fn default() -> Self {
        Self::bounded(TESTS_MAX)
    }
}

impl Work {
    /// Tests may cost this much.
    pub(crate) fn bounded(tests_max: u64) -> Self {
        Self {
            used: 0,
            tests: 0,
            tests_max,
            pause: u64::MAX,
        }
    }

    /// From here on, no more than this is done before it pauses.
    pub(crate) fn pause_after(&mut self, units: u64) {
        self.pause = self.used.saturating_add(units);
    }

    /// Everything that was done so far.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Something is done that is bounded elsewhere, such as shaping an answer.
    pub(crate) fn note(&mut self, units: u64) -> Result<(), Stop> {
        let used = self.used.saturating_add(units);
        if used > self.pause {
            return Err(Stop::Pause);
        }
        self.used = used;
        Ok(())
    }

    /// A pattern is read.
    pub(crate) fn read(&mut self, pattern: &str) -> Result<(), Stop> {
        let classes = pattern.bytes().filter(|b| matches!(b, b'\\' | b'['));
        let classes = units(classes.count()).saturating_mul(READ_CLASS);
        let bytes = units(pattern.len()).saturating_mul(READ_BYTE);
        self.note(bytes.saturating_add(classes))
    }

    /// A pattern was compiled: that cannot be paused, and is bounded by its size.
    pub(crate) fn compiled(&mut self, size: usize) {
        let cost = units(size).saturating_mul(COMPILED_BYTE);
        self.used = self.used.saturating_add(cost);
    }

    /// A test looks at a text or a list of this many bytes.
    pub(crate) fn look(&mut self, bytes: usize) -> Result<(), Stop> {
        self.test(LOOK.saturating_add(units(bytes)))
    }

    /// A pattern that takes `size` bytes looks at a text.
    pub(crate) fn search(&mut self, bytes: usize, size: usize) -> Result<(), Stop> {
        let steps = units(bytes).saturating_add(1).saturating_mul(units(size));
        self.test(LOOK.saturating_add(steps / PATTERN_BYTES_A_UNIT))
    }

    fn test(&mut self, cost: u64) -> Result<(), Stop> {
        let tests = self.tests.saturating_add(cost);
        if tests > self.tests_max {
            return Err(Wrong::expensive(
                "its tests look at too much, for this many instances; ask for one service, test \
                 short values, use == instead of patterns, and shorter repetitions in patterns",
            )
            .into());
        }
        self.note(cost)?;
        self.tests = tests;
        Ok(())
    }
}

fn units(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_refused_is_not_counted_as_done() {
        let mut work = Work::bounded(1_000);
        work.look(500).unwrap();
        let before = work.clone();
        assert!(matches!(
            work.search(500, 5_000),
            Err(Stop::Wrong(Wrong::Expensive(_)))
        ));
        assert_eq!(work, before);
        work.look(100).unwrap();
    }

    #[test]
    fn writing_is_counted_and_never_refused() {
        let mut work = Work::bounded(0);
        work.note(u64::MAX).unwrap();
        work.compiled(usize::MAX);
        assert_eq!(work.used(), u64::MAX);
        assert!(matches!(work.look(0), Err(Stop::Wrong(_))));
    }

    #[test]
    fn a_pause_does_nothing_and_ends() {
        let mut work = Work::default();
        work.pause_after(1_000);
        work.note(900).unwrap();
        let before = work.clone();
        assert_eq!(work.look(100), Err(Stop::Pause));
        assert_eq!(work.read("^web$"), Err(Stop::Pause));
        assert_eq!(work, before);
        work.pause_after(u64::MAX);
        work.look(100).unwrap();
        // A class may be any of all letters.
        let cost = |pattern: &str| {
            let mut work = Work::default();
            work.read(pattern).map(|()| work.used())
        };
        assert!(cost(r"\pL").unwrap() > 10 * cost("aaa").unwrap());
    }

    proptest! {
        #[test]
        fn tests_never_pass_their_bound(
            most in 0_u64..100_000,
            steps in prop::collection::vec((any::<bool>(), 0_usize..5_000, 0_usize..100_000), 0..50),
        ) {
            let mut work = Work::bounded(most);
            for (pattern, bytes, size) in steps {
                let before = work.used();
                let done = if pattern { work.search(bytes, size) } else { work.look(bytes) };
                prop_assert!(work.tests <= most);
                // Whatever is done costs something: no loop of tests is free.
                prop_assert_eq!(done.is_ok(), work.used() > before);
            }
        }

        #[test]
        fn more_bytes_and_larger_patterns_cost_more(
            bytes in 0_usize..1_000_000, size in 0_usize..1_000_000,
        ) {
            let cost = |bytes, size| {
                let mut work = Work::bounded(u64::MAX);
                work.search(bytes, size).map(|()| work.used())
            };
            prop_assert!(cost(bytes, size).unwrap() <= cost(bytes + 1, size).unwrap());
            prop_assert!(cost(bytes, size).unwrap() <= cost(bytes, size + 1).unwrap());
        }
    }
}
