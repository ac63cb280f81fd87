//! `mizan zakat assess FILE`: reads, assesses, prints, and pays when asked to.

use std::{fs, io::Read as _, path::PathBuf, process::ExitCode};

use mizan::{process::chain, status};
use mizan_contracts::zakat::v1::AssessRequest;
use tonic::Status;
use tonic_types::StatusExt as _;
use zakat_svc::{Assessor, LoadError};

use super::{
    file::{Problem, Said, SaidHawl, Text},
    pay::{self, Paid, PayArgs},
    report,
};
use crate::terminal::{print, say};

/// The largest file that is read: 1000 assets have some 200 KB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Something is due that could not be computed: the report names what is missing.
const NOT_WHOLLY_COMPUTED: u8 = 3;

/// Assesses zakat on what a file lists, and prints a report. It is a calculation and not a fatwa.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes:\n  \
    0  assessed, and paid if that was asked\n  \
    3  assessed, but for parts that lack a price or a decree; nothing is paid\n  \
    1  the file, the policy or the payment was refused; standard error says why")]
pub(crate) struct Args {
    /// FILE.json says everything; FILE.csv lists holdings and debts, and flags say the rest.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The policy, such as majority-gold-85.
    #[arg(long, value_name = "ID")]
    policy: Option<String>,

    /// The day of the assessment, such as 2026-03-01.
    #[arg(long, value_name = "DATE")]
    date: Option<String>,

    /// The currency of every amount.
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,

    /// What a gram of pure gold costs.
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    gold_price: Option<String>,

    /// What a gram of pure silver costs.
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    silver_price: Option<String>,

    /// Whether a year has passed: complete, incomplete, or the day since which the nisab is owned.
    #[arg(long, value_name = "complete|incomplete|DATE")]
    hawl: Option<String>,

    /// Who owns it; keeps the payments of two owners apart that own the same.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,

    /// A folder of policies (*.json) beside those built in.
    #[arg(long, env = "MIZAN_ZAKAT_POLICIES", value_name = "FOLDER")]
    policies: Option<PathBuf>,

    /// The language of the sentences.
    #[arg(long, default_value = "en", value_parser = ["en", "id", "ar"])]
    language: String,

    #[command(flatten)]
    pay: PayArgs,
}

/// Why there is no assessment.
#[derive(Debug, thiserror::Error)]
enum AssessError {
    #[error("cannot read {path}")]
    Unreadable {
        path: String,
        source: std::io::Error,
    },
    #[error("{path}: {problem}")]
    File { path: String, problem: Problem },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Pay(#[from] pay::PayError),
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    match assess(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_WHOLLY_COMPUTED),
        Err(error) => {
            say(&format!("mizan zakat assess: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was computed, and paid if that was asked.
async fn assess(args: &Args) -> Result<bool, AssessError> {
    let path = args.file.display().to_string();
    let in_file = |problem| AssessError::File {
        path: path.clone(),
        problem,
    };
    let text = read(args).map_err(|source| AssessError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let is_csv = args
        .file
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let said = if is_csv {
        Said::of_csv(&text)
    } else {
        Said::of_json(&text)
    };
    let said = said.map_err(in_file)?.overridden_by(args.flags());
    let owner = said.owner.clone();
    let request = said.request(&args.language).map_err(in_file)?;
    let assessor = match &args.policies {
        Some(folder) => Assessor::with_folder(folder)?,
        None => Assessor::new()?,
    };
    let answer = assessor
        .assess(&request)
        .map_err(|status| AssessError::Refused(told(&status, &request, &assessor)))?;
    print(&report::text(&request, &answer, owner.as_deref()));
    if !answer.is_computed_wholly {
        return Ok(false);
    }
    if let Some(paid) = args.pay.pay(&request, &answer, owner.as_deref()).await? {
        print(&match paid {
            Paid::Nothing => "\nNothing is due in money, so nothing was paid.\n".to_owned(),
            Paid::As { payment_id, amount } => {
                format!("\nPaid {amount} as {payment_id}.\n")
            }
        });
    }
    Ok(true)
}

fn read(args: &Args) -> std::io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(&args.file)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        let problem = "it is larger than 16 MiB";
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            problem,
        ));
    }
    Ok(text)
}

impl Args {
    /// What the flags say.
    fn flags(&self) -> Said {
        let prices = [("gold", &self.gold_price), ("silver", &self.silver_price)];
        let prices = prices
            .into_iter()
            .filter_map(|(metal, price)| Some((metal.to_owned(), Text(price.clone()?))));
        Said {
            owner: self.owner.clone(),
            policy: self.policy.clone(),
            date: self.date.clone(),
            currency: self.currency.clone(),
            prices: prices.collect(),
            hawl: self.hawl.as_deref().map(SaidHawl::of_flag),
            ..Said::default()
        }
    }
}

/// A refusal with every field that is wrong, by the names that the file has for things.
fn told(status: &Status, request: &AssessRequest, assessor: &Assessor) -> String {
    if status::reason(status).as_deref() == Some("POLICY_NOT_FOUND") {
        let known: Vec<&str> = assessor.policy_ids().collect();
        let policy = &request.policy_id;
        return format!("policy {policy:?} is not one of {}", known.join(", "));
    }
    let fields = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations);
    let fields: Vec<String> = fields
        .into_iter()
        .flatten()
        .map(|violation| {
            let field = named(&violation.field, request);
            format!("{field} {}", violation.description)
        })
        .collect();
    if fields.is_empty() {
        status.message().to_owned()
    } else {
        fields.join("; ")
    }
}

/// `assets[1].metal.karat` as `assets[1] (bracelet).metal.karat`: a file has no index to look at.
fn named(field: &str, request: &AssessRequest) -> String {
    let id = field
        .split_once(['[', ']'])
        .and_then(|(list, rest)| Some((list, rest.split_once(']')?)));
    let id = id.and_then(|(list, (index, rest))| {
        let index: usize = index.parse().ok()?;
        let id = match list {
            "assets" => &request.assets.get(index)?.asset_id,
            "liabilities" => &request.liabilities.get(index)?.liability_id,
            _ => return None,
        };
        Some(format!("{list}[{index}] ({id}){rest}"))
    });
    id.unwrap_or_else(|| field.to_owned())
}
