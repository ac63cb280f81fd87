//! Requests, put together in few words.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses its part; tests"
)]

pub(crate) mod serving;

use std::{path::PathBuf, sync::LazyLock};

use mizan::status;
use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{
        self as proto, AssessRequest, AssessResponse, Asset, Date, DebtTerm, Hawl, Liability,
        Metal, MetalPrice, MetalUse, Part, PartKind, asset::Kind, hawl::Known,
        metal_holding::Purity,
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use zakat_svc::Assessor;

/// The policies of this build and those of the tests.
pub(crate) fn assessor() -> &'static Assessor {
    static ASSESSOR: LazyLock<Assessor> = LazyLock::new(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
        Assessor::with_folder(&folder).unwrap()
    });
    &ASSESSOR
}

pub(crate) fn day(text: &str) -> Date {
    let parts: Vec<i32> = text.split('-').map(|part| part.parse().unwrap()).collect();
    Date {
        year: parts[0],
        month: parts[1],
        day: parts[2],
    }
}

/// "1234.5" of a currency.
pub(crate) fn money(amount: &str, currency: &str) -> Option<Money> {
    let amount = money::Money::parse(amount, currency.parse().unwrap()).unwrap();
    Some(Money::try_from(amount).unwrap())
}

pub(crate) fn usd(amount: &str) -> Option<Money> {
    money(amount, "USD")
}

pub(crate) fn stated(complete: bool) -> Option<Hawl> {
    Some(Hawl {
        known: Some(Known::Complete(complete)),
    })
}

/// A request of which a year has passed over everything.
pub(crate) fn request(
    policy_id: &str,
    prices: &[(Metal, &str)],
    assets: Vec<Asset>,
) -> AssessRequest {
    let price = |(metal, price): &(Metal, &str)| MetalPrice {
        metal: (*metal).into(),
        price_per_gram: (*price).to_owned(),
    };
    AssessRequest {
        policy_id: policy_id.to_owned(),
        valuation_date: Some(day("2026-03-01")),
        currency_code: "USD".to_owned(),
        prices: prices.iter().map(price).collect(),
        assets,
        hawl: stated(true),
        ..AssessRequest::default()
    }
}

pub(crate) fn asset(asset_id: &str, kind: Kind) -> Asset {
    Asset {
        asset_id: asset_id.to_owned(),
        kind: Some(kind),
    }
}

pub(crate) fn metal(asset_id: &str, metal: Metal, grams: &str, purity: Purity) -> Asset {
    let holding = proto::MetalHolding {
        metal: metal.into(),
        weight_grams: grams.to_owned(),
        purity: Some(purity),
        r#use: MetalUse::Savings.into(),
    };
    asset(asset_id, Kind::Metal(holding))
}

pub(crate) fn gold(grams: &str, karat: i32) -> Asset {
    metal("gold", Metal::Gold, grams, Purity::Karat(karat))
}

pub(crate) fn cash(amount: &str) -> Asset {
    asset(
        "cash",
        Kind::Cash(proto::Cash {
            amount: usd(amount),
        }),
    )
}

pub(crate) fn goods(asset_id: &str, value: &str) -> Asset {
    let goods = proto::TradeGoods {
        market_value: usd(value),
    };
    asset(asset_id, Kind::TradeGoods(goods))
}

pub(crate) fn debt(liability_id: &str, amount: &str, term: DebtTerm) -> Liability {
    Liability {
        liability_id: liability_id.to_owned(),
        amount: usd(amount),
        term: term.into(),
    }
}

pub(crate) fn part(answer: &AssessResponse, kind: PartKind) -> &Part {
    answer
        .parts
        .iter()
        .find(|part| part.kind() == kind)
        .unwrap()
}

/// What is due in money: exactly, and rounded.
pub(crate) fn due(answer: &AssessResponse, kind: PartKind) -> (String, String) {
    let part = part(answer, kind);
    (part.due_exact.clone(), decimal(part.due.as_ref()))
}

pub(crate) fn decimal(amount: Option<&Money>) -> String {
    Money::read(amount).unwrap().to_decimal()
}

pub(crate) fn hundred_grams() -> AssessRequest {
    request(
        "majority-gold-85",
        &[(Metal::Gold, "100")],
        vec![gold("100", 24)],
    )
}

pub(crate) fn violations(refused: &Status) -> Vec<(String, String)> {
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        status::reason(refused).as_deref(),
        Some(status::INVALID_REQUEST)
    );
    let told = refused.get_details_bad_request().unwrap().field_violations;
    told.into_iter().map(|v| (v.field, v.description)).collect()
}

pub(crate) fn told(request: &AssessRequest) -> Vec<(String, String)> {
    violations(&assessor().assess(request).unwrap_err())
}
