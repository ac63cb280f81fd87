//! Zakat, assessed from a file and paid through the running whole.

use e2e::Up;
use serde_json::Value;

const HOUSEHOLD: &str = "../cli/tests/data/household.json";

#[test]
fn an_assessment_is_paid_once_and_to_one_amil() {
    let up = Up::start();
    let assess = |amil: &str| up.run(&["zakat", "assess", HOUSEHOLD, "--pay", "--amil", amil]);
    let paid = assess("Our mosque");
    let page = String::from_utf8(paid.stdout).unwrap();
    assert_eq!(paid.status.code(), Some(0), "{page}");
    let receipt = page.lines().last().unwrap().to_owned();
    assert!(
        receipt.starts_with("Paid 304.17 USD as zakat-"),
        "{receipt}"
    );

    // Again: the same payment, and not another.
    let again = String::from_utf8(assess("Our mosque").stdout).unwrap();
    assert_eq!(again, page);
    // To somebody else: that payment is taken, and nobody is paid twice.
    let other = assess("Another mosque");
    assert_eq!(other.status.code(), Some(1));
    let why = String::from_utf8(other.stderr).unwrap();
    assert!(why.contains("was refused"), "{why}");

    // One transaction stands in the books, and they balance.
    let (_, report) = up.replay(&["../cli/tests/data/quarter-of-2016.csv"]);
    let books = &report["trial_balance"];
    assert_eq!(books["transactions"], 1 + report["paid"].as_u64().unwrap());
    let differences: Vec<&Value> = books["totals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|total| &total["difference"])
        .collect();
    assert!(!differences.is_empty());
    assert!(differences.iter().all(|d| *d == "0.00"), "{books:#}");
    assert_eq!(up.stop().0, Some(0));
}
