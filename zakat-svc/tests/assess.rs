//! Assessments over the wire, in this process.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::*;
use mizan::{Connection, args::ServerArgs, status};
use mizan_contracts::zakat::v1::{
    self as proto, AssessBatchRequest, AssessLivestockRequest, AssessRequest, AssessmentView,
    GetNisabRequest, GetPolicyRequest, Husbandry, ListPoliciesRequest, Metal, PartKind, PartState,
    Species, assess_batch_response::Outcome, asset::Kind, metal_holding::Purity,
    zakat_service_client::ZakatServiceClient,
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use zakat_svc::{Config, Error};

struct Server {
    client: ZakatServiceClient<Connection>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Error>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let config = Config {
            server: ServerArgs::with_registry(Vec::new()),
            policies: None,
        };
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(zakat_svc::serve(listener, config, shutdown));
        let connection = Connection::open(&authority, Duration::from_secs(5)).await;
        Self {
            client: ZakatServiceClient::new(connection.unwrap()),
            stop,
            serving,
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.unwrap().unwrap();
    }
}

fn hundred_grams() -> AssessRequest {
    request(
        "majority-gold-85",
        &[(Metal::Gold, "100")],
        vec![gold("100", 24)],
    )
}

fn violations(refused: &Status) -> Vec<(String, String)> {
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        status::reason(refused).as_deref(),
        Some(status::INVALID_REQUEST)
    );
    let told = refused.get_details_bad_request().unwrap().field_violations;
    told.into_iter().map(|v| (v.field, v.description)).collect()
}

fn told(request: &AssessRequest) -> Vec<(String, String)> {
    violations(&assessor().assess(request).unwrap_err())
}

#[tokio::test]
async fn the_wire_gives_what_the_calculator_gives_byte_for_byte() {
    let mut server = Server::start().await;
    let asked = hundred_grams();
    let over_the_wire = server
        .client
        .assess(asked.clone())
        .await
        .unwrap()
        .into_inner();
    let again = server
        .client
        .assess(asked.clone())
        .await
        .unwrap()
        .into_inner();
    let here = assessor().assess(&asked).unwrap();
    assert_eq!(over_the_wire.encode_to_vec(), here.encode_to_vec());
    assert_eq!(again.encode_to_vec(), here.encode_to_vec());
    server.stop().await;
}

#[tokio::test]
async fn a_batch_answers_each_in_its_order_and_goes_on_after_a_refusal() {
    let mut server = Server::start().await;
    let requests = (0..500).map(|index| AssessBatchRequest {
        item_id: index.to_string(),
        request: Some(AssessRequest {
            policy_id: if index % 50 == 7 {
                "no such".to_owned()
            } else {
                "majority-gold-85".to_owned()
            },
            assets: vec![gold(&format!("{index}"), 24)],
            ..hundred_grams()
        }),
    });
    let requests: Vec<_> = requests.collect();
    let mut answers = server
        .client
        .assess_batch(tokio_stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    for index in 0..500 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.item_id, index.to_string());
        match answer.outcome.unwrap() {
            Outcome::Assessment(assessment) => {
                assert_eq!(
                    part(&assessment, PartKind::Wealth).base,
                    (index * 100).to_string()
                );
            }
            Outcome::Refusal(refusal) => {
                assert_eq!(index % 50, 7);
                assert_eq!(
                    (refusal.code, &*refusal.reason),
                    (Code::NotFound.into(), "POLICY_NOT_FOUND")
                );
                assert_eq!(refusal.violations[0].field, "policy_id");
            }
        }
    }
    assert_eq!(answers.message().await.unwrap(), None);
    server.stop().await;
}

#[tokio::test]
async fn policies_are_listed_by_pages_and_shown_whole() {
    let mut server = Server::start().await;
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = ListPoliciesRequest {
            page_size: 3,
            page_token,
        };
        let page = server
            .client
            .list_policies(page)
            .await
            .unwrap()
            .into_inner();
        ids.extend(page.policies.into_iter().map(|policy| policy.policy_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let shipped = [
        "baznas",
        "hanafi-silver-595",
        "hanafi-silver-612",
        "hanbali",
        "majority-gold-85",
        "maliki",
        "shafii",
    ];
    assert_eq!(ids, shipped);
    for policy_id in ids {
        let policy = server
            .client
            .get_policy(GetPolicyRequest { policy_id })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(policy.titles.len(), 3);
        assert_eq!(policy.digest.len(), 64);
        assert!(
            policy
                .sources
                .iter()
                .all(|source| policy.document.contains(&source.title))
        );
    }
    let unknown = GetPolicyRequest {
        policy_id: "none".to_owned(),
    };
    let refused = server.client.get_policy(unknown).await.unwrap_err();
    assert_eq!(
        (refused.code(), status::reason(&refused).as_deref()),
        (Code::NotFound, Some("POLICY_NOT_FOUND"))
    );
    let negative = ListPoliciesRequest {
        page_size: -1,
        page_token: String::new(),
    };
    assert_eq!(
        violations(&server.client.list_policies(negative).await.unwrap_err())[0].0,
        "page_size"
    );
    server.stop().await;
}

#[tokio::test]
async fn thresholds_are_told_as_far_as_the_prices_reach() {
    let mut server = Server::start().await;
    let ask = |policy_id: &str, currency: &str, date: &str| GetNisabRequest {
        policy_id: policy_id.to_owned(),
        currency_code: currency.to_owned(),
        prices: vec![proto::MetalPrice {
            metal: Metal::Gold.into(),
            price_per_gram: "100".to_owned(),
        }],
        valuation_date: Some(day(date)),
    };
    let majority = server
        .client
        .get_nisab(ask("majority-gold-85", "USD", "2026-03-01"))
        .await
        .unwrap()
        .into_inner();
    let rows: Vec<_> = majority
        .nisabs
        .iter()
        .map(|n| (&*n.of, &*n.weight, &*n.amount, n.missing.len()))
        .collect();
    assert_eq!(
        rows,
        [
            ("gold", "85", "8500", 0),
            ("silver", "595", "", 1),
            ("wealth", "", "8500", 0),
            ("crops", "653", "", 0)
        ]
    );
    let hanafi = server
        .client
        .get_nisab(ask("hanafi-silver-595", "USD", "2026-03-01"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(hanafi.nisabs[2].missing, ["prices[silver]"]);
    let baznas = server
        .client
        .get_nisab(ask("baznas", "IDR", "2025-03-01"))
        .await
        .unwrap()
        .into_inner();
    let income: Vec<_> = baznas
        .nisabs
        .iter()
        .filter(|n| n.of.starts_with("income"))
        .map(|n| &*n.amount)
        .collect();
    assert_eq!(income, ["85685972", "7140498"]);
    server.stop().await;
}

#[tokio::test]
async fn a_herd_alone() {
    let mut server = Server::start().await;
    let ask =
        |policy: &str, species: Species, count, husbandry: Husbandry| AssessLivestockRequest {
            policy_id: policy.to_owned(),
            species: species.into(),
            count,
            husbandry: husbandry.into(),
        };
    let herd = ask("majority-gold-85", Species::Camels, 200, Husbandry::Grazing);
    let herd = server
        .client
        .assess_livestock(herd)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (herd.alternatives.len(), herd.band_first, herd.band_last),
        (2, 200, 209)
    );
    let step = herd.step.unwrap();
    assert_eq!(step.result.unwrap().value, "4 hiqqah | 5 bint-labun");
    assert!(
        step.sentences[0]
            .text
            .ends_with("is due: 4 hiqqah or 5 bint labun."),
        "{}",
        step.sentences[0].text
    );
    for (policy, husbandry, due) in [
        ("majority-gold-85", Husbandry::Fed, false),
        ("maliki", Husbandry::Fed, true),
        ("maliki", Husbandry::Working, true),
    ] {
        let herd = server
            .client
            .assess_livestock(ask(policy, Species::Cattle, 40, husbandry))
            .await
            .unwrap();
        assert_eq!(!herd.into_inner().alternatives.is_empty(), due, "{policy}");
    }
    let bad = ask(
        "maliki",
        Species::Unspecified,
        100_001,
        Husbandry::Unspecified,
    );
    let refused = violations(&server.client.assess_livestock(bad).await.unwrap_err());
    let fields: Vec<_> = refused.iter().map(|(field, _)| &**field).collect();
    assert_eq!(fields, ["species", "count", "husbandry"]);
    server.stop().await;
}

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
