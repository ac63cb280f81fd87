//! Pauses that grow: exact fixed-point arithmetic, jitter passed in.

use std::{str::FromStr, time::Duration};

/// A number with three decimals, as gRFC A6 counts tokens; exact where a float would not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thousandths(u32);

/// Why a text is no [`Thousandths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a number from 0 to 4294967 in plain digits")]
pub struct NotANumber;

impl Thousandths {
    /// `count` thousandths: 1600 is 1.6.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(number: u16) -> Self {
        // As no `From` is const; a u16 always fits.
        Self(number as u32 * 1000)
    }

    /// How many thousandths.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0
    }
}

impl FromStr for Thousandths {
    type Err = NotANumber;

    /// Reads "1.6". Further decimals are cut off, not rounded: 0.5466 is 0.546 (gRFC A6).
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(NotANumber);
        }
        let whole: u32 = whole.parse().map_err(|_| NotANumber)?;
        let mut fraction = 0;
        for place in decimals.bytes().chain(*b"00").take(3) {
            fraction = fraction * 10 + u32::from(place - b'0');
        }
        let count = whole
            .checked_mul(1000)
            .and_then(|w| w.checked_add(fraction));
        count.map(Self).ok_or(NotANumber)
    }
}

/// The pauses between attempts: `min(initial · multiplier^(n−1), max)`, before jitter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    multiplier: Thousandths,
    /// The n-th one, not yet bounded by `max`.
    next: Duration,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration, multiplier: Thousandths) -> Self {
        Self {
            initial,
            max,
            multiplier,
            next: initial,
        }
    }

    /// The next pause, 80 % to 120 % of what the formula says.
    pub(super) fn pause(&mut self, jitter: u32) -> Duration {
        let pause = self.next.min(self.max);
        let grown = self.next.as_nanos() * u128::from(self.multiplier.count()) / 1000;
        self.next = Duration::from_nanos(u64::try_from(grown).unwrap_or(u64::MAX));
        spread(pause, jitter)
    }

    /// Begins anew with the initial pause.
    pub(super) fn reset(&mut self) {
        self.next = self.initial;
    }
}

/// A pause of 80 % to 120 % of the given one; `jitter` is a random number below 2³².
pub(crate) fn spread(pause: Duration, jitter: u32) -> Duration {
    let permille = 800 + u64::from(jitter) * 401 / (u64::from(u32::MAX) + 1);
    let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos((nanos / 1000).saturating_mul(permille))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

    #[test]
    fn decimals_are_cut_off_at_the_third() {
        let read = |text: &str| text.parse::<Thousandths>().map(Thousandths::count);
        assert_eq!(read("1.6"), Ok(1600));
        assert_eq!(read("0.5466"), Ok(546));
        assert_eq!(read("2"), Ok(2000));
        assert_eq!(read("0.0009"), Ok(0));
        for wrong in ["", ".5", "1.", "-1", "+1", "1e3", "1.2.3", "4294968", "١"] {
            assert_eq!(read(wrong), Err(NotANumber), "{wrong}");
        }
        assert_eq!(Thousandths::whole(2), Thousandths::new(2000));
    }

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(100), millis(300), Thousandths::new(1600));
        let pauses: Vec<_> = (0..4).map(|_| backoff.pause(MIDDLE)).collect();
        assert_eq!(pauses, [millis(100), millis(160), millis(256), millis(300)]);
        backoff.reset();
        assert_eq!(backoff.pause(MIDDLE), millis(100));
    }

    #[test]
    fn jitter_reaches_both_ends_and_no_further() {
        let second = Duration::from_secs(1);
        assert_eq!(spread(second, 0), second * 4 / 5);
        assert_eq!(spread(second, MIDDLE), second);
        assert_eq!(spread(second, u32::MAX), second * 6 / 5);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(millis in 1_u64..100_000, jitter in any::<u32>()) {
            let pause = Duration::from_millis(millis);
            let spread = spread(pause, jitter);
            prop_assert!(spread >= pause * 4 / 5 && spread <= pause * 6 / 5);
        }

        #[test]
        fn no_setting_overflows(initial in any::<u64>(), max in any::<u64>(),
                                multiplier in any::<u32>(), jitter in any::<u32>()) {
            let nanos = Duration::from_nanos;
            let mut backoff = Backoff::new(nanos(initial), nanos(max), Thousandths::new(multiplier));
            for _ in 0..100 {
                let pause = backoff.pause(jitter);
                prop_assert!(pause.as_nanos() <= nanos(max).as_nanos() * 6 / 5);
            }
        }
    }
}
