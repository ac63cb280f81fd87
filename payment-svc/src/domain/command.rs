//! What can be asked of the payments as a whole, and what is answered.

use money::Money;

use super::{Intent, Payment, RefundRefusal};

/// A change. Everything that is written is one of these.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Accept a payment or a refund, or find it.
    Accept(Box<Accept>),
    /// Write how far a payment got, if nobody else did meanwhile.
    Save { payment: Box<Payment>, now: i64 },
    /// Take a payment, whoever works on it, if it still is at this version.
    Adopt {
        id: String,
        version: i64,
        worker: String,
        now: i64,
    },
    /// Do what a person decided about a payment.
    Steer(Box<Steer>),
    /// Take up to `most` unfinished payments whose workers are gone.
    TakeOver { most: u32, worker: String, now: i64 },
    /// This worker lives.
    Beat { worker: String },
    /// A worker is dead, unless it beat again.
    Bury { worker: String, beats: i64 },
    /// This worker ends: what it did not finish is free at once.
    Leave { worker: String },
}

/// What is to be accepted.
#[derive(Debug, Clone)]
pub(crate) struct Accept {
    /// The request as it came, canonically encoded: what a repetition is compared with.
    pub(crate) request: Vec<u8>,
    pub(crate) body: Body,
    pub(crate) worker: String,
    pub(crate) now: i64,
}

/// A payment, or the refund of one.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Payment(Intent),
    Refund(RefundAsked),
}

/// A refund as it was asked for: the rest is the payment's.
#[derive(Debug, Clone)]
pub(crate) struct RefundAsked {
    pub(crate) id: String,
    pub(crate) of: String,
    /// `None`: all that is left.
    pub(crate) amount: Option<Money>,
    pub(crate) reason: String,
    pub(crate) reference: String,
    pub(crate) metadata: std::collections::BTreeMap<String, String>,
    pub(crate) effective_micros: Option<i64>,
}

/// A person's decision.
#[derive(Debug, Clone)]
pub(crate) struct Steer {
    pub(crate) request_id: String,
    pub(crate) id: String,
    pub(crate) verb: Verb,
    pub(crate) worker: String,
    pub(crate) now: i64,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verb {
    Cancel { reason: String },
    Retry,
}

/// What a command brought.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Accepted(Accepted),
    Saved(Saved),
    /// The payment, if it was at that version.
    Adopted(Option<Box<Payment>>),
    Steered(Steered),
    Taken(Vec<Payment>),
    /// Nothing to tell.
    Noted,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(crate) enum Accepted {
    /// It is new, and this worker's to drive.
    Mine(Box<Payment>),
    /// It was accepted before. Whoever has it drives it.
    Known(Box<Payment>),
    /// The id was used for another request, which differs in this field.
    Differs(String),
    /// It is a refund that cannot be.
    Refused(RefundRefusal),
}

/// What became of a payment that was to be written.
#[derive(Debug, Clone)]
pub(crate) enum Saved {
    /// Written; here it is with its new version.
    Yes(Box<Payment>),
    /// Somebody changed it meanwhile; nothing was written. What it is now, and whose.
    Stale {
        payment: Box<Payment>,
        worker: String,
    },
    /// There is no such payment.
    Missing,
}

/// What became of a person's decision.
#[derive(Debug, Clone)]
pub(crate) enum Steered {
    /// Done; if it is unfinished, this worker's to drive.
    Done(Box<Payment>),
    /// The same decision was made before, by the same request.
    Before(Box<Payment>),
    /// The request's id was used for another decision, which differs in this field.
    Differs(&'static str),
    /// It is too late, or too early, for that.
    Refused(Box<Payment>),
    /// There is no such payment.
    Missing,
}

impl Command {
    /// The payment it is about, if it is about one.
    pub(crate) fn payment_id(&self) -> Option<&str> {
        match self {
            Self::Accept(accept) => Some(accept.body.id()),
            Self::Save { payment, .. } => Some(&payment.intent.id),
            Self::Adopt { id, .. } => Some(id),
            Self::Steer(steer) => Some(&steer.id),
            Self::TakeOver { .. } | Self::Beat { .. } | Self::Bury { .. } | Self::Leave { .. } => {
                None
            }
        }
    }

    /// The id of a refund that is asked for, if it is one.
    pub(crate) fn refund_id(&self) -> Option<&str> {
        self.refund_of().and_then(|_| self.payment_id())
    }

    /// The payment that a refund is asked of, if it is one.
    pub(crate) fn refund_of(&self) -> Option<&str> {
        match self {
            Self::Accept(accept) => match &accept.body {
                Body::Refund(refund) => Some(&refund.of),
                Body::Payment(_) => None,
            },
            _ => None,
        }
    }
}

impl Body {
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Payment(intent) => &intent.id,
            Self::Refund(refund) => &refund.id,
        }
    }
}

impl Verb {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cancel { .. } => "cancel",
            Self::Retry => "retry",
        }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Cancel { reason } => reason,
            Self::Retry => "",
        }
    }
}
