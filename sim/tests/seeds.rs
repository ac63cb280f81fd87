//! Many seeds, each a process: none may break a promise.
//!
//! ```text
//! MIZAN_SIM_SEEDS=1000 cargo test -p sim     so many seeds instead of a few
//! MIZAN_SIM_FIRST=5001                       from this one on
//! MIZAN_SIM_SEED=4711 cargo test -p sim      this one alone, again
//! cargo run -p sim -- 4711 --trace           the same, told line by line
//! ```
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    env,
    io::Write as _,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use serde_json::Value;

/// How many seeds are run when nobody says: what a debug build can in well under a minute.
const SEEDS: u64 = 10;

/// What is added up over the seeds.
const FIGURES: [&str; 8] = [
    "completed",
    "refunds",
    "refunds_refused",
    "cancelled",
    "transactions",
    "calls",
    "unknown",
    "simulated_ms",
];

/// Runs a seed to its end.
fn run(seed: u64, flags: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_mizan-sim"))
        .arg(seed.to_string())
        .args(flags)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout);
    let report: Value = report.unwrap_or_else(|e| panic!("seed {seed}: {e}: {said}"));
    let is_right = violations(&report).is_empty();
    assert_eq!(output.status.success(), is_right, "seed {seed}: {said}");
    report
}

fn violations(report: &Value) -> &[Value] {
    report["violations"].as_array().unwrap()
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}

/// A number of a report, by its pointer.
fn of(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

#[test]
fn no_seed_breaks_a_promise() {
    let first = number("MIZAN_SIM_FIRST").unwrap_or(1);
    let seeds = match number("MIZAN_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("MIZAN_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let next = AtomicU64::new(seeds.start);
    let wrong = Mutex::new(Vec::new());
    let sums = Mutex::new(BTreeMap::<String, u64>::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run(seed, &[]);
                    let mut sums = sums.lock().unwrap();
                    let mut add = |name: &str, n| *sums.entry(name.to_owned()).or_default() += n;
                    add("seeds", 1);
                    add("payments", of(&report, "/payments"));
                    for figure in FIGURES {
                        add(figure, of(&report, &format!("/run/{figure}")));
                    }
                    for (kind, count) in report["faults"].as_object().unwrap() {
                        add(&format!("fault: {kind}"), count.as_u64().unwrap());
                    }
                    if !violations(&report).is_empty() {
                        wrong.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    let told = serde_json::to_string(&*sums.lock().unwrap()).unwrap();
    // Past the harness, which keeps to itself what a test prints.
    writeln!(std::io::stderr(), "simulated: {told}").unwrap();
    let wrong = wrong.into_inner().unwrap();
    let lines = wrong.iter().map(|report| {
        let seed = &report["seed"];
        format!(
            "seed {seed}: {:#?}\n  again: MIZAN_SIM_SEED={seed} cargo test -p sim, or cargo run -p sim -- {seed} --trace",
            violations(report)
        )
    });
    let lines: Vec<String> = lines.collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn a_seed_is_a_whole_run() {
    let (one, two) = (run(7, &[]), run(7, &[]));
    assert_eq!(one, two);
    assert!(one["lines"].as_u64().unwrap() > 100, "{one:#}");
    assert_ne!(one["trace"], run(8, &[])["trace"]);
}

/// What breaks the promise on purpose is seen, or the judge is blind: clients that pay again by
/// another id when they do not know.
#[test]
fn the_judge_sees_what_is_paid_twice() {
    let seen = (1..=5).any(|seed| {
        let report = run(seed, &["--careless"]);
        let told = violations(&report).iter().filter_map(Value::as_str);
        told.into_iter()
            .any(|line| line.contains("2 payments were made of it"))
    });
    assert!(seen);
}

/// Nor is it blind to what stands falsely in the books.
#[test]
fn the_judge_sees_books_that_were_falsified() {
    for (what, said) in [
        ("refund", "completed with 1 invoices and 0 transactions"),
        ("overpaid", "were paid back of"),
        ("cancel", "its cancelling was acknowledged"),
        ("journal", "the journal is damaged"),
    ] {
        let seen = (1..=20).any(|seed| {
            let report = run(seed, &["--tamper", what]);
            let mut told = violations(&report).iter().filter_map(Value::as_str);
            told.any(|line| line.contains(said))
        });
        assert!(seen, "{what}");
    }
}
