//! Why an amount was refused.

/// Why an amount or a currency was refused. `Display` is a clause that fits after a field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message was absent.
    #[error("is required")]
    Missing,
    /// Not a code of ISO 4217 that has a smallest unit.
    #[error("has a currency_code that is not an ISO 4217 currency")]
    UnknownCurrency,
    /// Two currencies met where one is needed.
    #[error("has a different currency")]
    CurrencyMismatch,
    /// `units` and `nanos` disagree in sign.
    #[error("has units and nanos of different signs")]
    MixedSigns,
    /// |nanos| ≥ 1e9.
    #[error("has nanos outside -999999999 to 999999999")]
    NanosOutOfRange,
    /// Digits finer than the currency's smallest unit.
    #[error("has digits finer than the currency's smallest unit")]
    TooFine,
    /// The result does not fit.
    #[error("is too large")]
    Overflow,
    /// Not a decimal number.
    #[error("is not a decimal number")]
    NotANumber,
}
