//! Checking a journal against its own hashes: what was changed since it was written, and where.

use crate::domain::{Entry, Hash, KeyedLeg, Micros, Side};

/// Which part of the books is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The entry's own fields, or its request; nothing else tells which.
    Entry,
    /// The request: it cannot be read any more.
    Body,
    /// The legs.
    Legs,
    /// The hash itself.
    Hash,
    /// There is no such entry.
    Missing,
    /// An account.
    Account,
    /// What an account holds.
    Balance,
    /// What a currency has turned over.
    Total,
    /// The head of the journal.
    Head,
    /// What was acknowledged last.
    Tail,
}

impl Part {
    /// The stable word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Body => "body",
            Self::Legs => "legs",
            Self::Hash => "hash",
            Self::Missing => "missing",
            Self::Account => "account",
            Self::Balance => "balance",
            Self::Total => "total",
            Self::Head => "head",
            Self::Tail => "tail",
        }
    }
}

/// One place where the books are not as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which entry; 0 for what is not of one entry.
    pub sequence: i64,
    /// Which part.
    pub part: Part,
    /// The account, if it is about one.
    pub account_id: String,
    /// What is wrong.
    pub description: String,
}

impl Fault {
    /// The fault of a store that lacks so many groups of writes of those that were acknowledged. An
    /// end that is gone leaves a journal that fits together.
    #[must_use]
    pub fn of_missing(groups: u64) -> Option<Self> {
        (groups > 0).then(|| Self {
            sequence: 0,
            part: Part::Tail,
            account_id: String::new(),
            description: format!("acknowledged groups of writes are missing: {groups}"),
        })
    }
}

/// What a request says of the columns of its entry. What it does not say is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The request's id.
    pub request_id: String,
    /// The reference.
    pub reference: Option<String>,
    /// When it happened.
    pub effective_time: Option<Micros>,
    /// Account, side, currency code and smallest units of each leg.
    pub legs: Option<Vec<(String, Side, String, i128)>>,
}

/// An entry as it was read back, with the ids of the accounts on its legs.
#[derive(Debug, Clone)]
pub struct Written {
    /// The entry; none if a column does not hold what can be there.
    pub entry: Option<Entry>,
    /// Its place.
    pub sequence: i64,
    /// Its hash as it is kept.
    pub hash: Option<Hash>,
    /// The ids of the accounts of `entry.legs`, in their order.
    pub account_ids: Vec<String>,
}

/// Goes along a journal.
#[derive(Debug, Clone)]
pub struct Verifier {
    sequence: i64,
    hash: Hash,
    record_time: Micros,
    /// What was found.
    pub faults: Vec<Fault>,
}

/// The most faults that are told: one changed entry is one, so more is another file.
const FAULTS_MAX: usize = 100;

impl Verifier {
    /// Goes on after the entry at `sequence`, which has this hash and is taken as it is.
    #[must_use]
    pub const fn after(sequence: i64, hash: Hash) -> Self {
        Self {
            sequence,
            hash,
            record_time: Micros::MIN,
            faults: Vec::new(),
        }
    }

    /// The last entry that was checked.
    #[must_use]
    pub const fn sequence(&self) -> i64 {
        self.sequence
    }

    /// The hash that the journal should have there.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Notes a fault.
    pub fn note(&mut self, sequence: i64, part: Part, account_id: &str, description: &str) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault {
                sequence,
                part,
                account_id: account_id.to_owned(),
                description: description.to_owned(),
            });
        }
    }

    /// Checks the next entry. `content` is what its request says; `agrees` says whether what
    /// follows is tied to this hash instead of the one that is kept.
    pub fn check(
        &mut self,
        written: &Written,
        content: Option<&Content>,
        agrees: impl Fn(&Hash) -> bool,
    ) {
        let skipped = written.sequence != self.sequence + 1;
        if skipped {
            let (from, to) = (self.sequence + 1, written.sequence - 1);
            let words = format!("no entry from {from} to {to}");
            self.note(from, Part::Missing, "", &words);
        }
        let before = self.hash;
        self.sequence = written.sequence;
        if let Some(kept) = written.hash {
            self.hash = kept;
        }
        let Some(entry) = &written.entry else {
            let words = "holds what this service does not write";
            self.note(written.sequence, Part::Entry, "", words);
            return;
        };
        // What comes after a gap is tied to an entry that is not there.
        if !skipped {
            let computed = entry.hash_after(&before);
            if Some(computed) != written.hash {
                let (part, words) = if agrees(&computed) {
                    self.hash = computed;
                    (Part::Hash, "the hash was changed")
                } else {
                    blame(entry, &written.account_ids, content, &before)
                };
                self.note(written.sequence, part, "", words);
                return;
            }
        }
        if entry.record_time < self.record_time {
            let words = "was recorded before the entry that precedes it";
            self.note(written.sequence, Part::Entry, "", words);
        }
        self.record_time = self.record_time.max(entry.record_time);
    }
}

/// Which part of an entry was changed: the one that makes the hash right when it is put back to what
/// the request says.
fn blame(
    entry: &Entry,
    account_ids: &[String],
    content: Option<&Content>,
    before: &Hash,
) -> (Part, &'static str) {
    let Some(content) = content else {
        return (Part::Body, "the request cannot be read");
    };
    let mut mended = entry.clone();
    if let Some(reference) = &content.reference {
        mended.reference.clone_from(reference);
    }
    mended.request_id.clone_from(&content.request_id);
    if let Some(effective_time) = content.effective_time {
        mended.effective_time = effective_time;
    }
    let columns_differ = mended != *entry;
    if columns_differ && mended.hash_after(before) == entry.hash {
        return (Part::Entry, "a field is not what its request says");
    }
    if let Some(legs) = &content.legs
        && !same_legs(&entry.legs, account_ids, legs)
    {
        return (Part::Legs, "the legs are not what the request says");
    }
    if columns_differ {
        return (Part::Body, "the request does not say what the entry does");
    }
    (
        Part::Entry,
        "its request, its kind, its target or its times were changed",
    )
}

fn same_legs(
    legs: &[KeyedLeg],
    account_ids: &[String],
    content: &[(String, Side, String, i128)],
) -> bool {
    legs.len() == content.len()
        && legs.iter().zip(account_ids).zip(content).zip(0_i64..).all(
            |(((leg, account_id), (id, side, code, minor)), place)| {
                account_id == id
                    && leg.position == place
                    && leg.side == *side
                    && leg.currency.code() == code
                    && i128::from(leg.minor) == *minor
            },
        )
}
