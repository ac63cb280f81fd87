//! The oracles O1 to O21 (numbers of others, checked by hand), as whole assessments.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use mizan_contracts::zakat::v1::{
    self as proto, AssessRequest, Asset, DebtTerm, IncomePeriod, Metal, MetalUse, PartKind,
    PartState, PensionAccess, ShareIntent, Watering, asset::Kind, metal_holding::Purity,
};

const GOLD: PartKind = PartKind::Wealth;

fn wealth_due(request: &AssessRequest) -> (String, String) {
    let answer = assessor().assess(request).unwrap();
    assert!(answer.is_computed_wholly);
    due(&answer, PartKind::Wealth)
}

fn exact(request: &AssessRequest) -> String {
    wealth_due(request).0
}

#[test]
fn o1_to_o3_gold() {
    let prices = [(Metal::Gold, "100")];
    for (asset, expected) in [
        (gold("100", 24), "250"),
        (gold("100", 18), "0"),
        (gold("85", 24), "212.5"),
        (gold("84.99", 24), "0"),
    ] {
        let request = request("majority-gold-85", &prices, vec![asset]);
        assert_eq!(exact(&request), expected);
        let answer = assessor().assess(&request).unwrap();
        assert_eq!(part(&answer, GOLD).nisab, "8500");
    }
}

#[test]
fn o4_a_debt_counts_by_the_policy() {
    let mut asked = request(
        "majority-gold-85",
        &[(Metal::Gold, "100")],
        vec![gold("100", 24)],
    );
    asked.liabilities = vec![debt("loan", "2000", DebtTerm::DueNow)];
    assert_eq!(exact(&asked), "0");
    let answer = assessor().assess(&asked).unwrap();
    assert_eq!(part(&answer, PartKind::Wealth).base, "8000");
    asked.policy_id = "shafii".to_owned();
    assert_eq!(exact(&asked), "250");
}

#[test]
fn o5_silver_by_its_fineness() {
    let silver = metal(
        "silver",
        Metal::Silver,
        "650",
        Purity::Fineness("925".to_owned()),
    );
    let request = request("hanafi-silver-595", &[(Metal::Silver, "1")], vec![silver]);
    let answer = assessor().assess(&request).unwrap();
    assert_eq!(answer.assets[0].value, "601.25");
    // Exactly, and to the cent above.
    assert_eq!(
        due(&answer, PartKind::Wealth),
        ("15.03125".to_owned(), "15.04".to_owned())
    );
}

#[test]
fn o6_a_business() {
    let receivable = proto::Receivable {
        amount: usd("2000"),
        quality: proto::ReceivableQuality::Good.into(),
    };
    let assets = vec![
        cash("5000"),
        goods("stock", "3000"),
        asset("customers", Kind::Receivable(receivable)),
    ];
    let request = request("majority-gold-85", &[(Metal::Gold, "100")], assets);
    assert_eq!(exact(&request), "250");
}

#[test]
fn o7_and_o8_the_metal_decides() {
    let prices = [(Metal::Gold, "100"), (Metal::Silver, "1")];
    for (policy, amount, expected) in [
        ("hanafi-silver-595", "1000", "25"),
        ("shafii", "1000", "0"),
        ("hanafi-silver-595", "594", "0"),
        ("hanafi-silver-595", "595", "14.875"),
        ("test-lower", "1000", "25"),
    ] {
        let request = request(policy, &prices, vec![cash(amount)]);
        assert_eq!(exact(&request), expected, "{policy} {amount}");
    }
}

#[test]
fn o9_the_lower_of_both_metals() {
    let shares = proto::Shares {
        market_value: usd("25000"),
        intent: ShareIntent::Trading.into(),
        zakatable_assets: None,
    };
    let prices = [(Metal::Gold, "95"), (Metal::Silver, "1.05")];
    let assets = vec![
        cash("50000"),
        gold("100", 24),
        asset("shares", Kind::Shares(shares)),
    ];
    let mut asked = request("test-lower", &prices, assets);
    asked.liabilities = vec![debt("loan", "5000", DebtTerm::WithinYear)];
    let answer = assessor().assess(&asked).unwrap();
    let wealth = part(&answer, PartKind::Wealth);
    assert_eq!(
        (&*wealth.nisab, &*wealth.base, &*wealth.due_exact),
        ("624.75", "79500", "1987.5")
    );
}

#[test]
fn o10_and_o11_tola() {
    let asked = request(
        "hanafi-silver-612",
        &[(Metal::Silver, "7.81")],
        vec![cash("4782.54")],
    );
    let answer = assessor().assess(&asked).unwrap();
    // The page rounds it to 4,782.53 and then down; nothing is rounded here before the end.
    assert_eq!(part(&answer, PartKind::Wealth).nisab, "4782.5316");
    assert_eq!(exact(&asked), "119.5635");
    let below = request(
        "hanafi-silver-612",
        &[(Metal::Silver, "7.81")],
        vec![cash("4782.53")],
    );
    assert_eq!(exact(&below), "0");
    let prices = [(Metal::Gold, "534"), (Metal::Silver, "7.81")];
    assert_eq!(
        exact(&request(
            "hanafi-silver-612",
            &prices,
            vec![gold("111", 24)]
        )),
        "1481.85"
    );
}

fn crop(kg: &str, watering: Watering) -> Asset {
    let crop = proto::Crop {
        weight_kg: kg.to_owned(),
        watering: watering.into(),
        price_per_kg: String::new(),
    };
    asset("rice", Kind::Crop(crop))
}

#[test]
fn o12_crops() {
    for (kg, watering, expected) in [
        ("700", Watering::Rain, Some("70")),
        ("700", Watering::Irrigated, Some("35")),
        ("700", Watering::Mixed, Some("52.5")),
        ("653", Watering::Rain, Some("65.3")),
        ("652.999", Watering::Rain, None),
        ("650", Watering::Rain, None),
        ("1000", Watering::Rain, Some("100")),
        ("1000", Watering::Irrigated, Some("50")),
    ] {
        let answer = assessor().assess(&request("majority-gold-85", &[], vec![crop(kg, watering)]));
        let answer = answer.unwrap();
        let crop = part(&answer, PartKind::Crop);
        let given = crop
            .alternatives
            .first()
            .map(|bundle| bundle.items[0].quantity.as_str());
        assert_eq!(given, expected, "{kg} kg");
        assert_eq!(crop.state() == PartState::Due, expected.is_some());
        assert_eq!(crop.due, None);
    }
    // Abu Hanifa has no nisab for crops.
    let answer = assessor().assess(&request(
        "hanafi-silver-595",
        &[],
        vec![crop("10", Watering::Rain)],
    ));
    let answer = answer.unwrap();
    assert_eq!(
        part(&answer, PartKind::Crop).alternatives[0].items[0].quantity,
        "1"
    );
}

fn income(period: IncomePeriod, gross: &str, needs: &str, currency: &str) -> Asset {
    let income = proto::Income {
        period: period.into(),
        gross: money(gross, currency),
        needs: money(needs, currency),
    };
    asset("salary", Kind::Income(income))
}

#[test]
fn o13_income_against_the_nisab_of_silver() {
    for (period, gross, needs, expected) in [
        (IncomePeriod::Year, "144000", "48000", "2400"),
        (IncomePeriod::Month, "7734", "0", "193.35"),
        (IncomePeriod::Month, "6734", "0", "0"),
    ] {
        let asked = request(
            "test-income",
            &[(Metal::Silver, "12")],
            vec![income(period, gross, needs, "USD")],
        );
        let answer = assessor().assess(&asked).unwrap();
        assert_eq!(part(&answer, PartKind::Income).nisab, "7140");
        assert_eq!(due(&answer, PartKind::Income).0, expected);
    }
}

fn baznas(date: &str, asset: Asset) -> AssessRequest {
    AssessRequest {
        currency_code: "IDR".to_owned(),
        valuation_date: Some(day(date)),
        hawl: None,
        ..request("baznas", &[], vec![asset])
    }
}

/// O14, O15: the year's decree decides, and whole rupiah are paid.
#[test]
fn o14_and_o15_income_by_decree() {
    for (date, salary, exact, rounded) in [
        ("2025-07-01", "7500000", "187500", "187500.00"),
        ("2026-07-01", "7500000", "0", "0.00"),
        ("2025-07-01", "7140497", "0", "0.00"),
        ("2025-07-01", "7140498", "178512.45", "178513.00"),
        ("2025-12-31", "7140498", "178512.45", "178513.00"),
        ("2026-01-01", "7640144", "191003.6", "191004.00"),
    ] {
        let request = baznas(date, income(IncomePeriod::Month, salary, "0", "IDR"));
        let answer = assessor().assess(&request).unwrap();
        assert_eq!(
            due(&answer, PartKind::Income),
            (exact.to_owned(), rounded.to_owned()),
            "{date} {salary}"
        );
    }
    for (date, nisab) in [("2025-07-01", "85685972"), ("2026-07-01", "91681728")] {
        let request = baznas(date, income(IncomePeriod::Year, nisab, "0", "IDR"));
        let answer = assessor().assess(&request).unwrap();
        assert_eq!(part(&answer, PartKind::Income).nisab, nisab);
        assert_eq!(part(&answer, PartKind::Income).state(), PartState::Due);
    }
}

/// A year without a decree is not guessed.
#[test]
fn income_of_a_year_without_a_decree_is_not_computed() {
    let request = baznas(
        "2027-01-01",
        income(IncomePeriod::Month, "9000000", "0", "IDR"),
    );
    let answer = assessor().assess(&request).unwrap();
    let part = part(&answer, PartKind::Income);
    assert_eq!(
        (part.state(), &*part.missing),
        (PartState::NotComputed, &["decree".to_owned()][..])
    );
    assert!(!answer.is_computed_wholly);
}

#[test]
fn o16_fitrah() {
    let fitrah = |form: proto::FitrahForm, region: &str| {
        let fitrah = proto::Fitrah {
            persons: 4,
            form: form.into(),
            region: region.to_owned(),
        };
        asset("household", Kind::Fitrah(fitrah))
    };
    let in_money = baznas(
        "2025-03-20",
        fitrah(proto::FitrahForm::Money, "jabodetabek"),
    );
    let answer = assessor().assess(&in_money).unwrap();
    assert_eq!(
        due(&answer, PartKind::Fitrah),
        ("188000".to_owned(), "188000.00".to_owned())
    );
    let in_2022 = baznas(
        "2022-04-20",
        fitrah(proto::FitrahForm::Money, "jabodetabek"),
    );
    assert_eq!(
        due(&assessor().assess(&in_2022).unwrap(), PartKind::Fitrah).0,
        "180000"
    );
    let in_rice = baznas("2025-03-20", fitrah(proto::FitrahForm::InKind, ""));
    let answer = assessor().assess(&in_rice).unwrap();
    assert_eq!(
        part(&answer, PartKind::Fitrah).alternatives[0].items[0].quantity,
        "10"
    );
    let elsewhere = baznas("2025-03-20", fitrah(proto::FitrahForm::Money, "papua"));
    let answer = assessor().assess(&elsewhere).unwrap();
    assert_eq!(part(&answer, PartKind::Fitrah).missing, ["decree"]);
}

/// "Ahmed": 100,000 of cash, a pension of 200,000 of which taxes and penalties would take 70,000,
/// long-term shares of 150,000, worn jewellery of 10,000, debts of 65,000 of which 10,000 are due.
fn ahmed(policy: &str, access: PensionAccess) -> AssessRequest {
    let jewellery = proto::MetalHolding {
        metal: Metal::Gold.into(),
        weight_grams: "100".to_owned(),
        purity: Some(Purity::Karat(24)),
        r#use: MetalUse::Worn.into(),
    };
    let pension = proto::Pension {
        balance: usd("200000"),
        deductions: usd("70000"),
        access: access.into(),
    };
    let shares = proto::Shares {
        market_value: usd("150000"),
        intent: ShareIntent::LongTerm.into(),
        zakatable_assets: None,
    };
    let assets = vec![
        cash("100000"),
        asset("401k", Kind::Pension(pension)),
        asset("shares", Kind::Shares(shares)),
        asset("jewellery", Kind::Metal(jewellery)),
    ];
    AssessRequest {
        liabilities: vec![
            debt("due", "10000", DebtTerm::DueNow),
            debt("of the year", "55000", DebtTerm::WithinYear),
        ],
        ..request(
            policy,
            &[(Metal::Gold, "100"), (Metal::Silver, "1")],
            assets,
        )
    }
}

#[test]
fn o17_one_household_in_five_schools() {
    let accessible = PensionAccess::Accessible;
    for (policy, access, net, expected) in [
        ("hanafi-silver-595", accessible, "325000", "8125"),
        ("shafii", accessible, "380000", "9500"),
        ("test-bradford", PensionAccess::Locked, "90000", "2250"),
        ("test-amja", accessible, "220000", "5500"),
    ] {
        let answer = assessor().assess(&ahmed(policy, access)).unwrap();
        let wealth = part(&answer, PartKind::Wealth);
        assert_eq!(
            (&*wealth.base, &*wealth.due_exact),
            (net, expected),
            "{policy}"
        );
    }
    // With 24,000 of rent, which has a rate of its own: 210,000 at 1/40 and 24,000 at 1/10.
    let mut asked = ahmed("test-qaradawi", accessible);
    let rental = proto::Rental {
        net_income: usd("24000"),
    };
    asked.assets.push(asset("flat", Kind::Rental(rental)));
    let answer = assessor().assess(&asked).unwrap();
    assert_eq!(due(&answer, PartKind::Wealth).0, "5250");
    assert_eq!(due(&answer, PartKind::Rental).0, "2400");
    assert_eq!(decimal(answer.total_due.as_ref()), "7650.00");
}

/// O18 and O19 are the tables of tests/livestock.rs; here, that an assessment carries them.
#[test]
fn o18_and_o19_herds_within_an_assessment() {
    let herd = |species: proto::Species, count, complete| {
        let herd = proto::Herd {
            species: species.into(),
            count,
            husbandry: proto::Husbandry::Grazing.into(),
            hawl: stated(complete),
        };
        asset("herd", Kind::Herd(herd))
    };
    let assess = |asset| {
        assessor()
            .assess(&request("majority-gold-85", &[], vec![asset]))
            .unwrap()
    };
    let camels = assess(herd(proto::Species::Camels, 200, true));
    let alternatives = &part(&camels, PartKind::Herd).alternatives;
    let quantities: Vec<_> = alternatives
        .iter()
        .map(|a| (a.items[0].item(), &*a.items[0].quantity))
        .collect();
    assert_eq!(
        quantities,
        [(proto::Item::Hiqqah, "4"), (proto::Item::BintLabun, "5")]
    );
    let cattle = assess(herd(proto::Species::Cattle, 120, true));
    assert_eq!(part(&cattle, PartKind::Herd).alternatives.len(), 2);
    let young = assess(herd(proto::Species::Cattle, 120, false));
    assert_eq!(
        part(&young, PartKind::Herd).state(),
        PartState::HawlIncomplete
    );
}

#[test]
fn o20_a_hawl_of_354_days() {
    let since = |on: &str| {
        let known = proto::hawl::Known::OwnedSince(day("2026-01-01"));
        AssessRequest {
            valuation_date: Some(day(on)),
            hawl: Some(proto::Hawl { known: Some(known) }),
            ..request(
                "majority-gold-85",
                &[(Metal::Gold, "100")],
                vec![gold("100", 24)],
            )
        }
    };
    let early = assessor().assess(&since("2026-12-20")).unwrap();
    assert_eq!(
        part(&early, PartKind::Wealth).state(),
        PartState::HawlIncomplete
    );
    let hawl = early.hawl.unwrap();
    assert_eq!(
        (hawl.is_complete, hawl.completes),
        (false, Some(day("2026-12-21")))
    );
    assert_eq!(hawl.calendar, "umm-al-qura/icu4x-2.4.0/1420-1450");
    let due = assessor().assess(&since("2026-12-21")).unwrap();
    assert_eq!(part(&due, PartKind::Wealth).due_exact, "250");
}

#[test]
fn o21_treasure() {
    let rikaz = proto::Rikaz { value: usd("1000") };
    let mut asked = request(
        "majority-gold-85",
        &[],
        vec![asset("hoard", Kind::Rikaz(rikaz))],
    );
    asked.liabilities = vec![debt("loan", "5000", DebtTerm::DueNow)];
    asked.hawl = None;
    let answer = assessor().assess(&asked).unwrap();
    assert_eq!(due(&answer, PartKind::Rikaz).0, "200");
}

/// What is owned just reaches the nisab when it is the nisab, in the past as on the day: against
/// that of the valuation date, and against one that the balance names.
#[test]
fn a_balance_exactly_at_the_nisab_begins_the_year() {
    for (nisab, wealth, complete) in [
        (None, "8500", true),
        (None, "8499.99", false),
        (Some("8000"), "8000", true),
        (Some("8000"), "7999.99", false),
        (Some("9000"), "8999.99", false),
    ] {
        let balance = proto::Balance {
            date: Some(day("2025-01-01")),
            wealth: usd(wealth),
            nisab: nisab.and_then(usd),
        };
        let balances = vec![balance];
        let asked = AssessRequest {
            hawl: Some(proto::Hawl {
                known: Some(proto::hawl::Known::History(proto::BalanceHistory {
                    balances,
                })),
            }),
            ..request(
                "majority-gold-85",
                &[(Metal::Gold, "100")],
                vec![cash("8500")],
            )
        };
        let answer = assessor().assess(&asked).unwrap();
        let due = due(&answer, PartKind::Wealth).1;
        let wanted = if complete { "212.50" } else { "0.00" };
        assert_eq!(due, wanted, "{wealth} of {nisab:?}");
    }
}
