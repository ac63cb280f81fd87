//! An invoice: a document, where it stands, and what happened to it when.

use money::Money;

use super::{Document, DocumentType, Payment, Refusal, Standing, State};

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
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Invoice(invoice) => &invoice.id,
            Self::Tombstone(tombstone) => &tombstone.id,
        }
    }

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

impl From<Tombstone> for Record {
    fn from(tombstone: Tombstone) -> Self {
        Self::Tombstone(tombstone)
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
    /// What credit notes give back of what was paid already.
    pub credited_after: Money,
    /// On the credit note of an invoice: that invoice's id.
    pub credits: Option<String>,
    /// Its credit notes' ids, voided ones too, oldest first.
    pub credit_notes: Vec<String>,
    /// Its place in its series, from 1; none until finalized.
    pub sequence: Option<i64>,
    /// 1 when created, one more with every change.
    pub revision: i64,
    /// When what happened.
    pub times: Times,
    /// Why it was voided.
    pub void_reason: String,
}

/// When an invoice came into each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it was created.
    pub create: Micros,
    /// When it was finalized.
    pub finalize: Option<Micros>,
    /// When it was settled.
    pub paid: Option<Micros>,
    /// When it was voided.
    pub void: Option<Micros>,
    /// When it was given up.
    pub uncollectible: Option<Micros>,
}

impl Times {
    /// `now`, unless something happened later already: another instance's clock may be ahead of
    /// this one's, and what follows is not to be dated before what it follows.
    #[must_use]
    pub fn not_before(&self, now: Micros) -> Micros {
        let Self {
            create,
            finalize,
            paid,
            void,
            uncollectible,
        } = *self;
        let happened = [finalize, paid, void, uncollectible].into_iter().flatten();
        happened.fold(now.max(create), Micros::max)
    }
}

impl Invoice {
    /// A new draft. None for less than nothing to pay, which [`Document`] rules out.
    #[must_use]
    pub fn draft(id: String, document: Document, now: Micros) -> Option<Self> {
        Some(Self {
            id,
            standing: Standing::draft(document.totals().due)?,
            credited_after: Money::zero(document.currency()),
            document,
            credits: None,
            credit_notes: Vec::new(),
            sequence: None,
            revision: 1,
            times: Times {
                create: now,
                finalize: None,
                paid: None,
                void: None,
                uncollectible: None,
            },
            void_reason: String::new(),
        })
    }

    /// The number, such as `INV-00000001`; longer once eight digits are used up.
    #[must_use]
    pub fn number(&self) -> Option<String> {
        let series = &self.document.asked().series;
        self.sequence
            .map(|sequence| format!("{series}-{sequence:08}"))
    }

    /// Whether it is open and should have been paid by `now`.
    #[must_use]
    pub fn overdue(&self, now: Micros) -> bool {
        let due = self.document.asked().due_time;
        self.standing.state() == State::Open && due.is_some_and(|due| due <= now)
    }

    /// Replaces what a draft says.
    ///
    /// # Errors
    /// As [`Standing::edit`]; [`Refusal::OtherType`].
    pub fn edit(self, document: Document) -> Result<Self, Refusal> {
        let standing = self.standing.edit(document.totals().due)?;
        if document.document_type() != self.document.document_type() {
            return Err(Refusal::OtherType);
        }
        Ok(Self {
            credited_after: Money::zero(document.currency()),
            document,
            ..self.changed(standing)
        })
    }

    /// Opens the draft under the next number of its series.
    ///
    /// # Errors
    /// As [`Standing::finalize`].
    pub fn finalize(self, sequence: i64, now: Micros) -> Result<Self, Refusal> {
        let standing = self.standing.finalize()?;
        Ok(Self {
            sequence: Some(sequence),
            times: Times {
                finalize: Some(now),
                ..self.times
            },
            ..self
        }
        .settled(standing, now))
    }

    /// Applies a payment.
    ///
    /// # Errors
    /// As [`Standing::pay`].
    pub fn pay(self, payment: Payment, now: Micros) -> Result<Self, Refusal> {
        let standing = self.standing.pay(payment)?;
        Ok(self.settled(standing, now))
    }

    /// Gives it up.
    ///
    /// # Errors
    /// As [`Standing::give_up`]; [`Refusal::IsCreditNote`].
    pub fn give_up(self, now: Micros) -> Result<Self, Refusal> {
        if self.document.document_type() == DocumentType::CreditNote {
            return Err(Refusal::IsCreditNote);
        }
        let standing = self.standing.give_up()?;
        let times = Times {
            uncollectible: Some(now),
            ..self.times
        };
        Ok(Self { times, ..self }.changed(standing))
    }

    /// Cancels it; a number once given stays used. The credit note of an invoice is
    /// [revoked](super::revoke) instead.
    ///
    /// # Errors
    /// As [`Standing::void`]; [`Refusal::CreditApplied`] also for what was credited after payment.
    pub fn void(self, reason: String, now: Micros) -> Result<Self, Refusal> {
        let standing = self.standing.void()?;
        if !self.credited_after.is_zero() {
            return Err(Refusal::CreditApplied);
        }
        Ok(self.voided(standing, reason, now))
    }

    pub(super) fn voided(self, standing: Standing, reason: String, now: Micros) -> Self {
        let times = Times {
            void: Some(now),
            paid: None,
            ..self.times
        };
        Self {
            times,
            void_reason: reason,
            ..self.changed(standing)
        }
    }

    /// The next revision, timed if it is paid now.
    pub(super) fn settled(self, standing: Standing, now: Micros) -> Self {
        let paid = match (standing.state(), self.times.paid) {
            (State::Paid, None) => Some(now),
            (_, paid) => paid,
        };
        let times = Times { paid, ..self.times };
        Self { times, ..self }.changed(standing)
    }

    pub(super) fn changed(self, standing: Standing) -> Self {
        Self {
            standing,
            revision: self.revision + 1,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::{hundred, pounds};

    fn draft(document_type: DocumentType) -> Invoice {
        Invoice::draft("i-1".to_owned(), hundred(document_type), Micros(1)).unwrap()
    }

    #[test]
    fn a_number_names_the_series_and_never_runs_out_of_digits() {
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
        let given_up = part.clone().give_up(Micros(4)).unwrap();
        let paid = given_up
            .clone()
            .pay(Payment::new(pounds(9_999)).unwrap(), Micros(5))
            .unwrap();
        assert_eq!(open.times.finalize, Some(Micros(2)));
        assert_eq!(part.times.paid, None);
        assert_eq!(given_up.times.uncollectible, Some(Micros(4)));
        assert_eq!(paid.times.paid, Some(Micros(5)));
        let history = [draft, open, part, given_up, paid];
        let etags = history.map(|invoice| Record::from(invoice).etag());
        assert_eq!(etags, ["r1", "r2", "r3", "r4", "r5"]);
    }

    #[test]
    fn a_void_keeps_the_number_and_says_why() {
        let open = draft(DocumentType::Invoice).finalize(7, Micros(2)).unwrap();
        let void = open.void("typo".to_owned(), Micros(3)).unwrap();
        assert_eq!(void.sequence, Some(7));
        assert_eq!(void.times.void, Some(Micros(3)));
        assert_eq!(void.void_reason, "typo");
    }

    #[test]
    fn only_an_open_invoice_past_its_time_is_overdue() {
        let mut asked = hundred(DocumentType::Invoice).asked().clone();
        asked.due_time = Some(Micros(10));
        let document = Document::new(asked).unwrap();
        let draft = Invoice::draft("i".to_owned(), document, Micros(1)).unwrap();
        assert!(!draft.overdue(Micros(11)));
        let open = draft.finalize(1, Micros(2)).unwrap();
        assert!(!open.overdue(Micros(9)));
        assert!(open.overdue(Micros(10)));
        assert!(
            !open
                .clone()
                .give_up(Micros(11))
                .unwrap()
                .overdue(Micros(12))
        );
        let paid = open.pay(Payment::new(pounds(10_000)).unwrap(), Micros(11));
        assert!(!paid.unwrap().overdue(Micros(12)));
    }

    #[test]
    fn a_draft_is_replaced_but_stays_what_it_is() {
        let invoice = draft(DocumentType::Invoice);
        let other = hundred(DocumentType::CreditNote);
        assert_eq!(invoice.clone().edit(other), Err(Refusal::OtherType));
        let mut asked = hundred(DocumentType::Invoice).asked().clone();
        asked.note = "sorry".to_owned();
        let edited = invoice.edit(Document::new(asked).unwrap()).unwrap();
        assert_eq!(
            (edited.revision, edited.document.asked().note.as_str()),
            (2, "sorry")
        );
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
