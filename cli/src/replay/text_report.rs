//! The report of a run, for people.

use std::fmt::{self, Display, Formatter};

use super::{
    reconcile_report,
    report::{DuplicateRow, FileReport, NotedRow, Report, Total, TrialBalance},
};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        counts(self, f)?;
        paid(self, f)?;
        duplicates(&self.duplicate_rows, f)?;
        noted("Refused", &self.refused_rows, f)?;
        noted(
            "Asked for, but the end is not known",
            &self.unfinished_rows,
            f,
        )?;
        not_sent(&self.files, f)?;
        reconcile_report::text(self.reconciliation.as_ref(), f)?;
        trial_balance(self.trial_balance.as_ref(), f)?;
        speed(self, f)?;
        failed_calls(self, f)?;
        for problem in &self.problems {
            writeln!(f, "Could not finish: {problem}")?;
        }
        Ok(())
    }
}

fn counts(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "{:<14}{:>10}", "Rows read", report.rows)?;
    write!(f, "{:<14}{:>10}", "Paid", report.paid)?;
    match report.refunds {
        0 => writeln!(f)?,
        1 => writeln!(f, "   of which 1 refund")?,
        refunds => writeln!(f, "   of which {refunds} refunds")?,
    }
    writeln!(f, "{:<14}{:>10}", "Already paid", report.already_paid)?;
    writeln!(f, "{:<14}{:>10}", "Duplicates", report.duplicates)?;
    writeln!(f, "{:<14}{:>10}", "Refused", report.refused)?;
    if report.unfinished > 0 {
        writeln!(f, "{:<14}{:>10}", "Unfinished", report.unfinished)?;
    }
    if report.not_sent > 0 {
        writeln!(f, "{:<14}{:>10}", "Not sent", report.not_sent)?;
    }
    Ok(())
}

fn paid(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nTotal paid, payments less refunds")?;
    let together = "together";
    let width = |text: &str| text.chars().count();
    let names = report.files.iter().map(|file| width(&file.file));
    let name_width = names.max().unwrap_or(0).max(together.len());
    let all = report
        .files
        .iter()
        .flat_map(|file| &file.totals)
        .chain(&report.totals);
    let amount_width = all.map(|total| width(&total.amount)).max().unwrap_or(0);
    let mut line = |name: &str, rows: u64, totals: &[Total]| {
        write!(f, "  {name:<name_width$}  {rows:>8} rows")?;
        for Total { amount, currency } in totals {
            write!(f, "  {amount:>amount_width$} {currency}")?;
        }
        writeln!(f)
    };
    for file in &report.files {
        line(&file.file, file.rows, &file.totals)?;
    }
    line(together, report.rows, &report.totals)
}

fn duplicates(rows: &[DuplicateRow], f: &mut Formatter<'_>) -> fmt::Result {
    if !rows.is_empty() {
        writeln!(f, "\nDuplicates")?;
    }
    for row in rows {
        writeln!(
            f,
            "  {}:{}  {} is that of {}:{}",
            row.file, row.line, row.reference, row.first_file, row.first_line
        )?;
    }
    Ok(())
}

fn noted(title: &str, rows: &[NotedRow], f: &mut Formatter<'_>) -> fmt::Result {
    if !rows.is_empty() {
        writeln!(f, "\n{title}")?;
    }
    for row in rows {
        writeln!(f, "  {}:{}  {}", row.file, row.line, row.reason)?;
    }
    Ok(())
}

fn not_sent(files: &[FileReport], f: &mut Formatter<'_>) -> fmt::Result {
    if files.iter().any(|file| file.not_sent > 0) {
        writeln!(f, "\nNot sent")?;
    }
    for file in files {
        if let Some(line) = file.not_sent_from_line {
            writeln!(
                f,
                "  {}:{line}  from here on, {} rows",
                file.file, file.not_sent
            )?;
        }
    }
    Ok(())
}

fn trial_balance(balance: Option<&TrialBalance>, f: &mut Formatter<'_>) -> fmt::Result {
    let Some(balance) = balance else {
        return Ok(());
    };
    writeln!(f, "\nTrial balance, {} transactions", balance.transactions)?;
    for total in &balance.totals {
        writeln!(
            f,
            "  {}  debits {}  credits {}  difference {}",
            total.currency, total.debits, total.credits, total.difference
        )?;
    }
    Ok(())
}

fn speed(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let milliseconds = |micros: u128| format!("{}.{} ms", micros / 1000, micros % 1000 / 100);
    let Some((p50, p99)) = report.p50_micros.zip(report.p99_micros) else {
        return Ok(());
    };
    writeln!(
        f,
        "\n{}.{} s, {} payments/s, p50 {}, p99 {}",
        report.elapsed_ms / 1000,
        report.elapsed_ms % 1000 / 100,
        report.payments_per_second,
        milliseconds(p50),
        milliseconds(p99)
    )
}

/// Calls whose rows had to ask again. Nothing when all were answered.
fn failed_calls(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let failed = report.failed_calls.iter();
    let told: Vec<String> = failed
        .map(|(why, count)| format!("{count} {why}"))
        .collect();
    match told.is_empty() {
        true => Ok(()),
        false => writeln!(f, "Calls asked again: {}", told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use money::Money;

    use super::*;
    use crate::replay::{
        reference::Reference,
        report::{Books, CurrencyTotal},
        tally::{Outcome, Place, Tally},
    };

    fn gbp(minor: i128) -> Money {
        Money::from_minor(minor, "GBP".parse().unwrap())
    }

    fn books(difference: i128) -> TrialBalance {
        TrialBalance {
            transactions: 2,
            balanced: difference == 0,
            totals: vec![CurrencyTotal {
                currency: "GBP".to_owned(),
                debits: "7.00".to_owned(),
                credits: "7.00".to_owned(),
                difference: gbp(difference).to_decimal(),
            }],
        }
    }

    fn report(outcomes: Vec<Outcome>, books: TrialBalance) -> Report {
        let mut tally = Tally::new(1);
        for (outcome, line) in outcomes.into_iter().zip(2..) {
            tally.add(Place { file: 0, line }, outcome);
        }
        let names = ["a.csv".to_owned()];
        Report::new(
            tally,
            &names,
            Books {
                trial_balance: Some(books),
                ..Books::default()
            },
            Vec::new(),
            Duration::from_secs(2),
        )
    }

    #[test]
    fn every_row_that_was_not_simply_paid_is_named() {
        let took = Duration::from_millis(4);
        let report = report(
            vec![
                Outcome::Paid {
                    amount: gbp(500),
                    took,
                },
                Outcome::Paid {
                    amount: gbp(-200),
                    took,
                },
                Outcome::AlreadyPaid {
                    amount: gbp(1),
                    took: Some(took),
                },
                Outcome::Duplicate {
                    reference: Reference::read("7 - 1").unwrap(),
                    amount: gbp(500),
                    first: Place { file: 0, line: 2 },
                    first_amount: gbp(500),
                },
                Outcome::Duplicate {
                    reference: Reference::read("7 - 1").unwrap(),
                    amount: gbp(499),
                    first: Place { file: 0, line: 2 },
                    first_amount: gbp(500),
                },
                Outcome::Refused("amount is zero".to_owned()),
            ],
            books(0),
        );
        assert!(report.finished());
        assert_eq!(
            report.to_string(),
            "Rows read              6\n\
             Paid                   2   of which 1 refund\n\
             Already paid           1\n\
             Duplicates             1\n\
             Refused                2\n\n\
             Total paid, payments less refunds\n  \
             a.csv            6 rows  3.01 GBP\n  \
             together         6 rows  3.01 GBP\n\n\
             Duplicates\n  \
             a.csv:5  7-1 is that of a.csv:2\n\n\
             Refused\n  \
             a.csv:6  7-1 is that of a.csv:2, with another amount: 4.99 GBP here, 5.00 GBP there\n  \
             a.csv:7  amount is zero\n\n\
             Trial balance, 2 transactions\n  \
             GBP  debits 7.00  credits 7.00  difference 0.00\n\n\
             2.0 s, 1 payments/s, p50 4.0 ms, p99 4.0 ms\n"
        );
    }

    #[test]
    fn a_run_with_rows_left_or_books_that_do_not_balance_did_not_finish() {
        let left = report(
            vec![
                Outcome::Unknown("Unavailable: down".to_owned()),
                Outcome::NotSent,
                Outcome::NotSent,
            ],
            books(0),
        );
        assert!(!left.finished());
        let text = left.to_string();
        assert!(text.contains("a.csv:2  Unavailable: down\n"), "{text}");
        assert!(text.contains("a.csv:3  from here on, 2 rows\n"), "{text}");

        let wrong = report(Vec::new(), books(1));
        assert!(!wrong.finished());
        assert!(
            wrong
                .to_string()
                .contains("Could not finish: the books do not balance")
        );
    }
}
