//! A record as both back-ends keep it: one row, the columns of which are these fields.

use money::{Currency, Money};

use super::content::{Beside, Content, minor};
use crate::domain::{DocumentType, Invoice, Micros, Record, Standing, State, Times, Tombstone};

/// The columns, in the order of the fields, without `serial`.
pub(super) const COLUMNS: &str = "invoice_id, revision, state, document_type, series, sequence, \
    party_id, reference, metadata, currency, total, payable, amount_paid, amount_credited, \
    credited_after, credits, credit_notes, create_time, finalize_time, paid_time, void_time, \
    uncollectible_time, void_reason, due_time, content";

/// One row.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Row {
    pub(super) invoice_id: String,
    pub(super) revision: i64,
    pub(super) state: String,
    pub(super) document_type: Option<String>,
    pub(super) series: Option<String>,
    pub(super) sequence: Option<i64>,
    pub(super) party_id: String,
    pub(super) reference: String,
    pub(super) metadata: String,
    pub(super) currency: Option<String>,
    pub(super) total: i64,
    pub(super) payable: i64,
    pub(super) amount_paid: i64,
    pub(super) amount_credited: i64,
    pub(super) credited_after: i64,
    pub(super) credits: Option<String>,
    pub(super) credit_notes: String,
    pub(super) create_time: Option<i64>,
    pub(super) finalize_time: Option<i64>,
    pub(super) paid_time: Option<i64>,
    pub(super) void_time: Option<i64>,
    pub(super) uncollectible_time: Option<i64>,
    pub(super) void_reason: String,
    pub(super) due_time: Option<i64>,
    pub(super) content: Option<String>,
}

/// The columns in which an invoice moves while it says the same: all else need not be written, nor
/// the indexes on it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Moved {
    pub(super) invoice_id: String,
    pub(super) revision: i64,
    pub(super) state: &'static str,
    pub(super) sequence: Option<i64>,
    pub(super) amount_paid: i64,
    pub(super) amount_credited: i64,
    pub(super) credited_after: i64,
    pub(super) credit_notes: String,
    pub(super) finalize_time: Option<i64>,
    pub(super) paid_time: Option<i64>,
    pub(super) void_time: Option<i64>,
    pub(super) uncollectible_time: Option<i64>,
    pub(super) void_reason: String,
}

impl Moved {
    pub(super) fn of(invoice: &Invoice) -> Result<Self, String> {
        let micros = |time: Option<Micros>| time.map(|Micros(micros)| micros);
        Ok(Self {
            invoice_id: invoice.id.clone(),
            revision: invoice.revision,
            state: state_word(invoice.standing.state()),
            sequence: invoice.sequence,
            amount_paid: minor(invoice.standing.paid())?,
            amount_credited: minor(invoice.standing.credited())?,
            credited_after: minor(invoice.credited_after)?,
            credit_notes: json(&invoice.credit_notes)?,
            finalize_time: micros(invoice.times.finalize),
            paid_time: micros(invoice.times.paid),
            void_time: micros(invoice.times.void),
            uncollectible_time: micros(invoice.times.uncollectible),
            void_reason: invoice.void_reason.clone(),
        })
    }
}

impl Row {
    /// The row of a record.
    pub(super) fn of(record: &Record) -> Result<Self, String> {
        match record {
            Record::Invoice(invoice) => Self::invoice(invoice),
            Record::Tombstone(tombstone) => Ok(Self::tombstone(tombstone)),
        }
    }

    /// The row of an invoice.
    pub(super) fn invoice(invoice: &Invoice) -> Result<Self, String> {
        let document = &invoice.document;
        let asked = document.asked();
        let moved = Moved::of(invoice)?;
        Ok(Self {
            invoice_id: moved.invoice_id,
            revision: moved.revision,
            state: moved.state.to_owned(),
            document_type: Some(type_word(asked.document_type).to_owned()),
            series: Some(asked.series.clone()),
            sequence: moved.sequence,
            party_id: asked.party.id.clone(),
            reference: asked.reference.clone(),
            metadata: json(&asked.metadata)?,
            currency: Some(document.currency().code().to_owned()),
            total: minor(document.totals().gross)?,
            payable: minor(invoice.standing.payable())?,
            amount_paid: moved.amount_paid,
            amount_credited: moved.amount_credited,
            credited_after: moved.credited_after,
            credits: invoice.credits.clone(),
            credit_notes: moved.credit_notes,
            create_time: Some(invoice.times.create.0),
            finalize_time: moved.finalize_time,
            paid_time: moved.paid_time,
            void_time: moved.void_time,
            uncollectible_time: moved.uncollectible_time,
            void_reason: moved.void_reason,
            due_time: asked.due_time.map(|Micros(micros)| micros),
            content: Some(json(&Content::of(document)?)?),
        })
    }

    fn tombstone(tombstone: &Tombstone) -> Self {
        Self {
            invoice_id: tombstone.id.clone(),
            revision: 1,
            state: state_word(State::Void).to_owned(),
            metadata: "{}".to_owned(),
            credit_notes: "[]".to_owned(),
            void_time: Some(tombstone.void_time.0),
            void_reason: tombstone.void_reason.clone(),
            ..Self::default()
        }
    }

    /// How many bytes it holds, but for figures.
    pub(super) fn bytes(&self) -> usize {
        let texts = [
            &self.invoice_id,
            &self.party_id,
            &self.reference,
            &self.metadata,
            &self.credit_notes,
            &self.void_reason,
        ];
        let texts = texts.into_iter().chain(&self.content);
        texts.map(String::len).sum()
    }

    /// The record of a row; an error says what something else must have changed.
    pub(super) fn record(self) -> Result<Record, String> {
        let Some(document_type) = &self.document_type else {
            let void_time = self.void_time.ok_or("a tombstone without a time")?;
            return Ok(Tombstone {
                id: self.invoice_id,
                void_time: Micros(void_time),
                void_reason: self.void_reason,
            }
            .into());
        };
        let currency = self.currency.ok_or("an invoice without a currency")?;
        let currency: Currency = currency.parse().map_err(|_| "an unknown currency")?;
        let money = |minor: i64| Money::from_minor(minor.into(), currency);
        let content = self.content.ok_or("an invoice without content")?;
        let content: Content = serde_json::from_str(&content).map_err(|e| e.to_string())?;
        let document = content.document(Beside {
            document_type: type_of(document_type).ok_or("an unknown document type")?,
            series: self.series.ok_or("an invoice without a series")?,
            currency,
            due_time: self.due_time.map(Micros),
            reference: self.reference,
            metadata: serde_json::from_str(&self.metadata).map_err(|e| e.to_string())?,
        })?;
        let standing = Standing::restore(
            state_of(&self.state).ok_or("an unknown state")?,
            money(self.payable),
            money(self.amount_paid),
            money(self.amount_credited),
        );
        if document.totals().due != money(self.payable) {
            return Err("an invoice whose content does not add up to what is payable".to_owned());
        }
        let times = Times {
            create: Micros(self.create_time.ok_or("an invoice without a time")?),
            finalize: self.finalize_time.map(Micros),
            paid: self.paid_time.map(Micros),
            void: self.void_time.map(Micros),
            uncollectible: self.uncollectible_time.map(Micros),
        };
        Ok(Invoice {
            id: self.invoice_id,
            document,
            standing: standing.ok_or("amounts that do not go with the state")?,
            credited_after: money(self.credited_after),
            credits: self.credits,
            credit_notes: serde_json::from_str(&self.credit_notes).map_err(|e| e.to_string())?,
            sequence: self.sequence,
            revision: self.revision,
            times,
            void_reason: self.void_reason,
        }
        .into())
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|e| e.to_string())
}

/// The word that a state is kept as.
pub(super) const fn state_word(state: State) -> &'static str {
    match state {
        State::Draft => "draft",
        State::Open => "open",
        State::Uncollectible => "uncollectible",
        State::Paid => "paid",
        State::Void => "void",
    }
}

fn state_of(word: &str) -> Option<State> {
    State::ALL.into_iter().find(|s| state_word(*s) == word)
}

/// The word that a document type is kept as.
pub(super) const fn type_word(document_type: DocumentType) -> &'static str {
    match document_type {
        DocumentType::Invoice => "invoice",
        DocumentType::CreditNote => "credit_note",
    }
}

fn type_of(word: &str) -> Option<DocumentType> {
    [DocumentType::Invoice, DocumentType::CreditNote]
        .into_iter()
        .find(|t| type_word(*t) == word)
}
