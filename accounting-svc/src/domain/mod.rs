//! The rules of double entry, pure: no clock, no I/O; what is already recorded is passed in.
//!
//! A request is refused for the first of these reasons that applies, and within one reason for the
//! first leg that it applies to. The order is part of the contract: a caller who mends one thing
//! can tell what was found fine before it.
//!
//! | # | reason | depends on | remembered |
//! |---|---|---|---|
//! | 1 | `INVALID_REQUEST`: a field breaks its limits | the request | no |
//! | 2 | `UNBALANCED`: a currency's debits and credits differ | the request | no |
//! | 3 | `REQUEST_ID_REUSED`: the id was used with another body | the journal | it is memory itself |
//! | 4 | `ACCOUNT_NOT_FOUND`: a leg names an account that does not exist | the books | yes |
//! | 5 | `CURRENCY_MISMATCH`: a leg is not in its account's currency | the books | yes |
//! | 6 | `BALANCE_OVERFLOW`: the sums of a currency would not fit | the books | yes |
//!
//! What depends on the request alone consumes no id: the mended request may use it again. A refusal
//! that depends on the books is an outcome: the id gives it for ever, whatever changes later.
//! `CreateAccount` has one such refusal, `ACCOUNT_EXISTS`.

mod account;
mod books;
mod refusal;
mod transaction;
mod trial;

pub use account::{AccountType, Side, Turnover};
pub use books::{Books, Holding};
pub use refusal::{Reason, Refusal};
pub use transaction::{InvalidAmount, InvalidTransaction, Leg, MINOR_MAX, Transaction};
pub use trial::{CurrencyTotal, totals};
