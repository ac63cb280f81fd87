//! Go's durations, the form in which Consul's clients write every time: `10s`, `1m30s`, `120000ms`.

/// Longer texts are no durations that anybody writes.
const TEXT_BYTES_MAX: usize = 64;

/// Each unit with its nanoseconds. Longer names come first where one begins with another.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The nanoseconds of a duration; nothing when it is not one, or does not fit Go's 64 bits.
pub(crate) fn parse(text: &str) -> Option<i128> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanos: i128 = 0;
    loop {
        let (part, further) = element(rest)?;
        nanos = nanos.checked_add(part)?;
        rest = further;
        if rest.is_empty() {
            break;
        }
    }
    let nanos = sign * nanos;
    i64::try_from(nanos).ok()?;
    Some(nanos)
}

/// The nanoseconds of one number with its unit, and what follows.
fn element(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_end = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at_checked(unit_end)?;
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name)?;
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(*unit)?;
    let mut place = *unit;
    for digit in fraction.chars() {
        // What is below a nanosecond is cut off.
        place /= 10;
        nanos = nanos.checked_add(i128::from(digit.to_digit(10)?) * place)?;
    }
    Some((nanos, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A duration as Go prints it: `1m30s`, `100ms`, `0s`.
pub(crate) fn format(duration: std::time::Duration) -> String {
    let nanos = duration.subsec_nanos();
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => with_fraction(u64::from(nanos / 1_000), nanos % 1_000, 3, "µs"),
            _ => with_fraction(u64::from(nanos / 1_000_000), nanos % 1_000_000, 6, "ms"),
        };
    }
    let rest = with_fraction(seconds % 60, nanos, 9, "s");
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

fn with_fraction(whole: u64, fraction: u32, places: usize, unit: &str) -> String {
    if fraction == 0 {
        return format!("{whole}{unit}");
    }
    let fraction = format!("{fraction:0places$}");
    format!("{whole}.{}{unit}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("10s", Some(10_000_000_000)),
            ("120000ms", Some(120_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1h2m3s", Some(3_723_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("5.s", Some(5_000_000_000)),
            ("-10s", Some(-10_000_000_000)),
            ("+1s", Some(1_000_000_000)),
            ("3us", Some(3_000)),
            ("3µs", Some(3_000)),
            ("3μs", Some(3_000)),
            ("7ns", Some(7)),
            ("", None),
            ("s", None),
            (".s", None),
            ("10", None),
            ("10 s", None),
            ("10S", None),
            ("1d", None),
            ("-", None),
            ("1s-1s", None),
            ("9223372036854775807ns", Some(9_223_372_036_854_775_807)),
            ("9223372036854775808ns", None),
            ("99999999999999999999999999999999999999999h", None),
        ] {
            assert_eq!(parse(text), nanos, "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (100_000_000, "100ms"),
            (3_300_000_000, "3.3s"),
            (10_000_000_000, "10s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_001_000_000, "1h2m3.001s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn what_almost_is_a_duration_does_no_harm(text in "[-+]?([0-9.]{0,30}(ns|us|µs|ms|s|m|h)){0,4}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read(nanos in 0..=i64::MAX.unsigned_abs()) {
            let written = format(Duration::from_nanos(nanos));
            prop_assert_eq!(parse(&written), Some(i128::from(nanos)));
        }
    }
}
