//! The `grpc-timeout` header: at most eight digits and a unit
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::time::Duration;

const DIGITS_MAX: usize = 8;

/// Reads a timeout; anything malformed is no timeout.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Writes a timeout in the finest unit whose number has at most eight digits, rounded down: the callee must not wait
/// longer than the caller.
pub(super) fn format(timeout: Duration) -> String {
    const LIMIT: u128 = 100_000_000;
    let units = [
        (timeout.as_nanos(), "n"),
        (timeout.as_micros(), "u"),
        (timeout.as_millis(), "m"),
        (u128::from(timeout.as_secs()), "S"),
        (u128::from(timeout.as_secs() / 60), "M"),
    ];
    for (amount, unit) in units {
        if amount < LIMIT {
            return format!("{amount}{unit}");
        }
    }
    format!("{}H", u128::from(timeout.as_secs() / 3600).min(LIMIT - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_read() {
        for (text, nanos) in [
            ("1n", 1),
            ("2u", 2_000),
            ("3m", 3_000_000),
            ("4S", 4_000_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)));
        }
        assert_eq!(
            parse("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
    }

    #[test]
    fn malformed_timeouts_are_none() {
        for bad in ["", "S", "1", "123456789S", "-1S", "1 S", "1s", "1é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_never_longer_and_hardly_shorter(secs in 0_u64..1_000_000_000, nanos in 0_u32..1_000_000_000) {
            let timeout = Duration::new(secs, nanos);
            let read = parse(&format(timeout)).unwrap();
            prop_assert!(read <= timeout);
            prop_assert!(timeout - read <= timeout / 1_000 + Duration::from_nanos(1));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
