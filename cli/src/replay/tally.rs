//! What became of the rows, counted.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use money::Money;

use super::reference::Reference;

/// A row: which file of the run, which line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) line: u64,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Paid in this run.
    Paid { amount: Money, took: Duration },
    /// Paid, or at least accepted, before this run. `took` is none when it was known to be completed
    /// and so not asked for.
    AlreadyPaid {
        amount: Money,
        took: Option<Duration>,
    },
    /// The transaction number of an earlier row of this run: harmless if the amount is that row's
    /// too, and refused if it is not.
    Duplicate {
        reference: Reference,
        amount: Money,
        first: Place,
        first_amount: Money,
    },
    /// Cannot be paid.
    Refused(String),
    /// Asked for, but its end is not known.
    Unknown(String),
    /// Not asked for: the run was stopped before.
    NotSent,
    /// Not paid, and not to be: the run only checks.
    OnlyChecked,
}

/// The transaction numbers of the run so far, each with the row that had it first.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<Reference, (Place, Money)>);

impl Seen {
    /// Notes a row's number; gives the duplicate if an earlier row had it.
    pub(crate) fn note(
        &mut self,
        reference: &Reference,
        place: Place,
        amount: Money,
    ) -> Option<Outcome> {
        if let Some(&(first, first_amount)) = self.0.get(reference) {
            return Some(Outcome::Duplicate {
                reference: reference.clone(),
                amount,
                first,
                first_amount,
            });
        }
        self.0.insert(reference.clone(), (place, amount));
        None
    }
}

/// The counts of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileTally {
    pub(crate) rows: u64,
    pub(crate) paid: u64,
    pub(crate) refunds: u64,
    pub(crate) already_paid: u64,
    pub(crate) not_sent: u64,
    /// Payments less refunds, of this run and before, by currency code.
    pub(crate) totals: BTreeMap<String, Money>,
}

/// The counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) files: Vec<FileTally>,
    /// Every duplicate, refused, unknown or unsent row, for the report.
    pub(crate) notes: Vec<(Place, Outcome)>,
    /// How long each answered row took.
    pub(crate) latencies: Vec<Duration>,
    /// A sum that does not fit: told, and the run counts as unfinished.
    pub(crate) overflow: bool,
}

impl Tally {
    pub(crate) fn new(files: usize) -> Self {
        Self {
            files: vec![FileTally::default(); files],
            ..Self::default()
        }
    }

    /// Counts one row.
    pub(crate) fn add(&mut self, place: Place, outcome: Outcome) {
        let Some(file) = self.files.get_mut(place.file) else {
            return;
        };
        file.rows += 1;
        match outcome {
            Outcome::Paid { amount, took } => {
                file.paid += 1;
                file.refunds += u64::from(amount.is_negative());
                self.overflow |= add_to(&mut file.totals, amount).is_err();
                self.latencies.push(took);
            }
            Outcome::AlreadyPaid { amount, took } => {
                file.already_paid += 1;
                self.overflow |= add_to(&mut file.totals, amount).is_err();
                self.latencies.extend(took);
            }
            Outcome::OnlyChecked => {}
            noted => {
                file.not_sent += u64::from(noted == Outcome::NotSent);
                self.notes.push((place, noted));
            }
        }
    }

    /// Whether no row was left out because the run was stopped.
    pub(crate) fn all_were_asked_for(&self) -> bool {
        self.sum(|file| file.not_sent) == 0
    }

    /// The sum over all files of one of their counts.
    pub(crate) fn sum(&self, count: impl Fn(&FileTally) -> u64) -> u64 {
        self.files.iter().map(count).sum()
    }

    /// The totals of all files.
    pub(crate) fn totals(&self) -> Result<BTreeMap<String, Money>, money::Error> {
        let mut all = BTreeMap::new();
        for amount in self.files.iter().flat_map(|file| file.totals.values()) {
            add_to(&mut all, *amount)?;
        }
        Ok(all)
    }
}

fn add_to(totals: &mut BTreeMap<String, Money>, amount: Money) -> Result<(), money::Error> {
    let code = amount.currency().code().to_owned();
    let total = totals
        .entry(code)
        .or_insert_with(|| Money::zero(amount.currency()));
    *total = total.checked_add(amount)?;
    Ok(())
}

/// The smallest latency that at least `percent` of all are within; `None` of none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gbp(minor: i128) -> Money {
        Money::from_minor(minor, "GBP".parse().unwrap())
    }

    fn at(file: usize, line: u64) -> Place {
        Place { file, line }
    }

    #[test]
    fn totals_are_payments_less_refunds_whenever_paid() {
        let took = Duration::from_millis(1);
        let mut tally = Tally::new(2);
        tally.add(
            at(0, 2),
            Outcome::Paid {
                amount: gbp(500),
                took,
            },
        );
        tally.add(
            at(0, 3),
            Outcome::Paid {
                amount: gbp(-200),
                took,
            },
        );
        tally.add(
            at(1, 2),
            Outcome::AlreadyPaid {
                amount: gbp(50),
                took: Some(took),
            },
        );
        tally.add(at(1, 3), Outcome::Refused("amount is zero".to_owned()));
        assert_eq!(tally.files[0].totals["GBP"], gbp(300));
        assert_eq!(tally.totals().unwrap()["GBP"], gbp(350));
        assert_eq!(tally.sum(|f| f.rows), 4);
        assert_eq!(tally.sum(|f| f.refunds), 1);
        assert_eq!(tally.notes.len(), 1);
    }

    #[test]
    fn the_second_row_of_a_number_is_the_duplicate() {
        let mut seen = Seen::default();
        let reference = Reference::read("7 - 1").unwrap();
        assert_eq!(seen.note(&reference, at(0, 2), gbp(5)), None);
        let again = seen.note(&Reference::read("7-1").unwrap(), at(1, 9), gbp(6));
        assert_eq!(
            again,
            Some(Outcome::Duplicate {
                reference,
                amount: gbp(6),
                first: at(0, 2),
                first_amount: gbp(5)
            })
        );
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&sorted, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&sorted[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 99), None);
    }
}
