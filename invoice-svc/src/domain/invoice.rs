//! An invoice: a document, where it stands, and what happened to it when.

use super::{Document, Payment, Refusal, Standing, State};

/// A moment, in microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

/// What an id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An invoice.
    Invoice(Box<Invoice>),
    /// The mark of a void that came before its create.
    Tombstone(Tombstone),
}

impl Record {
    /// The etag.
    #[must_use]
    pub fn etag(&self) -> String {
        match self {
            Self::Invoice(invoice) => etag(invoice.revision),
            Self::Tombstone(_) => etag(1),
        }
    }

    /// The invoice, unless there is only a tombstone, which refuses whatever is asked of it.
    ///
    /// # Errors
    /// [`Refusal::Voided`].
    pub fn invoice(self) -> Result<Invoice, Refusal> {
        match self {
            Self::Invoice(invoice) => Ok(*invoice),
            Self::Tombstone(_) => Err(Refusal::Voided),
        }
    }
}

impl From<Invoice> for Record {
    fn from(invoice: Invoice) -> Self {
        Self::Invoice(Box::new(invoice))
    }
}

/// The etag of a revision: opaque to callers, and another one after every change.
fn etag(revision: i64) -> String {
    format!("r{revision}")
}

/// The mark of a void that came before its create, and keeps that create from ever succeeding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The id that is taken for good.
    pub id: String,
    /// When.
    pub void_time: Micros,
    /// Why.
    pub void_reason: String,
}

/// An invoice or a credit note. Every change consumes it and counts the revision up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// The id.
    pub id: String,
    /// What it says.
    pub document: Document,
    /// Where it stands.
    pub standing: Standing,
    /// Its place among the documents of its type, from 1; none until finalized.
    pub sequence: Option<i64>,
    /// 1 when created, one more with every change.
    pub revision: i64,
    /// When it was created.
    pub create_time: Micros,
    /// When it was finalized.
    pub finalize_time: Option<Micros>,
    /// When it was settled.
    pub paid_time: Option<Micros>,
    /// When it was voided.
    pub void_time: Option<Micros>,
    /// Why it was voided.
    pub void_reason: String,
}

impl Invoice {
    /// A new draft. None if the lines add up to nothing, which [`Lines`](super::Lines) rules out.
    #[must_use]
    pub fn draft(id: String, document: Document, now: Micros) -> Option<Self> {
        let standing = Standing::draft(document.lines.total())?;
        Some(Self {
            id,
            document,
            standing,
            sequence: None,
            revision: 1,
            create_time: now,
            finalize_time: None,
            paid_time: None,
            void_time: None,
            void_reason: String::new(),
        })
    }

    /// The number, such as `INV-00000001`; longer once eight digits are used up.
    #[must_use]
    pub fn number(&self) -> Option<String> {
        let prefix = self.document.document_type.prefix();
        self.sequence
            .map(|sequence| format!("{prefix}-{sequence:08}"))
    }

    /// Opens the draft under the next number of its type.
    ///
    /// # Errors
    /// As [`Standing::finalize`].
    pub fn finalize(self, sequence: i64, now: Micros) -> Result<Self, Refusal> {
        Ok(Self {
            standing: self.standing.finalize()?,
            sequence: Some(sequence),
            finalize_time: Some(now),
            revision: self.revision + 1,
            ..self
        })
    }

    /// Applies a payment.
    ///
    /// # Errors
    /// As [`Standing::pay`].
    pub fn pay(self, payment: Payment, now: Micros) -> Result<Self, Refusal> {
        let standing = self.standing.pay(payment)?;
        Ok(Self {
            standing,
            paid_time: (standing.state() == State::Paid).then_some(now),
            revision: self.revision + 1,
            ..self
        })
    }

    /// Cancels it; a number once given stays used.
    ///
    /// # Errors
    /// As [`Standing::void`].
    pub fn void(self, reason: String, now: Micros) -> Result<Self, Refusal> {
        Ok(Self {
            standing: self.standing.void()?,
            void_time: Some(now),
            void_reason: reason,
            revision: self.revision + 1,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use money::Money;

    use super::*;
    use crate::domain::{DocumentType, Line, Lines, Party};

    fn pounds(minor: i128) -> Money {
        Money::from_minor(minor, "GBP".parse().unwrap())
    }

    fn draft(document_type: DocumentType) -> Invoice {
        let line = Line::new("paper".to_owned(), 2, pounds(50)).unwrap();
        let document = Document {
            document_type,
            party: Party {
                id: String::new(),
                name: "Acme".to_owned(),
            },
            lines: Lines::new(vec![line]).unwrap(),
            reference: String::new(),
            metadata: BTreeMap::new(),
        };
        Invoice::draft("i-1".to_owned(), document, Micros(1)).unwrap()
    }

    #[test]
    fn a_number_names_the_type_and_never_runs_out_of_digits() {
        let invoice = draft(DocumentType::Invoice);
        assert_eq!(invoice.number(), None);
        let invoice = invoice.finalize(1, Micros(2)).unwrap();
        assert_eq!(invoice.number().as_deref(), Some("INV-00000001"));
        let credit = draft(DocumentType::CreditNote);
        let credit = credit.finalize(123_456_789, Micros(2)).unwrap();
        assert_eq!(credit.number().as_deref(), Some("CRN-123456789"));
    }

    #[test]
    fn every_change_is_timed_and_changes_the_etag() {
        let draft = draft(DocumentType::Invoice);
        let open = draft.clone().finalize(7, Micros(2)).unwrap();
        let part = open
            .clone()
            .pay(Payment::new(pounds(1)).unwrap(), Micros(3))
            .unwrap();
        let paid = part
            .clone()
            .pay(Payment::new(pounds(99)).unwrap(), Micros(4))
            .unwrap();
        assert_eq!(open.finalize_time, Some(Micros(2)));
        assert_eq!(part.paid_time, None);
        assert_eq!(paid.paid_time, Some(Micros(4)));
        let history = [draft, open, part, paid];
        let etags = history.map(|invoice| Record::from(invoice).etag());
        assert_eq!(etags, ["r1", "r2", "r3", "r4"]);
    }

    #[test]
    fn a_void_keeps_the_number_and_says_why() {
        let open = draft(DocumentType::Invoice).finalize(7, Micros(2)).unwrap();
        let void = open.void("typo".to_owned(), Micros(3)).unwrap();
        assert_eq!(void.sequence, Some(7));
        assert_eq!(void.void_time, Some(Micros(3)));
        assert_eq!(void.void_reason, "typo");
    }

    #[test]
    fn a_tombstone_refuses_everything() {
        let tombstone = Tombstone {
            id: "i-1".to_owned(),
            void_time: Micros(1),
            void_reason: String::new(),
        };
        let refused = Record::Tombstone(tombstone).invoice();
        assert_eq!(refused, Err(Refusal::Voided));
    }
}
