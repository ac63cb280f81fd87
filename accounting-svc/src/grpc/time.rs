//! Times on the wire and in the file.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

use crate::store::Micros;

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z, what `Timestamp` is defined for.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Now. A clock before 1970 reads as 1970.
pub(super) fn now() -> Micros {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The moment of a message, rounded down to a microsecond; the message itself is kept with the
/// request, so that nothing is lost.
pub(super) fn read(message: &Timestamp) -> Result<Micros, &'static str> {
    let nanos = i64::from(message.nanos);
    if !SECONDS.contains(&message.seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err("is outside the years 1 to 9999 or has nanos outside 0 to 999999999");
    }
    // Fits: the range of seconds times 10^6 is far below 2^63.
    Ok(message.seconds * MICROS_PER_SECOND + nanos / NANOS_PER_MICRO)
}

pub(super) fn message(moment: Micros) -> Timestamp {
    let nanos = moment.rem_euclid(MICROS_PER_SECOND) * NANOS_PER_MICRO;
    Timestamp {
        seconds: moment.div_euclid(MICROS_PER_SECOND),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_the_wire_also_before_1970() {
        for moment in [0, 1, -1, 1_700_000_000_123_456, -62_135_596_800_000_000] {
            assert_eq!(read(&message(moment)), Ok(moment));
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for (seconds, nanos) in [
            (i64::MAX, 0),
            (i64::MIN, 0),
            (253_402_300_800, 0),
            (0, -1),
            (0, 1_000_000_000),
        ] {
            assert!(read(&Timestamp { seconds, nanos }).is_err());
        }
    }
}
