//! The shape of `google.type.Money` and `mizan.type.v1.Money`: whole units and billionths.
//!
//! Only numbers are handled here, so that this crate needs no protobuf; the contracts crate puts
//! them into messages.

use crate::{Currency, Error, Money};

const NANOS_PER_UNIT: i128 = 1_000_000_000;

impl Money {
    /// Reads `units` and `nanos` (billionths of a unit, of the same sign).
    ///
    /// # Errors
    /// [`Error::UnknownCurrency`], [`Error::NanosOutOfRange`], [`Error::MixedSigns`],
    /// [`Error::TooFine`].
    pub fn from_units_nanos(currency_code: &str, units: i64, nanos: i32) -> Result<Self, Error> {
        let currency: Currency = currency_code.parse()?;
        let (units, nanos) = (i128::from(units), i128::from(nanos));
        if nanos.abs() >= NANOS_PER_UNIT {
            return Err(Error::NanosOutOfRange);
        }
        if units.signum() * nanos.signum() < 0 {
            return Err(Error::MixedSigns);
        }
        let nanos_per_minor = NANOS_PER_UNIT / currency.scale();
        if nanos % nanos_per_minor != 0 {
            return Err(Error::TooFine);
        }
        // An i64 of units times at most 10^4 always fits an i128.
        let minor = units * currency.scale() + nanos / nanos_per_minor;
        Ok(Self::from_minor(minor, currency))
    }

    /// The whole units and the billionths.
    ///
    /// # Errors
    /// [`Error::Overflow`] when the whole units do not fit.
    pub fn to_units_nanos(&self) -> Result<(i64, i32), Error> {
        let scale = self.currency().scale();
        let units = i64::try_from(self.minor() / scale).map_err(|_| Error::Overflow)?;
        let nanos = self.minor() % scale * (NANOS_PER_UNIT / scale);
        Ok((units, i32::try_from(nanos).map_err(|_| Error::Overflow)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(currency_code: &str, units: i64, nanos: i32) -> Result<i128, Error> {
        Money::from_units_nanos(currency_code, units, nanos).map(|m| m.minor())
    }

    #[test]
    fn good_messages_are_read_exactly() {
        assert_eq!(read("GBP", 12, 340_000_000), Ok(1_234));
        assert_eq!(read("USD", -1, -750_000_000), Ok(-175));
        assert_eq!(read("USD", 0, -10_000_000), Ok(-1));
        assert_eq!(read("KWD", 0, 1_000_000), Ok(1));
        assert_eq!(read("JPY", 300, 0), Ok(300));
        assert_eq!(
            read("GBP", i64::MIN, -990_000_000),
            Ok(i128::from(i64::MIN) * 100 - 99)
        );
    }

    #[test]
    fn bad_messages_are_told_why() {
        assert_eq!(read("XXQ", 1, 0), Err(Error::UnknownCurrency));
        assert_eq!(read("GBP", 1, -1), Err(Error::MixedSigns));
        assert_eq!(read("GBP", -1, 10_000_000), Err(Error::MixedSigns));
        assert_eq!(read("GBP", 0, 1_000_000_000), Err(Error::NanosOutOfRange));
        assert_eq!(read("GBP", 0, 1_000_000), Err(Error::TooFine));
        assert_eq!(read("JPY", 0, 100_000_000), Err(Error::TooFine));
    }

    #[test]
    fn what_does_not_fit_is_refused_on_the_way_out() {
        let too_much = Money::from_minor(i128::MAX, "GBP".parse().unwrap());
        assert_eq!(too_much.to_units_nanos(), Err(Error::Overflow));
    }

    proptest! {
        #[test]
        fn wire_and_back_is_the_same(minor in any::<i64>(), code in prop::sample::select(vec!["GBP", "JPY", "KWD", "CLF"])) {
            let money = Money::from_minor(i128::from(minor), code.parse().unwrap());
            let (units, nanos) = money.to_units_nanos().unwrap();
            prop_assert_eq!(Money::from_units_nanos(code, units, nanos), Ok(money));
        }

        #[test]
        fn any_message_is_answered(code in "[A-Z]{3}", units in any::<i64>(), nanos in any::<i32>()) {
            let _ = read(&code, units, nanos);
        }
    }
}
