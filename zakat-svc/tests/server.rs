//! The service over the wire, in this process.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::serving::Server;
use mizan::status;
use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{CalculateRequest, CalculateResponse, ZakatBase},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What the service says, in short.
trait Calculates {
    async fn calculate(&mut self, request: CalculateRequest) -> Result<CalculateResponse, Status>;

    /// The fields that a refused request is told about.
    async fn violations(&mut self, request: CalculateRequest) -> Vec<(String, String)>;
}

impl Calculates for Server {
    async fn calculate(&mut self, request: CalculateRequest) -> Result<CalculateResponse, Status> {
        let answer = self.client.calculate(request).await?;
        Ok(answer.into_inner())
    }

    async fn violations(&mut self, request: CalculateRequest) -> Vec<(String, String)> {
        let refused = self.calculate(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(
            status::reason(&refused).as_deref(),
            Some(status::INVALID_REQUEST)
        );
        let told = refused.get_details_bad_request().unwrap().field_violations;
        told.into_iter().map(|v| (v.field, v.description)).collect()
    }
}

fn money(currency_code: &str, units: i64, nanos: i32) -> Option<Money> {
    Some(Money {
        currency_code: currency_code.to_owned(),
        units,
        nanos,
    })
}

fn dollars(wealth: i64, nisab: i64, base: ZakatBase) -> CalculateRequest {
    CalculateRequest {
        wealth: money("USD", wealth, 0),
        nisab: money("USD", nisab, 0),
        base: base.into(),
    }
}

fn fields(told: &[(String, String)]) -> Vec<(&str, &str)> {
    told.iter().map(|(f, d)| (f.as_str(), d.as_str())).collect()
}

#[tokio::test]
async fn the_worked_example_with_each_base() {
    let mut server = Server::start().await;
    for (asked, used, units) in [
        (ZakatBase::Unspecified, ZakatBase::ExcessOverNisab, 375),
        (ZakatBase::ExcessOverNisab, ZakatBase::ExcessOverNisab, 375),
        (ZakatBase::WholeWealth, ZakatBase::WholeWealth, 2_500),
    ] {
        let answer = server.calculate(dollars(100_000, 85_000, asked)).await;
        let expected = CalculateResponse {
            wealth: money("USD", 100_000, 0),
            nisab: money("USD", 85_000, 0),
            zakat_due: money("USD", units, 0),
            is_eligible: true,
            base: used.into(),
        };
        assert_eq!(answer.unwrap(), expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_due_a_cent_below_the_nisab_and_the_base_is_still_named() {
    let mut server = Server::start().await;
    let request = CalculateRequest {
        wealth: money("USD", 84_999, 990_000_000),
        ..dollars(0, 85_000, ZakatBase::WholeWealth)
    };
    let answer = server.calculate(request).await.unwrap();
    assert!(!answer.is_eligible);
    assert_eq!(answer.zakat_due, money("USD", 0, 0));
    assert_eq!(answer.base(), ZakatBase::WholeWealth);
    server.stop().await;
}

#[tokio::test]
async fn the_largest_amounts_of_the_wire_are_answered() {
    let mut server = Server::start().await;
    let request = CalculateRequest {
        wealth: money("CLF", i64::MAX, 999_900_000),
        nisab: money("CLF", 0, 0),
        base: ZakatBase::WholeWealth.into(),
    };
    let answer = server.calculate(request).await.unwrap();
    // (2^63 − 1 + 0.9999) / 40, to four places.
    let due = money("CLF", 230_584_300_921_369_395, 200_000_000);
    assert_eq!(answer.zakat_due, due);
    server.stop().await;
}

#[tokio::test]
async fn every_bad_field_is_told_with_its_reason() {
    let mut server = Server::start().await;
    let told = server.violations(CalculateRequest::default()).await;
    assert_eq!(
        fields(&told),
        [("wealth", "is required"), ("nisab", "is required")]
    );

    let told = server.violations(dollars(-1, -1, ZakatBase::Unspecified));
    assert_eq!(
        fields(&told.await),
        [("wealth", "is negative"), ("nisab", "is negative")]
    );

    let mixed = CalculateRequest {
        nisab: money("GBP", 1, 0),
        ..dollars(1, 0, ZakatBase::Unspecified)
    };
    assert_eq!(
        fields(&server.violations(mixed).await),
        [("nisab", "has another currency than wealth")]
    );

    let unknown = CalculateRequest {
        base: 3,
        ..dollars(1, 0, ZakatBase::Unspecified)
    };
    assert_eq!(
        fields(&server.violations(unknown).await),
        [("base", "is not a ZakatBase")]
    );

    for wealth in [
        money("XXQ", 1, 0),
        money("USD", 1, -10_000_000),
        money("USD", 0, 1_000_000_000),
        money("USD", 0, 1_000_000),
    ] {
        let bad = CalculateRequest {
            wealth: wealth.clone(),
            ..dollars(0, 1, ZakatBase::Unspecified)
        };
        let told = server.violations(bad).await;
        assert_eq!(told.len(), 1, "{wealth:?}: {told:?}");
        assert_eq!(told[0].0, "wealth", "{wealth:?}");
    }
    server.stop().await;
}
