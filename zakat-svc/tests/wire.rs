//! The calls over the wire, in this process.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{serving::Server, *};
use mizan::status;
use mizan_contracts::zakat::v1::{
    self as proto, AssessBatchRequest, AssessLivestockRequest, AssessRequest, GetNisabRequest,
    GetPolicyRequest, Husbandry, ListPoliciesRequest, Metal, PartKind, Species,
    assess_batch_response::Outcome,
};
use prost::Message as _;
use tonic::Code;

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
