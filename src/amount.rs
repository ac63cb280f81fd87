//! Exact amounts in and out of the `Money` message.

use money::{Error, Money};

use crate::r#type::v1 as pb;

impl pb::Money {
    /// The exact amount of a message field.
    ///
    /// # Errors
    /// [`Error::Missing`] when the field is absent, otherwise as
    /// [`Money::from_units_nanos`].
    pub fn read(field: Option<&Self>) -> Result<Money, Error> {
        let wire = field.ok_or(Error::Missing)?;
        Money::from_units_nanos(&wire.currency_code, wire.units, wire.nanos)
    }
}

impl TryFrom<Money> for pb::Money {
    type Error = Error;

    /// Fails with [`Error::Overflow`] when the whole units do not fit an `int64`.
    fn try_from(money: Money) -> Result<Self, Error> {
        let (units, nanos) = money.to_units_nanos()?;
        Ok(Self {
            currency_code: money.currency().code().to_owned(),
            units,
            nanos,
        })
    }
}
