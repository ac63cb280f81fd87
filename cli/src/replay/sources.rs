//! The files of a run, and their rows in order.

use std::{fs, path::PathBuf};

use mizan_contracts::payment::v1::ProcessPaymentRequest;
use money::{Currency, Money};

use super::{
    request,
    row::{Row, Unpayable},
    sheet::Sheet,
    tally::{Outcome, Place, Seen},
    text,
};

/// A file that could be read, as text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    text: String,
}

/// What to do with a row.
#[derive(Debug)]
pub(crate) enum Step {
    Pay {
        request: Box<ProcessPaymentRequest>,
        amount: Money,
    },
    /// Nothing: it is known what becomes of it.
    Done(Outcome),
}

/// Reads files, and tells of each that cannot be read why.
pub(crate) fn read(paths: &[PathBuf]) -> (Vec<Source>, Vec<String>) {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => sources.push(Source {
                name,
                text: text::decode(&bytes).into_owned(),
            }),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    (sources, problems)
}

impl Source {
    /// The file's table; why not, if it has none.
    pub(crate) fn sheet(&self) -> Result<Sheet<'_>, String> {
        Sheet::read(&self.text).map_err(|error| format!("{}: {error}", self.name))
    }
}

/// What to do with each row of all files, in order. A transaction number counts as seen only once
/// its row can be paid.
pub(crate) fn steps<'a>(
    sheets: &'a [Sheet<'a>],
    currency: Currency,
) -> impl Iterator<Item = (Place, Step)> + 'a {
    let mut seen = Seen::default();
    let rows = sheets
        .iter()
        .enumerate()
        .flat_map(move |(file, sheet)| sheet.rows(currency).map(move |row| (file, row)));
    rows.map(move |(file, row)| match row {
        Ok(row) => {
            let place = Place {
                file,
                line: row.line,
            };
            (place, step(&row, place, &mut seen))
        }
        Err(Unpayable { line, reason }) => {
            (Place { file, line }, Step::Done(Outcome::Refused(reason)))
        }
    })
}

fn step(row: &Row, place: Place, seen: &mut Seen) -> Step {
    let request = match request::of(row) {
        Ok(request) => Box::new(request),
        Err(error) => return Step::Done(Outcome::Refused(format!("amount {error}"))),
    };
    match seen.note(&row.reference, place, row.amount) {
        Some(duplicate) => Step::Done(duplicate),
        None => Step::Pay {
            request,
            amount: row.amount,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(texts: &[&str]) -> Vec<String> {
        let sheets: Vec<Sheet<'_>> = texts.iter().map(|t| Sheet::read(t).unwrap()).collect();
        steps(&sheets, "GBP".parse().unwrap())
            .map(|(at, step)| {
                let what = match step {
                    Step::Pay { request, .. } => format!("pays {}", request.reference),
                    Step::Done(Outcome::Duplicate { first, .. }) => {
                        format!("repeats {}:{}", first.file, first.line)
                    }
                    Step::Done(Outcome::Refused(reason)) => reason,
                    Step::Done(outcome) => format!("{outcome:?}"),
                };
                format!("{}:{} {what}", at.file, at.line)
            })
            .collect()
    }

    #[test]
    fn a_number_is_paid_once_in_a_run_whichever_file_it_is_in() {
        assert_eq!(
            outcomes(&[
                "Ref,Amount\n7 - 1,5\n7-1,5\n8,5\n",
                "Amount;Voucher\n6;8\n6;9\n"
            ]),
            [
                "0:2 pays 7-1",
                "0:3 repeats 0:2",
                "0:4 pays 8",
                "1:2 repeats 0:4",
                "1:3 pays 9",
            ]
        );
    }

    #[test]
    fn a_row_that_is_refused_takes_no_number() {
        assert_eq!(
            outcomes(&["Ref,Amount\n7,zero\n7,5\n8,99999999999999999999\n8,5\n"]),
            [
                "0:2 amount is not a number: \"zero\"",
                "0:3 pays 7",
                "0:4 amount is too large",
                "0:5 pays 8",
            ]
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_told_and_costs_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there.csv");
        fs::write(&there, "Ref,Amount\n1,2\n").unwrap();
        let (sources, problems) = read(&[dir.path().join("gone.csv"), there]);
        assert_eq!(sources.len(), 1);
        assert!(problems[0].contains("gone.csv"), "{problems:?}");
    }
}
