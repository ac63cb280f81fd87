//! The report of a run, as data: what `--json` prints, and what the text is made of.

use std::{collections::BTreeMap, time::Duration};

use money::Money;
use serde::Serialize;

use super::{
    reconcile::Reconciliation,
    reconcile_report::ReconciliationReport,
    tally::{FileTally, Outcome, Place, Tally, percentile},
};

/// What a run did. Amounts are exact decimal strings.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: u64,
    pub(crate) paid: u64,
    /// How many of `paid` were refunds.
    pub(crate) refunds: u64,
    pub(crate) already_paid: u64,
    pub(crate) duplicates: usize,
    pub(crate) refused: usize,
    /// Asked for, but the end is not known.
    pub(crate) unfinished: usize,
    pub(crate) not_sent: u64,
    /// Payments less refunds, over paid and already paid rows.
    pub(crate) totals: Vec<Total>,
    pub(crate) files: Vec<FileReport>,
    pub(crate) duplicate_rows: Vec<DuplicateRow>,
    pub(crate) refused_rows: Vec<NotedRow>,
    pub(crate) unfinished_rows: Vec<NotedRow>,
    pub(crate) trial_balance: Option<TrialBalance>,
    /// Files, payments and ledger against each other; none when the run could not finish.
    pub(crate) reconciliation: Option<ReconciliationReport>,
    /// How many calls ended without telling the end of their payment, whatever the channel tried,
    /// by reason. Their rows asked again.
    pub(crate) failed_calls: BTreeMap<String, u64>,
    /// Why the run could not finish; empty when it did.
    pub(crate) problems: Vec<String>,
    pub(crate) elapsed_ms: u128,
    pub(crate) payments_per_second: u128,
    pub(crate) p50_micros: Option<u128>,
    pub(crate) p99_micros: Option<u128>,
}

/// An amount in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Total {
    pub(crate) currency: String,
    pub(crate) amount: String,
}

/// What became of one file.
#[derive(Debug, Serialize)]
pub(crate) struct FileReport {
    pub(crate) file: String,
    pub(crate) rows: u64,
    pub(crate) paid: u64,
    pub(crate) refunds: u64,
    pub(crate) already_paid: u64,
    pub(crate) not_sent: u64,
    pub(crate) totals: Vec<Total>,
    /// The first row that was not asked for.
    pub(crate) not_sent_from_line: Option<u64>,
}

/// A row whose transaction number an earlier row had, with the same amount.
#[derive(Debug, Serialize)]
pub(crate) struct DuplicateRow {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) reference: String,
    pub(crate) amount: String,
    pub(crate) first_file: String,
    pub(crate) first_line: u64,
}

/// A row and what is to be said of it.
#[derive(Debug, Serialize)]
pub(crate) struct NotedRow {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// The ledger's own check, after the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TrialBalance {
    pub(crate) transactions: i64,
    /// Whether every difference is zero.
    pub(crate) balanced: bool,
    pub(crate) totals: Vec<CurrencyTotal>,
}

/// The sums of one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CurrencyTotal {
    pub(crate) currency: String,
    pub(crate) debits: String,
    pub(crate) credits: String,
    pub(crate) difference: String,
}

/// What was learned after the rows.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) trial_balance: Option<TrialBalance>,
    pub(crate) reconciliation: Option<Reconciliation>,
    pub(crate) failed_calls: BTreeMap<String, u64>,
}

impl Report {
    /// The report of a tally. `names` are the files' names, in the order of the tally.
    pub(crate) fn new(
        mut tally: Tally,
        names: &[String],
        books: Books,
        mut problems: Vec<String>,
        elapsed: Duration,
    ) -> Self {
        let Books {
            trial_balance,
            reconciliation,
            failed_calls,
        } = books;
        tally.notes.sort_by_key(|(at, _)| (at.file, at.line));
        tally.latencies.sort_unstable();
        let totals = tally.totals().unwrap_or_else(|_| {
            tally.overflow = true;
            BTreeMap::new()
        });
        if reconciliation.as_ref().is_some_and(|found| found.overflow) {
            problems.push("a sum of the reconciliation is too large to be told".to_owned());
        }
        if tally.overflow {
            problems.push("the total paid is too large to be told".to_owned());
        }
        if trial_balance.as_ref().is_some_and(|books| !books.balanced) {
            problems.push("the books do not balance".to_owned());
        }
        let micros = |percent| percentile(&tally.latencies, percent).map(|d| d.as_micros());
        let answered = u128::try_from(tally.latencies.len()).unwrap_or(u128::MAX);
        let notes = Notes::sort(&tally.notes, names);
        Self {
            rows: tally.sum(|f| f.rows),
            paid: tally.sum(|f| f.paid),
            refunds: tally.sum(|f| f.refunds),
            already_paid: tally.sum(|f| f.already_paid),
            duplicates: notes.duplicates.len(),
            refused: notes.refused.len(),
            unfinished: notes.unknown.len(),
            not_sent: tally.sum(|f| f.not_sent),
            totals: listed(&totals),
            files: files(&tally, names),
            duplicate_rows: notes.duplicates,
            refused_rows: notes.refused,
            unfinished_rows: notes.unknown,
            trial_balance,
            reconciliation: reconciliation.map(|found| ReconciliationReport::new(found, names)),
            failed_calls,
            problems,
            elapsed_ms: elapsed.as_millis(),
            payments_per_second: answered * 1_000_000 / elapsed.as_micros().max(1),
            p50_micros: micros(50),
            p99_micros: micros(99),
        }
    }

    /// Whether files, payments and ledger differ in anything.
    pub(crate) fn differs(&self) -> bool {
        self.reconciliation
            .as_ref()
            .is_some_and(|found| !found.agree)
    }

    /// Whether the run was carried to its end.
    pub(crate) fn finished(&self) -> bool {
        self.problems.is_empty() && self.unfinished == 0 && self.not_sent == 0
    }
}

fn files(tally: &Tally, names: &[String]) -> Vec<FileReport> {
    let report = |(index, (file, name)): (usize, (&FileTally, &String))| FileReport {
        file: name.clone(),
        rows: file.rows,
        paid: file.paid,
        refunds: file.refunds,
        already_paid: file.already_paid,
        not_sent: file.not_sent,
        totals: listed(&file.totals),
        not_sent_from_line: tally
            .notes
            .iter()
            .find(|(at, outcome)| at.file == index && *outcome == Outcome::NotSent)
            .map(|(at, _)| at.line),
    };
    tally
        .files
        .iter()
        .zip(names)
        .enumerate()
        .map(report)
        .collect()
}

fn listed(totals: &BTreeMap<String, Money>) -> Vec<Total> {
    let total = |(code, amount): (&String, &Money)| Total {
        currency: code.clone(),
        amount: amount.to_decimal(),
    };
    totals.iter().map(total).collect()
}

/// The rows that were not simply paid, by what became of them.
#[derive(Default)]
struct Notes {
    duplicates: Vec<DuplicateRow>,
    refused: Vec<NotedRow>,
    unknown: Vec<NotedRow>,
}

impl Notes {
    fn sort(notes: &[(Place, Outcome)], names: &[String]) -> Self {
        let name = |place: &Place| names.get(place.file).cloned().unwrap_or_default();
        let mut sorted = Self::default();
        for (at, outcome) in notes {
            let noted = |reason: String| NotedRow {
                file: name(at),
                line: at.line,
                reason,
            };
            match outcome {
                Outcome::Duplicate {
                    reference,
                    amount,
                    first,
                    first_amount,
                } if amount == first_amount => sorted.duplicates.push(DuplicateRow {
                    file: name(at),
                    line: at.line,
                    reference: reference.as_str().to_owned(),
                    amount: amount.to_string(),
                    first_file: name(first),
                    first_line: first.line,
                }),
                // Which of the two is right nobody here can tell, and a number is paid once.
                Outcome::Duplicate {
                    reference,
                    amount,
                    first,
                    first_amount,
                } => sorted.refused.push(noted(format!(
                    "{} is that of {}:{}, with another amount: {amount} here, {first_amount} there",
                    reference.as_str(),
                    name(first),
                    first.line,
                ))),
                Outcome::Refused(reason) => sorted.refused.push(noted(reason.clone())),
                Outcome::Unknown(reason) => sorted.unknown.push(noted(reason.clone())),
                Outcome::Paid { .. }
                | Outcome::AlreadyPaid { .. }
                | Outcome::OnlyChecked
                | Outcome::NotSent => {}
            }
        }
        sorted
    }
}
