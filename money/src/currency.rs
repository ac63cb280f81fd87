//! Currencies of ISO 4217.

use std::{fmt, str::FromStr};

use crate::Error;

/// A currency of ISO 4217 that has a smallest unit (so not gold, XAU, or the test code XTS).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

impl Currency {
    /// The three-letter code, upper case.
    #[must_use]
    pub fn code(&self) -> &str {
        // The bytes come from the table's own ASCII codes.
        std::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// How many decimal digits the smallest unit has: GBP 2, JPY 0, KWD 3.
    #[must_use]
    pub fn exponent(&self) -> u32 {
        u32::from(self.exponent)
    }

    /// How many smallest units make one unit: GBP 100, JPY 1, KWD 1000.
    #[must_use]
    pub fn scale(&self) -> i128 {
        10_i128.pow(self.exponent())
    }
}

impl FromStr for Currency {
    type Err = Error;

    fn from_str(code: &str) -> Result<Self, Error> {
        let bytes: [u8; 3] = code
            .as_bytes()
            .try_into()
            .map_err(|_| Error::UnknownCurrency)?;
        let known = iso_currency::Currency::from_code(code).ok_or(Error::UnknownCurrency)?;
        let exponent = known.exponent().ok_or(Error::UnknownCurrency)?;
        let exponent = u8::try_from(exponent).map_err(|_| Error::UnknownCurrency)?;
        Ok(Self {
            code: bytes,
            exponent,
        })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_come_from_the_table() {
        for (code, exponent) in [
            ("GBP", 2),
            ("USD", 2),
            ("IDR", 2),
            ("JPY", 0),
            ("KWD", 3),
            ("BHD", 3),
            ("CLF", 4),
        ] {
            let currency: Currency = code.parse().unwrap();
            assert_eq!((currency.code(), currency.exponent()), (code, exponent));
        }
    }

    #[test]
    fn what_is_no_currency_is_refused() {
        for code in ["", "gbp", "GB", "GBPP", "ZZZ", "XAU", "£££", "G\u{42}\u{0}"] {
            assert_eq!(
                code.parse::<Currency>(),
                Err(Error::UnknownCurrency),
                "{code:?}"
            );
        }
    }
}
