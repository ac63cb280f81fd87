//! Invoices as pure values: no clock, no I/O, no wire.

mod document;
mod invoice;
mod refusal;
mod standing;

pub use document::{
    Document, DocumentType, InvalidLine, InvalidLines, Line, Lines, Party, QUANTITY_MAX,
};
pub use invoice::{Invoice, Micros, Record, Tombstone};
pub use refusal::Refusal;
pub use standing::{Payment, Standing, State};
