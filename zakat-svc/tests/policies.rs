//! Policies as data: those shipped are whole, and what is not a policy is refused by its field.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{fs, path::Path};

use common::*;
use mizan_contracts::zakat::v1::{Metal, PartKind};
use serde_json::{Value, json};
use zakat_svc::{
    Assessor,
    domain::policy::{Policies, Policy},
};

const MAJORITY: &str = include_str!("../policies/majority-gold-85.json");
const BAZNAS: &str = include_str!("../policies/baznas.json");

/// The document with one value changed, as text.
fn changed(document: &str, pointer: &str, value: Value) -> String {
    let mut document: Value = serde_json::from_str(document).unwrap();
    match document.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let parent = document
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap();
            parent.insert(key.to_owned(), value);
        }
    }
    document.to_string()
}

fn refusal(document: &str) -> String {
    Policy::read(document).unwrap_err().to_string()
}

#[test]
fn what_is_not_a_policy_is_refused_by_its_field() {
    for (pointer, value, told) in [
        (
            "/schema",
            json!(2),
            "schema is not the one that this build reads",
        ),
        ("/id", json!("No Spaces"), "id is not 1 to 64"),
        ("/version", json!(0), "version is not 1 or more"),
        ("/colour", json!("green"), "unknown field `colour`"),
        ("/rate/lunar", json!("1/40"), "document is not a policy"),
        (
            "/rate/lunar/value",
            json!(0.025),
            "document is not a policy",
        ),
        ("/rate/lunar/value", json!("1/0"), "\"1/0\" is too large"),
        (
            "/rate/lunar/value",
            json!("1.1"),
            "rate.lunar is not between 0 and 1",
        ),
        (
            "/rate/lunar/value",
            json!("-0.1"),
            "rate.lunar is not between 0 and 1",
        ),
        (
            "/rate/lunar/source",
            json!("hearsay"),
            "rate.lunar names the source \"hearsay\"",
        ),
        (
            "/sources/unused",
            json!({"title": "A book"}),
            "sources.unused is named by nothing",
        ),
        (
            "/sources/mishkat-1799/title",
            json!(""),
            "sources.mishkat-1799.title is empty",
        ),
        (
            "/nisab/gold_grams/value",
            json!("0"),
            "nisab.gold_grams is not above zero",
        ),
        (
            "/nisab/metal/value",
            json!("bronze"),
            "unknown variant `bronze`",
        ),
        (
            "/hawl_dip/value",
            json!("forgets"),
            "unknown variant `forgets`",
        ),
        (
            "/crops/nisab_kg/value",
            json!("-1"),
            "crops.nisab_kg is negative",
        ),
        (
            "/rental/rate",
            json!({"value": "1/10", "source": "mishkat-1799"}),
            "rental.rate is there when",
        ),
        (
            "/rounding/units/0/currency",
            json!("XXQ"),
            "rounding.units[0].currency is not an ISO",
        ),
        (
            "/rounding/units/0/unit/value",
            json!("0.001"),
            "rounding.units[0].unit is not a whole",
        ),
        (
            "/rounding/units/0/unit/value",
            json!("0"),
            "rounding.units[0].unit is not a whole",
        ),
    ] {
        let refused = refusal(&changed(MAJORITY, pointer, value));
        assert!(refused.contains(told), "{pointer}: {refused}");
    }
    let lower = changed(MAJORITY, "/nisab/metal/value", json!("lower"));
    assert!(Policy::read(&lower).is_ok());
    let refused = refusal(&changed(&lower, "/metals/value", json!("separate")));
    assert!(refused.contains("metals cannot be separate"), "{refused}");
    assert!(refusal("{").contains("document is not a policy"));
}

#[test]
fn decrees_that_cannot_be_are_refused() {
    for (pointer, value, told) in [
        (
            "/decrees/0/from",
            json!("2026-01-01"),
            "decrees[0].until is before from",
        ),
        (
            "/decrees/1/from",
            json!("2025-12-31"),
            "decrees[1].from overlaps",
        ),
        (
            "/decrees/0/kind",
            json!("fitrah"),
            "decrees[0].kind has not the amounts",
        ),
        (
            "/decrees/0/currency",
            json!("rupiah"),
            "decrees[0].currency is not an ISO",
        ),
        ("/decrees/0/act", json!(""), "decrees[0].act is empty"),
        ("/decrees/0/from", json!("2025-02-30"), "is not a day"),
        (
            "/decrees/0/per_year/value",
            json!("0"),
            "decrees[0].amount is not above zero",
        ),
    ] {
        let refused = refusal(&changed(BAZNAS, pointer, value));
        assert!(refused.contains(told), "{pointer}: {refused}");
    }
}

#[test]
fn a_higher_version_takes_the_place_and_no_other_does() {
    let mut policies = Policies::embedded().unwrap();
    let before = policies.get("majority-gold-85").unwrap().digest.clone();
    assert!(
        policies
            .put(MAJORITY)
            .unwrap_err()
            .to_string()
            .contains("is not above 1")
    );
    policies
        .put(&changed(MAJORITY, "/version", json!(2)))
        .unwrap();
    let served = policies.get("majority-gold-85").unwrap();
    assert_eq!(served.policy.version, 2);
    assert_ne!(served.digest, before);
}

#[test]
fn a_folder_is_served_beside_what_is_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let own = changed(MAJORITY, "/id", json!("of-our-mosque"));
    put(
        "ours.json",
        &changed(&own, "/nisab/gold_grams/value", json!("87.48")),
    );
    put("notes.txt", "not a policy");
    let assessor = Assessor::with_folder(folder.path()).unwrap();
    let answer = assessor.assess(&request(
        "of-our-mosque",
        &[(Metal::Gold, "100")],
        vec![gold("86", 24)],
    ));
    assert_eq!(part(&answer.unwrap(), PartKind::Wealth).nisab, "8748");

    put("bad.json", "{}");
    let refused = Assessor::with_folder(folder.path()).unwrap_err();
    assert!(refused.to_string().ends_with("bad.json"), "{refused}");
    assert!(Assessor::with_folder(Path::new("no such folder")).is_err());
}
