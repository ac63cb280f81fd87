//! The rules of double entry, pure: no clock, no I/O; what is already recorded is passed in.
//!
//! A request is refused for the first of these reasons that applies, and within one reason for the
//! first leg that it applies to. The order is part of the contract: a caller who mends one thing
//! can tell what was found fine before it.
//!
//! | # | reason | given by | remembered |
//! |---|---|---|---|
//! | 1 | `INVALID_REQUEST`: a field breaks its limits | all | no |
//! | 2 | `UNBALANCED`: a currency's debits and credits differ | Record | no |
//! | 3 | `REQUEST_ID_REUSED`: the id was used with another body | all | it is memory itself |
//! | 4 | `LINKED_FAILED`: another one of an atomic batch was refused | Record | no |
//! | 5 | `ACCOUNT_EXISTS`: the account's id is taken | CreateAccount | yes |
//! | 6 | `TRANSACTION_NOT_FOUND`: it names no transaction | Post, Void, Reverse | yes |
//! | 7 | `TRANSACTION_NOT_PENDING`: it was never pending | Post, Void | yes |
//! | 8 | `TRANSACTION_NOT_POSTED`: it is pending still | Reverse | yes |
//! | 9 | `TRANSACTION_POSTED`: it was posted before | Post, Void | yes |
//! | 10 | `TRANSACTION_VOIDED`, 11 `TRANSACTION_EXPIRED` | Post, Void, Reverse | yes |
//! | 12 | `TRANSACTION_REVERSED`: it was taken back before | Reverse | yes |
//! | 13 | `AMOUNTS_MISMATCH`, 14 `EXCEEDS_PENDING` | Post | yes |
//! | 15 | `ACCOUNT_NOT_FOUND` | Record, Close, Reopen | yes |
//! | 16 | `ACCOUNT_CLOSED` | Record, Reverse, Close | yes |
//! | 17 | `ACCOUNT_NOT_CLOSED` | Reopen | yes |
//! | 18 | `ACCOUNT_HAS_PENDING` | Close | yes |
//! | 19 | `CURRENCY_MISMATCH`: a leg is not in its account's currency | Record | yes |
//! | 20 | `BALANCE_OVERFLOW`: the sums of a currency would not fit | Record, Reverse | yes |
//! | 21 | `DEBITS_EXCEED_CREDITS`, 22 `CREDITS_EXCEED_DEBITS` | Record, Reverse | yes |
//!
//! What depends on the request alone consumes no id: the mended request may use it again. A refusal
//! that depends on the books is an outcome: the id gives it for ever, whatever changes later.

mod account;
mod books;
mod chain;
mod refusal;
mod request;
mod transaction;
mod verify;

pub use account::{AccountType, Counters, Limit, Side, Stage, Turnover};
pub use books::{
    Books, Changes, Earlier, Finished, Head, Holding, Needs, NewAccountRow, Remembered,
    RememberedRefusal,
};
pub use chain::{AccountRow, Entry, GENESIS, Hash, KeyedLeg, Numbered};
pub use refusal::{Reason, Refusal};
pub use request::{
    About, AccountRecord, Action, Answer, Call, Command, Hold, Kind, Micros, NewAccount,
    NewTransaction, Outcome, Request, Settlement, State, TransactionRecord,
};
pub use transaction::{InvalidAmount, InvalidTransaction, Leg, MINOR_MAX, Transaction};
pub use verify::{Content, Fault, Part, Verifier, Written};
