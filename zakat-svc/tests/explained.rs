//! Answers explain themselves, whatever is owned and under whichever policy.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::*;
use mizan_contracts::zakat::v1::{
    self as proto, AssessRequest, AssessmentView, Husbandry, Metal, PartKind, Species, asset::Kind,
    metal_holding::Purity,
};
use prost::Message as _;

/// Every kind of asset under every policy: each step is told in three languages with nothing left
/// open, and every source that a step names is there.
#[test]
fn every_answer_explains_itself() {
    let assessor = assessor();
    let mut rules = BTreeSet::new();
    for policy in [
        "baznas",
        "hanafi-silver-595",
        "hanbali",
        "majority-gold-85",
        "maliki",
        "shafii",
        "test-income",
        "test-lower",
        "test-qaradawi",
    ] {
        for asked in varied(policy) {
            let Ok(answer) = assessor.assess(&asked) else {
                continue;
            };
            let sources: BTreeSet<_> = answer
                .sources
                .iter()
                .map(|source| &source.source_id)
                .collect();
            for step in &answer.steps {
                rules.insert(step.rule_id.clone());
                assert!(
                    step.source_ids.iter().all(|id| sources.contains(id)),
                    "{step:?}"
                );
                assert!(step.result.is_some());
                let languages: Vec<_> = step.sentences.iter().map(|s| &*s.language).collect();
                assert_eq!(languages, ["en", "id", "ar"]);
                for sentence in &step.sentences {
                    assert!(
                        !sentence.text.contains(['{', '}']),
                        "{}: {}",
                        step.rule_id,
                        sentence.text
                    );
                    assert!(sentence.text.len() > 10 && sentence.text != step.rule_id);
                }
            }
            assert_eq!(answer.notice.len(), 3);
            assert!(answer.notice[0].text.contains("not a fatwa"));
            // The short view says the same, without the steps.
            let short = AssessRequest {
                view: AssessmentView::Summary.into(),
                ..asked
            };
            let short = assessor.assess(&short).unwrap();
            assert_eq!(
                (&short.parts, &short.assets, &short.total_due),
                (&answer.parts, &answer.assets, &answer.total_due)
            );
            assert!(short.steps.is_empty() && short.sources.is_empty() && !short.notice.is_empty());
        }
    }
    // Every sentence of the catalogue was needed.
    let catalogue: serde_json::Value =
        serde_json::from_str(include_str!("../data/sentences.json")).unwrap();
    for rule in catalogue["rules"].as_object().unwrap().keys() {
        let family = rule.trim_end_matches('*');
        let fired = rules
            .iter()
            .any(|fired| fired == rule || (family != rule && fired.starts_with(family)));
        assert!(fired || rule == "rounding.nearest", "{rule} never fired");
    }
}

/// Requests that between them touch every rule.
fn varied(policy: &str) -> Vec<AssessRequest> {
    let currency = if policy == "baznas" { "IDR" } else { "USD" };
    let amount = |text: &str| money(text, currency);
    let worn = |id: &str, grams: &str| {
        let mut holding = metal(id, Metal::Gold, grams, Purity::Fineness("916.7".to_owned()));
        if let Some(Kind::Metal(metal)) = &mut holding.kind {
            metal.r#use = proto::MetalUse::Worn.into();
        }
        holding
    };
    let receivable = |id: &str, quality: proto::ReceivableQuality| {
        asset(
            id,
            Kind::Receivable(proto::Receivable {
                amount: amount("100"),
                quality: quality.into(),
            }),
        )
    };
    let shares = |id: &str, intent: proto::ShareIntent, sheet: Option<&str>| {
        let zakatable_assets = sheet.and_then(amount);
        asset(
            id,
            Kind::Shares(proto::Shares {
                market_value: amount("1000"),
                intent: intent.into(),
                zakatable_assets,
            }),
        )
    };
    let pension = |id: &str, access: proto::PensionAccess| {
        asset(
            id,
            Kind::Pension(proto::Pension {
                balance: amount("1000"),
                deductions: amount("100"),
                access: access.into(),
            }),
        )
    };
    let herd = |id: &str, species: Species, count, husbandry: Husbandry, hawl| {
        asset(
            id,
            Kind::Herd(proto::Herd {
                species: species.into(),
                count,
                husbandry: husbandry.into(),
                hawl,
            }),
        )
    };
    let since = |date: &str| {
        Some(proto::Hawl {
            known: Some(proto::hawl::Known::OwnedSince(day(date))),
        })
    };
    let crop = |id: &str, kg: &str, watering: proto::Watering, price: &str| {
        asset(
            id,
            Kind::Crop(proto::Crop {
                weight_kg: kg.to_owned(),
                watering: watering.into(),
                price_per_kg: price.to_owned(),
            }),
        )
    };
    let income = |id: &str, gross: &str, period: proto::IncomePeriod| {
        asset(
            id,
            Kind::Income(proto::Income {
                period: period.into(),
                gross: amount(gross),
                needs: None,
            }),
        )
    };
    let fitrah = |id: &str, form: proto::FitrahForm, region: &str| {
        asset(
            id,
            Kind::Fitrah(proto::Fitrah {
                persons: 3,
                form: form.into(),
                region: region.to_owned(),
            }),
        )
    };
    let assets = vec![
        metal("gold", Metal::Gold, "33.333", Purity::Karat(22)),
        metal(
            "silver",
            Metal::Silver,
            "700",
            Purity::Fineness("925".to_owned()),
        ),
        worn("necklace", "12.5"),
        asset(
            "cash",
            Kind::Cash(proto::Cash {
                amount: amount("100000.33"),
            }),
        ),
        receivable("friend", proto::ReceivableQuality::Good),
        receivable("shop", proto::ReceivableQuality::Doubtful),
        receivable("gone", proto::ReceivableQuality::Bad),
        asset(
            "stock",
            Kind::TradeGoods(proto::TradeGoods {
                market_value: amount("333.33"),
            }),
        ),
        shares("trade", proto::ShareIntent::Trading, None),
        shares("keep", proto::ShareIntent::LongTerm, None),
        shares("sheet", proto::ShareIntent::LongTerm, Some("123.45")),
        asset(
            "fund",
            Kind::Fund(proto::Fund {
                market_value: amount("1000"),
                zakatable_fraction: "0.4".to_owned(),
            }),
        ),
        asset(
            "coins",
            Kind::Crypto(proto::Crypto {
                market_value: amount("77.77"),
            }),
        ),
        pension("open", proto::PensionAccess::Accessible),
        pension("shut", proto::PensionAccess::Locked),
        asset(
            "flat",
            Kind::Rental(proto::Rental {
                net_income: amount("99999"),
            }),
        ),
        income("salary", "9000000", proto::IncomePeriod::Month),
        income("small", "1", proto::IncomePeriod::Year),
        crop("rice", "1000.5", proto::Watering::Mixed, "0.333"),
        crop("dates", "1", proto::Watering::Irrigated, ""),
        crop("no dates", "0", proto::Watering::Rain, ""),
        herd(
            "camels",
            Species::Camels,
            200,
            Husbandry::Grazing,
            stated(true),
        ),
        herd(
            "cows",
            Species::Cattle,
            50,
            Husbandry::Fed,
            since("2020-01-01"),
        ),
        herd(
            "lambs",
            Species::Sheep,
            50,
            Husbandry::Grazing,
            since("2025-03-01"),
        ),
        herd(
            "goats",
            Species::Sheep,
            50,
            Husbandry::Grazing,
            stated(false),
        ),
        herd("few", Species::Sheep, 5, Husbandry::Grazing, stated(true)),
        asset(
            "ore",
            Kind::Mineral(proto::Mineral {
                value: amount("12345.67"),
            }),
        ),
        asset(
            "hoard",
            Kind::Rikaz(proto::Rikaz {
                value: amount("0.01"),
            }),
        ),
        fitrah("household", proto::FitrahForm::InKind, ""),
    ];
    let base = AssessRequest {
        currency_code: currency.to_owned(),
        valuation_date: Some(day("2025-06-01")),
        liabilities: vec![
            proto::Liability {
                liability_id: "loan".to_owned(),
                amount: amount("10"),
                term: proto::DebtTerm::DueNow.into(),
            },
            proto::Liability {
                liability_id: "house".to_owned(),
                amount: amount("5000"),
                term: proto::DebtTerm::Later.into(),
            },
            proto::Liability {
                liability_id: "car".to_owned(),
                amount: amount("500"),
                term: proto::DebtTerm::WithinYear.into(),
            },
        ],
        ..request(
            policy,
            &[(Metal::Gold, "100"), (Metal::Silver, "1")],
            assets,
        )
    };
    let balance = |date: &str, wealth: &str| proto::Balance {
        date: Some(day(date)),
        wealth: amount(wealth),
        nisab: None,
    };
    let history = |balances: Vec<proto::Balance>| {
        Some(proto::Hawl {
            known: Some(proto::hawl::Known::History(proto::BalanceHistory {
                balances,
            })),
        })
    };
    let mut all = vec![
        base.clone(),
        AssessRequest {
            hawl: since("2024-02-01"),
            year_basis: proto::YearBasis::Solar.into(),
            ..base.clone()
        },
        AssessRequest {
            hawl: since("2025-02-01"),
            ..base.clone()
        },
        AssessRequest {
            hawl: history(vec![
                balance("2024-01-01", "1000000"),
                balance("2025-05-01", "0"),
            ]),
            ..base.clone()
        },
        AssessRequest {
            hawl: history(vec![balance("2025-05-01", "0")]),
            ..base.clone()
        },
        AssessRequest {
            prices: Vec::new(),
            ..base.clone()
        },
        AssessRequest {
            prices: Vec::new(),
            hawl: history(vec![balance("2024-01-01", "1000000")]),
            ..base.clone()
        },
        AssessRequest {
            valuation_date: Some(day("2027-06-01")),
            ..base.clone()
        },
        AssessRequest {
            assets: vec![asset(
                "cash",
                Kind::Cash(proto::Cash {
                    amount: amount("1"),
                }),
            )],
            ..base.clone()
        },
    ];
    let mut in_money = base;
    in_money
        .assets
        .push(fitrah("others", proto::FitrahForm::Money, "jabodetabek"));
    all.push(in_money);
    all
}

/// The answer does not depend on the order in which things are owned, but for the order in which
/// they are told; and the sum is the sum of its parts.
#[test]
fn the_order_of_assets_changes_no_figure() {
    for asked in varied("hanafi-silver-595") {
        let mut turned = asked.clone();
        turned.assets.reverse();
        let (one, two) = (assessor().assess(&asked), assessor().assess(&turned));
        let (Ok(one), Ok(two)) = (one, two) else {
            continue;
        };
        assert_eq!(one.total_due, two.total_due);
        assert_eq!(one.liabilities_deducted, two.liabilities_deducted);
        for part in &one.parts {
            let matching = two.parts.iter().find(|p| {
                p.kind == part.kind
                    && (p.kind() == PartKind::Wealth || p.asset_ids == part.asset_ids)
            });
            assert_eq!(matching.unwrap().due_exact, part.due_exact);
        }
    }
}

/// A deep request stays within what a message may be.
#[test]
fn the_largest_request_is_answered() {
    let assets = (0..1000)
        .map(|index| goods(&format!("goods {index}"), "12.34"))
        .collect();
    let answer = assessor()
        .assess(&request(
            "majority-gold-85",
            &[(Metal::Gold, "100")],
            assets,
        ))
        .unwrap();
    assert_eq!(answer.assets.len(), 1000);
    assert!(answer.encoded_len() < 4 << 20, "{}", answer.encoded_len());
    let assets = (0..1001)
        .map(|index| goods(&format!("goods {index}"), "12.34"))
        .collect();
    let refused = told(&request(
        "majority-gold-85",
        &[(Metal::Gold, "100")],
        assets,
    ));
    assert_eq!(
        refused,
        [("assets".to_owned(), "are more than 1000".to_owned())]
    );
}
