//! `mizan zakat assess` as its users run it: nothing else runs.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    process::{Command, Output},
};

const HOUSEHOLD: &str = include_str!("data/household.json");
const FLAGS: [&str; 8] = [
    "--policy",
    "shafii",
    "--currency",
    "USD",
    "--date",
    "2026-03-01",
    "--gold-price",
    "100",
];

fn assess(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mizan"));
    command.args(["zakat", "assess"]).args(args);
    command.env_remove("MIZAN_ZAKAT_POLICIES").output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The exit code and the one line of what a household with one thing changed comes to.
fn told(from: &str, to: &str) -> (Option<i32>, String) {
    assert!(HOUSEHOLD.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changed.json");
    fs::write(&file, HOUSEHOLD.replace(from, to)).unwrap();
    let output = assess(&[file.to_str().unwrap()]);
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    if output.status.code() == Some(1) {
        assert!(output.stdout.is_empty(), "{}", printed(&output));
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    (output.status.code(), line + &printed(&output))
}

#[test]
fn a_json_file_says_everything() {
    let output = assess(&["tests/data/household.json"]);
    assert_eq!(output.status.code(), Some(0));
    let page = printed(&output);
    for line in [
        "owner     Aisha\n",
        "hawl      complete: from 2025-01-01, over on 2025-12-21, next over on 2026-12-10\n",
        "ring                    0             jewellery.exempt\n",
        // 9000 and 40 g of 22 karat, less 500: 12,166.67 of which a fortieth.
        "TOTAL DUE IN MONEY  304.17 USD\n",
    ] {
        assert!(page.contains(line), "{line:?} is not in\n{page}");
    }
    // The same input, the same bytes.
    assert_eq!(printed(&assess(&["tests/data/household.json"])), page);
}

#[test]
fn a_csv_file_lists_holdings_and_flags_say_the_rest() {
    let csv = ["tests/data/holdings.csv", "--hawl", "complete"];
    let output = assess(&[&csv[..], &FLAGS].concat());
    assert_eq!(output.status.code(), Some(0));
    // 9000, 3666.67 and 250; the debt is not taken off by this school.
    assert!(printed(&output).contains("TOTAL DUE IN MONEY  322.92 USD\n"));

    let incomplete = ["tests/data/holdings.csv", "--hawl", "incomplete"];
    let output = assess(&[&incomplete[..], &FLAGS].concat());
    assert!(printed(&output).contains("year not over"));
    assert!(printed(&output).contains("TOTAL DUE IN MONEY  0.00 USD\n"));
}

#[test]
fn what_is_wrong_is_told_by_its_place_in_the_file() {
    for (from, to, line) in [
        (
            "\"grams\": \"40\"",
            "\"grams\": \"-40\"",
            "assets[1] (bracelet).metal.weight_grams is negative",
        ),
        (
            "\"karat\": 22",
            "\"karat\": 25",
            "assets[1] (bracelet).metal.karat is not 1 to 24",
        ),
        (
            ", \"karat\": 22",
            "",
            "assets[1] (bracelet): karat is missing",
        ),
        (
            "\"karat\": 22",
            "\"karat\": \"22k\"",
            "karat \"22k\" is not a whole number",
        ),
        ("\"9000\"", "9000.5", "expected a string such as \"12.5\""),
        ("\"9000\"", "\"9000.555\"", "finer than the currency's"),
        (
            "\"9000\"",
            "\"-9000\"",
            "assets[0] (bank).cash.amount is negative",
        ),
        (
            "2025-01-01",
            "1990-01-01",
            "hawl.owned_since is outside the range in which the Hijri calendar is certain",
        ),
        (
            "2026-03-01",
            "2040-03-01",
            "valuation_date is outside the range in which the Hijri calendar is certain",
        ),
        ("2026-03-01", "2026-02-30", "is not a day"),
        (
            "majority-gold-85",
            "majority",
            "policy \"majority\" is not one of baznas, hanafi-silver-595,",
        ),
        ("\"policy\": \"majority-gold-85\",", "", "policy is missing"),
        ("\"cash\"", "\"horse\"", "assets[0] (bank): kind \"horse\""),
        ("\"owner\"", "\"ownr\"", "unknown field `ownr`"),
    ] {
        let (code, said) = told(from, to);
        assert_eq!(code, Some(1), "{to}: {said}");
        assert!(said.contains(line), "{to}: {said}");
    }
}

#[test]
fn a_price_that_is_needed_and_missing_is_named_and_nothing_is_paid() {
    let (code, said) = told("\"gold\": \"100\"", "\"silver\": \"1\"");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("missing: prices[gold]"), "{said}");

    // What needs only the other metal is computed: silver stands apart in this school.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coins.csv");
    let coins = "id,kind,amount,grams,karat\nbank,cash,9000,,\ncoins,silver,,700,24\n";
    fs::write(&file, coins).unwrap();
    let args = [
        file.to_str().unwrap(),
        "--hawl",
        "complete",
        "--pay",
        "--amil",
        "Mosque",
    ];
    let output = assess(&[&args[..], &FLAGS].concat());
    assert_eq!(output.status.code(), Some(3));
    let page = printed(&output);
    assert!(page.contains("missing: prices[silver]"), "{page}");
    assert!(page.contains("TOTAL DUE IN MONEY  225.00 USD\n"), "{page}");
    assert!(!page.contains("Paid"), "{page}");
}

#[test]
fn a_file_that_lists_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.csv");
    fs::write(&file, "id,kind,amount\n").unwrap();
    let output = assess(&[&[file.to_str().unwrap()][..], &FLAGS].concat());
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("lists nothing that is owned"), "{line}");
}
