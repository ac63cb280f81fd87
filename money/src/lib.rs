//! Exact amounts of money.
//!
//! An amount is an integer number of the currency's smallest unit (pence, cents, fils) and the
//! currency itself. There is no float anywhere, and nothing is rounded unless the caller names how.
//!
//! ```
//! use money::{Currency, Money};
//!
//! let gbp: Currency = "GBP".parse()?;
//! let price = Money::parse("12.34", gbp)?;
//! assert_eq!(price.minor(), 1_234);
//! assert_eq!(price.checked_add(Money::from_minor(66, gbp))?.to_string(), "13.00 GBP");
//! assert!(Money::parse("0.001", gbp).is_err(), "finer than a penny: refused, not rounded");
//! # Ok::<(), money::Error>(())
//! ```

mod amount;
mod currency;
mod error;
mod round;
mod wire;

pub use amount::Money;
pub use currency::Currency;
pub use error::Error;
pub use round::Rounding;
