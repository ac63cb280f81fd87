//! Times: as people give them on the command line, and as they are shown.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use prost_types::Timestamp as Wire;

/// Reads `2026-11-25T07:30:00Z`, with any offset, or `2026-11-25`, which is its midnight in UTC.
pub(super) fn read(text: &str) -> Result<Wire, String> {
    // A day alone: `parse` would take it from a time without an offset too, and forget the time.
    let is_day = text.len() == "2026-11-25".len();
    let time = text.parse::<Timestamp>().or_else(|error| {
        if !is_day {
            return Err(error);
        }
        let day = text.parse::<Date>()?;
        Ok::<_, jiff::Error>(day.to_zoned(TimeZone::UTC)?.timestamp())
    });
    let time =
        time.map_err(|_| "is neither a time like 2026-11-25T07:30:00Z nor a day like 2026-11-25")?;
    Ok(Wire {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    })
}

/// As RFC 3339 in UTC, to the microsecond, which is as fine as the services keep it. Empty for a
/// time that is not set.
pub(super) fn show(time: Option<&Wire>) -> String {
    let time = time.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok());
    time.map_or_else(String::new, |t| format!("{t:.6}"))
}

/// Microseconds from one to the other; none when either is not set.
pub(super) fn between(from: Option<&Wire>, until: Option<&Wire>) -> Option<i64> {
    Some(micros(until?).saturating_sub(micros(from?)))
}

fn micros(time: &Wire) -> i64 {
    let seconds = time.seconds.saturating_mul(1_000_000);
    seconds.saturating_add(i64::from(time.nanos / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_days_are_read_and_shown() {
        let shown = |text: &str| show(read(text).ok().as_ref());
        assert_eq!(shown("2026-11-25"), "2026-11-25T00:00:00.000000Z");
        let half_past = "2026-11-25T07:30:00.250000Z";
        assert_eq!(shown("2026-11-25T07:30:00.25Z"), half_past);
        assert_eq!(shown("2026-11-25T10:30:00.25+03:00"), half_past);
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-25T07:30:00"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show(None), "");
    }

    #[test]
    fn the_time_between_is_in_microseconds() {
        let at = |seconds, nanos| Wire { seconds, nanos };
        let (early, late) = (at(1, 999_999_000), at(2, 1_000));
        assert_eq!(between(Some(&early), Some(&late)), Some(2));
        assert_eq!(between(Some(&early), None), None);
    }
}
