//! How fast: the setting of a rate limiter.

use std::time::Duration;

/// How many tokens come in a second, and how many may be taken at once. One call takes one token.
///
/// The speed is a 64-bit float, as in `golang.org/x/time/rate`: rates such as one in three seconds
/// are then said and kept as they are there, bit by bit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: f64,
    burst: u32,
}

/// A speed is never NaN, so equality is an equivalence.
impl Eq for Rate {}

impl Rate {
    /// `per_second` tokens a second, `burst` at once; `None` when either is zero: a limiter that
    /// refuses everything is hardly meant. [`Rate::per_second`] makes one that does.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Option<Self> {
        if per_second == 0 || burst == 0 {
            return None;
        }
        Some(Self {
            // Every u32 is a float; `From` cannot be called in a constant.
            per_second: per_second as f64,
            burst,
        })
    }

    /// One token each `interval`, `burst` at once. An interval of zero is no limit.
    #[must_use]
    #[expect(
        clippy::float_arithmetic,
        reason = "the inverse of an interval, by the float rule of x/time/rate"
    )]
    pub fn every(interval: Duration, burst: u32) -> Self {
        if interval.is_zero() {
            return Self::infinite();
        }
        Self {
            per_second: 1.0 / interval.as_secs_f64(),
            burst,
        }
    }

    /// A fractional speed, in tokens a second, as settings in JSON have it. `None` for a negative
    /// one and for NaN. Zero grants the burst and then nothing; infinity is no limit.
    #[must_use]
    pub const fn per_second(per_second: f64, burst: u32) -> Option<Self> {
        if per_second.is_nan() || per_second < 0.0 {
            return None;
        }
        Some(Self {
            per_second: per_second.min(f64::MAX),
            burst,
        })
    }

    /// No limit, whatever the burst: every call is let through at once.
    #[must_use]
    pub const fn infinite() -> Self {
        Self {
            per_second: f64::MAX,
            burst: 0,
        }
    }

    /// The same speed with another burst.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// Tokens a second; the largest float if there is no limit.
    #[must_use]
    pub const fn speed(&self) -> f64 {
        self.per_second
    }

    /// The most tokens that can be taken at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Whether there is no limit.
    #[must_use]
    pub const fn is_infinite(&self) -> bool {
        self.per_second >= f64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_nothing_or_everything_has_its_own_constructor() {
        const RATE: Option<Rate> = Rate::new(10, 3);
        assert_eq!(
            RATE.map(|rate| (rate.speed(), rate.burst())),
            Some((10.0, 3))
        );
        assert_eq!(Rate::new(0, 1), None);
        assert_eq!(Rate::new(1, 0), None);
        assert!(Rate::infinite().is_infinite());
        assert!(Rate::every(Duration::ZERO, 1).is_infinite());
        assert!(Rate::per_second(f64::INFINITY, 1).unwrap().is_infinite());
        assert_eq!(Rate::per_second(f64::NAN, 1), None);
        assert_eq!(Rate::per_second(-1.0, 1), None);
        assert_eq!(Rate::per_second(0.0, 2).unwrap().speed(), 0.0);
    }

    #[test]
    fn an_interval_is_the_inverse_of_a_speed() {
        let speed = |millis| Rate::every(Duration::from_millis(millis), 1).speed();
        assert_eq!(speed(1), 1000.0);
        assert_eq!(speed(250), 4.0);
        assert_eq!(speed(20_000), 0.05);
    }
}
