//! What a group of commands is decided on: the invoices that it touches, the requests that were
//! done before, the last number of each series. A store fills it, has each command decided in turn,
//! and keeps what changed. Who is refused changes nothing, and is not remembered.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CreditNote, Credited, Document, Invoice, Micros, Payment, Record, Refusal, Tombstone, issue,
    revoke,
};

/// The mutations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// CreateInvoice.
    Create,
    /// UpdateInvoice.
    Update,
    /// FinalizeInvoice.
    Finalize,
    /// RecordInvoicePayment.
    Pay,
    /// VoidInvoice.
    Void,
    /// MarkInvoiceUncollectible.
    GiveUp,
    /// CreateCreditNote.
    Credit,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::Update,
        Self::Finalize,
        Self::Pay,
        Self::Void,
        Self::GiveUp,
        Self::Credit,
    ];

    /// The word that it is remembered under.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Finalize => "finalize",
            Self::Pay => "pay",
            Self::Void => "void",
            Self::GiveUp => "uncollectible",
            Self::Credit => "credit",
        }
    }

    /// The operation of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// A mutation's request, as it is remembered.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's id of it.
    pub request_id: String,
    /// Which invoice it is about.
    pub invoice_id: String,
    /// The etag that the invoice must have; any, if empty.
    pub etag: String,
    /// The request as it was asked, in its canonical encoding.
    pub body: Vec<u8>,
    /// When it was asked.
    pub now: Micros,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Action {
    /// Keep a draft of this.
    Create(Box<Document>),
    /// Make a draft say this.
    Update(Box<Document>),
    /// Number it and open it.
    Finalize,
    /// Apply a payment, which has a reference.
    Pay(Payment, String),
    /// Cancel it, for a reason.
    Void {
        /// Why.
        reason: String,
        /// Whether one that is yet to be created is cancelled too.
        allow_missing: bool,
    },
    /// Give it up.
    GiveUp,
    /// Credit it by a note whose id is the request's.
    Credit(Box<CreditNote>),
}

/// A mutation.
#[derive(Debug, Clone)]
pub struct Command {
    /// Who asks.
    pub request: Request,
    /// For what.
    pub action: Action,
}

/// What a request is remembered by.
pub type Key = (Operation, String);

impl Command {
    /// Which mutation it is.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self.action {
            Action::Create(_) => Operation::Create,
            Action::Update(_) => Operation::Update,
            Action::Finalize => Operation::Finalize,
            Action::Pay(..) => Operation::Pay,
            Action::Void { .. } => Operation::Void,
            Action::GiveUp => Operation::GiveUp,
            Action::Credit(_) => Operation::Credit,
        }
    }

    /// What it is remembered by.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.operation(), self.request.request_id.clone())
    }

    /// The invoices that it names. What those credit belongs to it too.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let note = matches!(self.action, Action::Credit(_)).then_some(&self.request.request_id);
        [&self.request.invoice_id]
            .into_iter()
            .chain(note)
            .map(String::as_str)
    }

    /// The invoice that it is answered with.
    fn answer_id(&self) -> &str {
        match self.action {
            Action::Credit(_) => &self.request.request_id,
            _ => &self.request.invoice_id,
        }
    }
}

/// Why a command was not done. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The state machine refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such invoice.
    #[error("no such invoice")]
    NotFound,
    /// The etag is not the current one.
    #[error("the invoice has changed")]
    EtagMismatch,
    /// The request id was used for another request: this one.
    #[error("the request id was used for another request")]
    RequestIdReused(Vec<u8>),
    /// The id that the request would give is an invoice's already.
    #[error("the id is taken")]
    IdTaken,
}

/// A payment that was applied: it made this revision of the invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// The invoice.
    pub invoice_id: String,
    /// The revision.
    pub revision: i64,
    /// How much.
    pub payment: Payment,
    /// The payer's reference.
    pub reference: String,
    /// When.
    pub time: Micros,
}

/// The last number of a series, and when it was given.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    number: i64,
    time: Option<Micros>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Books {
    records: BTreeMap<String, Record>,
    requests: BTreeMap<Key, Vec<u8>>,
    series: BTreeMap<String, Last>,
    /// By the invoice that is credited.
    credited: BTreeMap<String, Credited>,
    new: Vec<String>,
    changed: BTreeSet<String>,
    edited: BTreeSet<String>,
    payments: Vec<Paid>,
    done: Vec<Key>,
    numbered: BTreeSet<String>,
}

impl Books {
    /// Books on these records and these requests, which were done before.
    #[must_use]
    pub fn new(
        records: impl IntoIterator<Item = Record>,
        requests: impl IntoIterator<Item = (Key, Vec<u8>)>,
    ) -> Self {
        let records = records.into_iter().map(|r| (r.id().to_owned(), r));
        Self {
            records: records.collect(),
            requests: requests.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The series that these commands may number in, by name: their last numbers must be known
    /// before they are decided.
    #[must_use]
    pub fn series_needed(&self, commands: &[Command]) -> BTreeSet<String> {
        let finalized = |command: &&Command| matches!(command.action, Action::Finalize);
        let finalized = commands.iter().filter(finalized);
        let finalized: BTreeSet<&str> = finalized.map(|c| c.request.invoice_id.as_str()).collect();
        let mut needed = BTreeSet::new();
        for command in commands {
            let id = command.request.invoice_id.as_str();
            match &command.action {
                Action::Create(document) | Action::Update(document) if finalized.contains(id) => {
                    needed.insert(document.asked().series.clone());
                }
                Action::Credit(note) => {
                    needed.insert(note.series.clone());
                }
                _ => {}
            }
        }
        for id in finalized {
            if let Some(Record::Invoice(invoice)) = self.records.get(id)
                && invoice.sequence.is_none()
            {
                needed.insert(invoice.document.asked().series.clone());
            }
        }
        needed
    }

    /// Notes the last number of a series, and when the invoice that has it was finalized.
    pub fn last_number(&mut self, series: String, number: i64, time: Option<Micros>) {
        self.series.insert(series, Last { number, time });
    }

    /// The invoices that these commands credit and that have credit notes already: those of them
    /// that are not void must be known before the commands are decided.
    #[must_use]
    pub fn notes_needed(&self, commands: &[Command]) -> BTreeSet<String> {
        let credits = |command: &&Command| matches!(command.action, Action::Credit(_));
        let credited = commands
            .iter()
            .filter(credits)
            .map(|c| &c.request.invoice_id);
        let noted = |id: &&String| match self.records.get(*id) {
            Some(Record::Invoice(invoice)) => !invoice.credit_notes.is_empty(),
            _ => false,
        };
        credited.filter(noted).cloned().collect()
    }

    /// Notes a credit note that is not void.
    pub fn credited_before(&mut self, note: &Record) {
        if let Record::Invoice(note) = note
            && let Some(id) = &note.credits
        {
            let credited = self.credited.entry(id.clone()).or_default();
            credited.add(&note.document);
        }
    }

    /// Does a command, unless it was done before: a repeated request is answered with the invoice as
    /// it stands.
    ///
    /// # Errors
    /// [`Error`] says why nothing was done.
    pub fn decide(&mut self, command: &Command) -> Result<Record, Error> {
        let key = command.key();
        match self.requests.get(&key) {
            Some(body) if *body != command.request.body => {
                return Err(Error::RequestIdReused(body.clone()));
            }
            Some(_) => {
                let found = self.records.get(command.answer_id());
                return found.cloned().ok_or(Error::NotFound);
            }
            None => {}
        }
        let record = self.perform(command)?;
        self.requests
            .insert(key.clone(), command.request.body.clone());
        self.done.push(key);
        Ok(record)
    }

    fn perform(&mut self, Command { request, action }: &Command) -> Result<Record, Error> {
        let now = request.now;
        match action {
            Action::Create(document) => {
                self.free(&request.invoice_id)?;
                let id = request.invoice_id.clone();
                let draft = Invoice::draft(id, (**document).clone(), now);
                // A document always has something to pay.
                Ok(self.add(draft.ok_or(Refusal::CreditTooSmall)?))
            }
            Action::Update(document) => {
                let edited = self.current(request)?.edit((**document).clone())?;
                self.edited.insert(edited.id.clone());
                Ok(self.change(edited))
            }
            Action::Finalize => {
                let invoice = self.current(request)?;
                let series = invoice.document.asked().series.clone();
                let next = self.next(&series, invoice.times.not_before(now));
                let invoice = invoice.finalize(next.0, next.1)?;
                self.number(series, next);
                Ok(self.change(invoice))
            }
            Action::Pay(payment, reference) => {
                let invoice = self.current(request)?;
                let now = invoice.times.not_before(now);
                let invoice = invoice.pay(*payment, now)?;
                self.payments.push(Paid {
                    invoice_id: invoice.id.clone(),
                    revision: invoice.revision,
                    payment: *payment,
                    reference: reference.clone(),
                    time: now,
                });
                Ok(self.change(invoice))
            }
            Action::Void {
                reason,
                allow_missing,
            } => self.void(request, reason, *allow_missing),
            Action::GiveUp => {
                let invoice = self.current(request)?;
                let now = invoice.times.not_before(now);
                Ok(self.change(invoice.give_up(now)?))
            }
            Action::Credit(asked) => {
                let invoice = self.current(request)?;
                let id = request.request_id.clone();
                self.free(&id)?;
                let series = asked.series.clone();
                let next = self.next(&series, invoice.times.not_before(now));
                let credited = self.credited.entry(invoice.id.clone()).or_default();
                let (invoice, note) = issue(invoice, credited, id, (**asked).clone(), next)?;
                credited.add(&note.document);
                self.number(series, next);
                self.change(invoice);
                Ok(self.add(note))
            }
        }
    }

    fn void(
        &mut self,
        request: &Request,
        reason: &str,
        allow_missing: bool,
    ) -> Result<Record, Error> {
        let (now, reason) = (request.now, reason.to_owned());
        let invoice = match self.current(request) {
            // Whoever has an etag has seen the invoice, and none is ever deleted.
            Err(Error::NotFound) if allow_missing && !request.etag.is_empty() => {
                return Err(Error::EtagMismatch);
            }
            Err(Error::NotFound) if allow_missing => {
                return Ok(self.add(Tombstone {
                    id: request.invoice_id.clone(),
                    void_time: now,
                    void_reason: reason,
                }));
            }
            other => other?,
        };
        let now = invoice.times.not_before(now);
        let Some(credited) = &invoice.credits else {
            let voided = invoice.void(reason, now)?;
            return Ok(self.change(voided));
        };
        let credited = self.records.get(credited).cloned();
        let credited = credited.ok_or(Error::NotFound)?.invoice()?;
        let (credited, note) = revoke(credited, invoice, reason, now)?;
        if let Some(sums) = self.credited.get_mut(&credited.id) {
            sums.remove(&note.document);
        }
        self.change(credited);
        Ok(self.change(note))
    }

    /// Whether an id can be given to something new.
    fn free(&self, id: &str) -> Result<(), Error> {
        match self.records.get(id) {
            None => Ok(()),
            Some(Record::Tombstone(_)) => Err(Refusal::Voided.into()),
            Some(Record::Invoice(_)) => Err(Error::IdTaken),
        }
    }

    /// The invoice that a request is about, if its etag is still the current one.
    fn current(&self, request: &Request) -> Result<Invoice, Error> {
        let record = self.records.get(&request.invoice_id);
        let record = record.ok_or(Error::NotFound)?;
        if !request.etag.is_empty() && request.etag != record.etag() {
            return Err(Error::EtagMismatch);
        }
        Ok(record.clone().invoice()?)
    }

    /// The next number of a series, and when it is given: not before the one before it, so that the
    /// dates of a series run with its numbers.
    fn next(&self, series: &str, now: Micros) -> (i64, Micros) {
        let last = self.series.get(series).copied().unwrap_or_default();
        let time = last.time.map_or(now, |time| time.max(now));
        (last.number + 1, time)
    }

    fn number(&mut self, series: String, (number, time): (i64, Micros)) {
        self.numbered.insert(series.clone());
        self.last_number(series, number, Some(time));
    }

    fn add(&mut self, record: impl Into<Record>) -> Record {
        let record = record.into();
        self.new.push(record.id().to_owned());
        self.records.insert(record.id().to_owned(), record.clone());
        record
    }

    fn change(&mut self, invoice: Invoice) -> Record {
        let record = Record::from(invoice);
        self.changed.insert(record.id().to_owned());
        self.records.insert(record.id().to_owned(), record.clone());
        record
    }

    /// What is new, in the order of creation.
    pub fn added(&self) -> impl Iterator<Item = &Record> {
        self.new.iter().filter_map(|id| self.records.get(id))
    }

    /// What was there before and says something else now.
    pub fn edited(&self) -> impl Iterator<Item = &Invoice> {
        self.changed_where(|id| self.edited.contains(id))
    }

    /// What was there before, says the same, and stands elsewhere now.
    pub fn moved(&self) -> impl Iterator<Item = &Invoice> {
        self.changed_where(|id| !self.edited.contains(id))
    }

    fn changed_where(&self, wanted: impl Fn(&String) -> bool) -> impl Iterator<Item = &Invoice> {
        let changed = self.changed.iter().filter(|id| !self.new.contains(id));
        let changed = changed.filter(move |id| wanted(id));
        changed.filter_map(|id| match self.records.get(id) {
            Some(Record::Invoice(invoice)) => Some(invoice.as_ref()),
            _ => None,
        })
    }

    /// The payments that were applied.
    #[must_use]
    pub fn payments(&self) -> &[Paid] {
        &self.payments
    }

    /// The requests that were done, to be remembered.
    pub fn done(&self) -> impl Iterator<Item = (Operation, &str, &[u8])> {
        self.done.iter().filter_map(|key| {
            let body = self.requests.get(key)?;
            Some((key.0, key.1.as_str(), body.as_slice()))
        })
    }

    /// The series that gave numbers, with the last one of each.
    pub fn numbered(&self) -> impl Iterator<Item = (&str, i64)> {
        let numbered = self.numbered.iter();
        numbered.filter_map(|name| Some((name.as_str(), self.series.get(name)?.number)))
    }
}
