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

/// What one byte of a pattern costs to compile, at most: case folding of large classes.
const COMPILE_BYTE: u64 = 40_000;

/// Counts what was done, and refuses tests beyond their bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    used: u64,
    tests: u64,
    tests_max: u64,
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
        }
    }

    /// Everything that was done so far.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Something is done that is bounded elsewhere, such as writing an answer.
    pub(crate) fn note(&mut self, units: u64) {
        self.used = self.used.saturating_add(units);
    }

    /// A pattern of this many bytes is compiled.
    pub(crate) fn compile(&mut self, text: usize) {
        self.note(units(text).saturating_mul(COMPILE_BYTE));
    }

    /// A test looks at a text or a list of this many bytes.
    pub(crate) fn look(&mut self, bytes: usize) -> Result<(), Wrong> {
        self.test(LOOK.saturating_add(units(bytes)))
    }

    /// A pattern that takes `size` bytes looks at a text.
    pub(crate) fn search(&mut self, bytes: usize, size: usize) -> Result<(), Wrong> {
        let steps = units(bytes).saturating_add(1).saturating_mul(units(size));
        self.test(LOOK.saturating_add(steps / PATTERN_BYTES_A_UNIT))
    }

    fn test(&mut self, cost: u64) -> Result<(), Wrong> {
        let tests = self.tests.saturating_add(cost);
        if tests > self.tests_max {
            return Err(Wrong::expensive(
                "its tests look at too much, for this many instances; ask for one service, test \
                 short values, use == instead of patterns, and shorter repetitions in patterns",
            ));
        }
        self.tests = tests;
        self.note(cost);
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
        assert!(matches!(work.search(500, 5_000), Err(Wrong::Expensive(_))));
        assert_eq!(work, before);
        work.look(100).unwrap();
    }

    #[test]
    fn writing_is_counted_and_never_refused() {
        let mut work = Work::bounded(0);
        work.note(u64::MAX);
        work.compile(usize::MAX);
        assert_eq!(work.used(), u64::MAX);
        assert!(work.look(0).is_err());
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
            prop_assert!(cost(bytes, size)? <= cost(bytes + 1, size)?);
            prop_assert!(cost(bytes, size)? <= cost(bytes, size + 1)?);
        }
    }
}
