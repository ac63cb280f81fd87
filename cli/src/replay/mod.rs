//! `mizan replay`: pays every row of spending files through ProcessPayment.
//!
//! ```text
//! bytes ─ text ─ records ─ sheet (words, roles, columns) ─ row (reference, amount, date) ─ request
//!                                                                                      │
//!    report ◄── reconcile ◄── tally ◄── run (services, answer, patience) ◄── sources ◄──┘
//! ```
//!
//! Everything up to the request is pure. A row's request id derives from its transaction number
//! alone, so a run can be repeated and nothing is paid twice. A run keeps no state: it begins by
//! listing the payments that there are (`expected`, `services`), and asks only for rows that are not
//! completed among them. So it resumes where an earlier one stopped, wherever that ran and however
//! it ended. At the end, `reconcile` holds files, payments and ledger against each other.

mod amount;
pub(crate) mod answer;
mod columns;
mod date;
mod expected;
mod outage;
pub(crate) mod patience;
mod progress;
mod reconcile;
mod reconcile_report;
mod records;
mod reference;
mod report;
mod request;
mod roles;
mod row;
mod run;
mod services;
mod sheet;
mod sources;
mod tally;
mod text;
mod text_report;
mod words;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use mizan::process::chain;
use money::Currency;

use self::{
    expected::Rows,
    progress::Progress,
    report::{Books, Report},
    run::{Payer, RunError, reconcile, trial_balance},
    services::Services,
    sheet::Sheet,
};
use crate::{
    reach::RegistryArgs,
    terminal::{print_json, print_lines, say},
};

/// How long to look for a registry at most: one that is killed again and again is started again by
/// `mizan up` after up to 5 s.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(30);

/// Every row is paid.
const PAID: u8 = 0;

/// The run could not finish.
const UNFINISHED: u8 = 1;

/// Some rows were refused.
const REFUSED: u8 = 3;

/// Files, payments and ledger do not agree.
const DIFFERENT: u8 = 4;

/// Pays every row of spending files; each transaction number is paid once, however often it is run.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Exit codes:\n  \
    0  every row is paid, was paid before, or repeats another's number and amount\n  \
    1  the run could not finish, or the end of rows is not known; run it again\n  \
    3  rows were refused, or have another's number and not its amount; the report names each\n  \
    4  files, payments and ledger differ; the report names each difference")]
pub(crate) struct Args {
    /// The files: CSV, separated by commas, semicolons, tabs or bars. Columns are found by meaning.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,

    /// The currency of amounts, where no column says it.
    #[arg(long, default_value = "GBP", value_name = "CODE", value_parser = currency)]
    currency: Currency,

    /// How many payments may be on their way at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// How long to go on asking for one payment whose end is not known, in seconds. Then the others
    /// go on; the run stops when three wait in vain while none comes to its end.
    #[arg(long = "patience", default_value_t = 120, value_name = "SECONDS")]
    patience_seconds: u64,

    /// Pay nothing; only hold files, payments and ledger against each other.
    #[arg(long)]
    check: bool,

    /// Count whatever else the payments and the ledger hold as a difference.
    #[arg(long)]
    nothing_else: bool,

    /// Print the report as one JSON document.
    #[arg(long)]
    json: bool,
}

impl Args {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }
}

fn currency(code: &str) -> Result<Currency, String> {
    code.parse()
        .map_err(|_| "not an ISO 4217 currency, such as GBP".to_owned())
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    let (sources, mut problems) = sources::read(&args.files);
    let mut names = Vec::new();
    let mut sheets = Vec::new();
    for source in &sources {
        match source.sheet() {
            Ok(sheet) => {
                names.push(source.name.clone());
                sheets.push(sheet);
            }
            Err(problem) => problems.push(problem),
        }
    }
    for problem in &problems {
        complain(problem);
    }
    if sheets.is_empty() {
        return ExitCode::FAILURE;
    }
    match replay(&args, &sheets, &names, problems).await {
        Ok(report) => {
            show(&report, args.json);
            code(&report).into()
        }
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

async fn replay(
    args: &Args,
    sheets: &[Sheet<'_>],
    names: &[String],
    mut problems: Vec<String>,
) -> Result<Report, String> {
    let registry = args
        .registry
        .connect_within(args.patience().min(REGISTRY_PATIENCE));
    registry.await.map_err(|e| e.to_string())?;
    let progress = Progress::new(sheets.iter().map(Sheet::row_count).sum());
    let said = |error: RunError| {
        progress.finish();
        chain(&error)
    };
    let services = Services::new(args, &progress).map_err(|e| e.to_string())?;
    let rows = Rows::of(sheets, args.currency);
    let payer = Payer::new(args, &services, &rows, &progress).await;
    let payer = payer.map_err(said)?;
    let began = Instant::now();
    let tally = payer.pay_all(sheets).await.map_err(said)?;
    let elapsed = began.elapsed();
    let mut books = Books {
        failed_calls: services.failed_calls(),
        ..Books::default()
    };
    match trial_balance(&services).await {
        Ok(balance) => books.trial_balance = Some(balance),
        Err(why) => problems.push(format!("the trial balance is not to be had: {why}")),
    }
    // A run that was stopped has rows that are not paid, and says so.
    if tally.all_were_asked_for() {
        match reconcile(&services, &rows, args.nothing_else).await {
            Ok(found) => books.reconciliation = Some(found),
            Err(why) => problems.push(format!("the books cannot be read: {why}")),
        }
    }
    progress.finish();
    Ok(Report::new(tally, names, books, problems, elapsed))
}

fn show(report: &Report, json: bool) {
    match serde_json::to_string_pretty(report) {
        Ok(document) if json => print_json(&format!("{document}\n")),
        _ => print_lines(&report.to_string()),
    }
}

fn code(report: &Report) -> u8 {
    if !report.finished() {
        UNFINISHED
    } else if report.differs() {
        DIFFERENT
    } else if report.refused > 0 {
        REFUSED
    } else {
        PAID
    }
}

fn complain(problem: &str) {
    say(&format!("mizan replay: {problem}"));
}

#[cfg(test)]
mod tests {
    use money::Money;

    use super::{
        reconcile::{Difference, Kind, Reconciliation},
        tally::{Outcome, Place, Tally},
        *,
    };

    fn difference() -> Difference {
        Difference {
            kind: Kind::PaymentMissing,
            place: None,
            reference: String::new(),
            payment_id: String::new(),
            transaction_id: String::new(),
            files: String::new(),
            payments: String::new(),
            ledger: String::new(),
        }
    }

    /// The exit code of a run of these rows, which found so many differences.
    fn code_of(outcomes: Vec<Outcome>, differences: usize, problems: Vec<String>) -> u8 {
        let mut tally = Tally::new(1);
        for (outcome, line) in outcomes.into_iter().zip(2..) {
            tally.add(Place { file: 0, line }, outcome);
        }
        let books = Books {
            reconciliation: Some(Reconciliation {
                differences: vec![difference(); differences],
                ..Reconciliation::default()
            }),
            ..Books::default()
        };
        let names = ["a.csv".to_owned()];
        code(&Report::new(tally, &names, books, problems, Duration::ZERO))
    }

    #[test]
    fn the_exit_code_tells_the_worst_that_there_was() {
        let paid = || Outcome::AlreadyPaid {
            amount: Money::from_minor(1, "GBP".parse().unwrap()),
            took: None,
        };
        let refused = || Outcome::Refused("amount is zero".to_owned());
        let unknown = || Outcome::Unknown("no answer".to_owned());
        let problem = || vec!["the books cannot be read".to_owned()];
        assert_eq!(code_of(vec![paid()], 0, vec![]), 0);
        assert_eq!(code_of(vec![paid(), refused()], 0, vec![]), 3, "one row");
        assert_eq!(code_of(vec![refused(), refused()], 0, vec![]), 3, "two");
        assert_eq!(code_of(vec![paid()], 1, vec![]), 4, "one difference");
        assert_eq!(code_of(vec![paid(), refused()], 2, vec![]), 4, "and a row");
        assert_eq!(code_of(vec![paid(), Outcome::NotSent], 0, vec![]), 1);
        assert_eq!(code_of(vec![unknown(), refused()], 1, vec![]), 1);
        assert_eq!(code_of(vec![paid(), refused()], 1, problem()), 1);
    }
}
