//! Moments, as the stores keep them: microseconds since 1970, as the wire has them: `Timestamp`.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// The years 0001 to 9999, which is what a `Timestamp` may say.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A moment in microseconds since 1970.
#[must_use]
pub fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A `Timestamp` in microseconds, finer digits cut off.
///
/// # Errors
/// A clause that fits after the field's name, for what is no moment of the years 1 to 9999.
pub fn read_micros(time: &Timestamp) -> Result<i64, &'static str> {
    if !SECONDS.contains(&time.seconds) {
        return Err("is not between the years 1 and 9999");
    }
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err("has nanos outside 0 to 999999999");
    }
    Ok(time.seconds * MICROS_PER_SECOND + i64::from(time.nanos) / NANOS_PER_MICRO)
}

/// The `Timestamp` of microseconds since 1970.
#[must_use]
pub fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(MICROS_PER_SECOND) * NANOS_PER_MICRO;
    Timestamp {
        seconds: micros.div_euclid(MICROS_PER_SECOND),
        // Below 10⁹ by construction.
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_moment_is_refused() {
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
            assert!(read_micros(&Timestamp { seconds, nanos }).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_moment_reads_back_as_itself(micros in -62_135_596_800_000_000_i64..253_402_300_799_000_000) {
            prop_assert_eq!(read_micros(&timestamp(micros)), Ok(micros));
        }
    }
}
