//! What is wrong with a request is told field by field; what is missing leaves open only its part.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use mizan::status;
use mizan_contracts::zakat::v1::{
    self as proto, AssessRequest, Metal, PartKind, PartState, asset::Kind, metal_holding::Purity,
};
use tonic::Code;

#[test]
fn everything_that_is_wrong_is_told() {
    let fields: Vec<String> = told(&AssessRequest::default())
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, ["currency_code", "policy_id", "valuation_date"]);

    let mut bad = hundred_grams();
    bad.assets = vec![
        gold("-1", 24),
        gold("1", 25),
        gold("1", 0),
        gold("1e3", 24),
        asset("nothing", Kind::Cash(proto::Cash { amount: None })),
    ];
    bad.assets[4].asset_id = String::new();
    bad.prices.push(bad.prices[0].clone());
    let rows = told(&bad);
    let expected = [
        ("prices[1].metal", "is given twice"),
        ("assets[0].metal.weight_grams", "is negative"),
        ("assets[1].asset_id", "is given twice"),
        ("assets[1].metal.karat", "is not 1 to 24"),
        ("assets[2].asset_id", "is given twice"),
        ("assets[2].metal.karat", "is not 1 to 24"),
        ("assets[3].asset_id", "is given twice"),
        ("assets[3].metal.weight_grams", "is not a decimal number"),
        ("assets[4].asset_id", "is not 1 to 64 printable characters"),
        ("assets[4].cash.amount", "is required"),
    ];
    let rows: Vec<_> = rows
        .iter()
        .map(|(field, description)| (&**field, &**description))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn a_hawl_is_asked_for_as_soon_as_something_has_one() {
    let without = AssessRequest {
        hawl: None,
        ..hundred_grams()
    };
    let rows = told(&without);
    assert_eq!(rows[0].0, "hawl");
    assert!(rows[0].1.starts_with("is required"));
}

#[test]
fn days_outside_the_calendar_are_refused_by_name() {
    let since = |from: &str, on: &str| {
        let known = proto::hawl::Known::OwnedSince(day(from));
        let hawl = Some(proto::Hawl { known: Some(known) });
        AssessRequest {
            hawl,
            valuation_date: Some(day(on)),
            ..hundred_grams()
        }
    };
    let range =
        "is outside the range in which the Hijri calendar is certain, 1999-04-17 to 2029-05-13";
    for (from, on, field) in [
        ("1999-04-16", "2020-01-01", "hawl.owned_since"),
        ("2028-01-01", "2029-05-14", "valuation_date"),
    ] {
        assert_eq!(
            told(&since(from, on)),
            [(field.to_owned(), range.to_owned())]
        );
    }
    let backwards = told(&since("2026-03-02", "2026-03-01"));
    assert_eq!(
        backwards,
        [(
            "hawl.owned_since".to_owned(),
            "is after the valuation date".to_owned()
        )]
    );
    // Where nobody asks the calendar, the day may be any.
    let stated = AssessRequest {
        valuation_date: Some(day("2100-01-01")),
        ..hundred_grams()
    };
    let answer = assessor().assess(&stated).unwrap();
    assert_eq!(answer.valuation_date_hijri, None);
    assert_eq!(due(&answer, PartKind::Wealth).0, "250");
    let no_day = AssessRequest {
        valuation_date: Some(day("2026-02-30")),
        ..hundred_grams()
    };
    assert_eq!(told(&no_day)[0].0, "valuation_date");
}

#[test]
fn a_missing_price_is_named_and_the_rest_is_computed() {
    let silver = metal("silver", Metal::Silver, "1000", Purity::Karat(24));
    // The metals stand apart, so gold and money are computed without the price of silver.
    let asked = request(
        "shafii",
        &[(Metal::Gold, "100")],
        vec![gold("100", 24), silver.clone(), cash("500")],
    );
    let answer = assessor().assess(&asked).unwrap();
    assert_eq!(due(&answer, PartKind::Wealth).0, "262.5");
    let alone = part(&answer, PartKind::Metal);
    assert_eq!(
        (alone.state(), &*alone.missing),
        (PartState::NotComputed, &["prices[silver]".to_owned()][..])
    );
    assert!(!answer.is_computed_wholly);
    assert_eq!(decimal(answer.total_due.as_ref()), "262.50");
    // And silver by itself, once there is a price: 1000 g above its own 595.
    let prices = [(Metal::Gold, "100"), (Metal::Silver, "1")];
    let answer = assessor()
        .assess(&request("shafii", &prices, vec![silver]))
        .unwrap();
    assert_eq!(due(&answer, PartKind::Metal).0, "25");
    // Counted together, one unpriced holding leaves the whole open; treasure needs no price.
    let rikaz = asset("hoard", Kind::Rikaz(proto::Rikaz { value: usd("1000") }));
    let asked = request(
        "hanafi-silver-595",
        &[(Metal::Gold, "100")],
        vec![gold("100", 24), rikaz],
    );
    let answer = assessor().assess(&asked).unwrap();
    assert_eq!(part(&answer, PartKind::Wealth).missing, ["prices[silver]"]);
    assert_eq!(decimal(answer.total_due.as_ref()), "200.00");
}

#[test]
fn a_policy_is_asked_for_by_its_version() {
    let served = AssessRequest {
        policy_version: 1,
        ..hundred_grams()
    };
    assert_eq!(assessor().assess(&served).unwrap().policy_version, 1);
    let other = AssessRequest {
        policy_version: 2,
        ..hundred_grams()
    };
    let refused = assessor().assess(&other).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        status::reason(&refused).as_deref(),
        Some("POLICY_VERSION_MISMATCH")
    );
}

#[test]
fn a_figure_that_does_not_fit_is_refused_and_not_wrapped() {
    let huge = "999999999999999999";
    let asked = request(
        "majority-gold-85",
        &[(Metal::Gold, huge)],
        vec![gold(huge, 24)],
    );
    let refused = told(&asked);
    assert_eq!(refused[0].0, "assets");
}
