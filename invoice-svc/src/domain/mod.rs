//! Invoices as pure values: no clock, no I/O, no wire.

mod adjustment;
mod books;
mod credit;
mod credited;
mod decimal;
mod document;
mod invalid;
mod invoice;
mod line;
mod refusal;
#[cfg(test)]
pub(crate) mod samples;
mod standing;
mod tax;
mod totals;

pub use adjustment::{Adjusted, Adjustment, PERCENT_MAX, Size};
pub use books::{Action, Books, Command, Error, Key, Operation, Paid, Request};
pub use credit::{CreditNote, Part, issue, revoke};
pub use credited::Credited;
pub use decimal::{Decimal, InvalidDecimal};
pub use document::{Address, Document, DocumentSpec, DocumentType, Party, TaxedAdjustment};
pub use invalid::{Invalid, Problem};
pub use invoice::{Invoice, Micros, Record, Times, Tombstone};
pub use line::{Line, LineSpec, QUANTITY_MAX};
pub use refusal::Refusal;
pub use standing::{Payment, Standing, State};
pub use tax::{Rate, Tax, TaxCategory};
use totals::ROUNDING;
pub use totals::{Subtotal, Taxed, Totals, add_up};
