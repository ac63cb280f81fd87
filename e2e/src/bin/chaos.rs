//! Pays files through a running whole of which a random process is killed every second, the
//! registry included; then holds files, payments and ledger against each other. `just chaos FILES`.

use std::{
    io::Write as _,
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use e2e::{Chaos, Up, report};
use serde_json::{Value, json};

/// Pays files while processes are killed at random, and judges the books.
#[derive(Debug, Parser)]
struct Args {
    /// The files to pay, as `mizan replay` takes them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,

    /// Chooses who is killed.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How often one is killed, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    period_ms: u64,

    /// How many payments may be on their way at once.
    #[arg(long, default_value_t = 32)]
    concurrency: u16,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut up = Up::start();
    let mut chaos = Chaos::new(args.seed, Duration::from_millis(args.period_ms));
    let files: Vec<&str> = args.files.iter().map(String::as_str).collect();
    let concurrency = args.concurrency.to_string();
    let flags = [
        "replay",
        "--json",
        "--nothing-else",
        "--concurrency",
        &concurrency,
        // A second of outage for every kill must not end a row.
        "--patience",
        "600",
    ];
    let began = Instant::now();
    let replay = up
        .command(&[&flags[..], &files].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(replay) = replay else {
        return ExitCode::FAILURE;
    };
    let paid = chaos.during(&mut up, replay);
    // What it waited for, and why a call failed.
    let noticed = std::io::stderr().write_all(&paid.stderr);
    let (code, first) = report(&paid);
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Without anybody being killed: every row is known, and the books are as they were.
    let calm = Instant::now();
    let (again_code, again) = up.replay(&[&["--nothing-else"], &files[..]].concat());
    let calm_millis = u64::try_from(calm.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (stopped, _) = up.stop();

    let codes = [
        ("the first run", code),
        ("the second run", again_code),
        ("mizan up", stopped),
    ];
    let wrong = wrong(&codes, &first, &again);
    let right = wrong.is_empty();
    let of = |report: &Value| {
        let names = [
            "rows",
            "paid",
            "already_paid",
            "duplicates",
            "refused",
            "unfinished",
            "not_sent",
            "payments_per_second",
            "p50_micros",
            "p99_micros",
            "failed_calls",
            "trial_balance",
            "problems",
        ];
        let mut summary: Value = names
            .map(|name| (name.to_owned(), report[name].clone()))
            .into_iter()
            .collect();
        let found = &report["reconciliation"];
        summary["reconciliation"] = json!({
            "totals": found["totals"],
            "suppliers": found["supplier_count"],
            "differences": found["differences"],
        });
        summary
    };
    let summary = json!({
        "right": right,
        "wrong": wrong,
        "seed": args.seed,
        "period_ms": args.period_ms,
        "concurrency": args.concurrency,
        "elapsed_ms": millis,
        "kills": chaos.count(),
        "kills_by_process": chaos.kills,
        "first_run": of(&first),
        "second_run_ms": calm_millis,
        "second_run": of(&again),
    });
    let told = writeln!(std::io::stdout(), "{summary:#}").is_ok();
    match right && told && noticed.is_ok() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What is not as it must be: nothing, when the run is right.
fn wrong(codes: &[(&str, Option<i32>)], first: &Value, again: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    for (who, code) in codes {
        let shown = code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        must(*code == Some(0), format!("{who} ended with {shown}"));
    }
    for (which, report) in [("first", first), ("second", again)] {
        let agree = report["reconciliation"]["agree"] == true;
        must(agree, format!("the books differ after the {which} run"));
        // The channel is to hide that somebody dies: a row that has to ask again has noticed it.
        let failed = &report["failed_calls"];
        let none = *failed == json!({});
        must(none, format!("calls failed in the {which} run: {failed}"));
    }
    let known = again["already_paid"] == first["reconciliation"]["rows"];
    must(known, "the second run did not know every row".to_owned());
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Value {
        json!({
            "already_paid": 7,
            "failed_calls": {},
            "reconciliation": { "agree": true, "rows": 7 },
        })
    }

    fn judged(code: Option<i32>, spoil: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut first = run();
        spoil(&mut first);
        wrong(&[("the first run", code)], &first, &run())
    }

    #[test]
    fn a_run_is_right_only_if_nothing_is_wrong() {
        assert_eq!(judged(Some(0), |_| {}), [""; 0]);
        assert_eq!(judged(Some(3), |_| {}), ["the first run ended with code 3"]);
        assert_eq!(judged(None, |_| {}), ["the first run ended with a signal"]);
        assert_eq!(
            judged(Some(0), |first| first["reconciliation"]["rows"] = 8.into()),
            ["the second run did not know every row"]
        );
        assert_eq!(
            judged(Some(0), |first| first["reconciliation"]["agree"] =
                false.into()),
            ["the books differ after the first run"]
        );
    }

    #[test]
    fn a_call_that_failed_is_wrong_even_if_its_row_was_paid() {
        assert_eq!(
            judged(Some(0), |first| first["failed_calls"] =
                json!({"CONNECTION_LOST": 2})),
            [r#"calls failed in the first run: {"CONNECTION_LOST":2}"#]
        );
    }
}
