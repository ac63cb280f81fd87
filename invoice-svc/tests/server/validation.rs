//! What breaks the contract is refused by field, and leaves nothing behind.

use mizan_contracts::invoice::v1::{
    CreateInvoiceRequest, Party, RecordInvoicePaymentRequest, VoidInvoiceRequest,
};
use tonic::Code;

use super::harness::*;

const ID_MAX: usize = 128;

fn with(change: impl FnOnce(&mut CreateInvoiceRequest)) -> CreateInvoiceRequest {
    let mut request = hundred("i-1");
    change(&mut request);
    request
}

fn pairs(count: usize) -> std::collections::BTreeMap<String, String> {
    (0..count).map(|n| (n.to_string(), String::new())).collect()
}

/// Requests that break one rule each, and the field that is told.
fn bad_creates() -> Vec<(&'static str, CreateInvoiceRequest)> {
    let mut bad = vec![
        ("document_type", with(|r| r.document_type = 3)),
        ("party", with(|r| r.party = None)),
        ("party.name", with(|r| r.party = Some(Party::default()))),
        (
            "party.name",
            with(|r| r.party.as_mut().unwrap().name = "n".repeat(257)),
        ),
        (
            "party.party_id",
            with(|r| r.party.as_mut().unwrap().party_id = "n".repeat(257)),
        ),
        ("lines", with(|r| r.lines.clear())),
        (
            "lines",
            with(|r| r.lines = vec![line("l", 1, pounds(1, 0)); 1_001]),
        ),
        (
            "lines",
            with(|r| r.lines = vec![line("l", 1, pounds(0, 0))]),
        ),
        (
            "lines",
            with(|r| r.lines.push(line("l", 1, money("USD", 1, 0)))),
        ),
        (
            "lines",
            with(|r| r.lines = vec![line("l", 1, pounds(i64::MAX, 0))]),
        ),
        (
            "lines",
            with(|r| r.lines = vec![line("l", 1_000_000, pounds(1_000_000_000_000, 0))]),
        ),
        (
            "lines[1].description",
            with(|r| r.lines.push(line("", 1, pounds(1, 0)))),
        ),
        (
            "lines[1].description",
            with(|r| r.lines.push(line(&"d".repeat(513), 1, pounds(1, 0)))),
        ),
        (
            "lines[1].quantity",
            with(|r| r.lines.push(line("l", -1, pounds(1, 0)))),
        ),
        (
            "lines[1].quantity",
            with(|r| r.lines.push(line("l", 1_000_001, pounds(1, 0)))),
        ),
        ("reference", with(|r| r.reference = "r".repeat(257))),
        ("metadata", with(|r| r.metadata = pairs(65))),
        (
            "metadata",
            with(|r| r.metadata = [(String::new(), String::new())].into()),
        ),
        (
            "metadata",
            with(|r| r.metadata = [("k".repeat(129), String::new())].into()),
        ),
        (
            "metadata[k]",
            with(|r| r.metadata = [("k".to_owned(), "v".repeat(513))].into()),
        ),
    ];
    for id in ["", "a b", "é", "a/b", "a\0", &"i".repeat(ID_MAX + 1)] {
        bad.push(("request_id", with(|r| r.request_id = id.to_owned())));
    }
    for price in [
        None,
        pounds(-1, 0),
        money("XXQ", 1, 0),
        money("GBP", 1, -10_000_000),
        money("GBP", 0, 1_000_000),
        money("GBP", 0, 1_000_000_000),
    ] {
        bad.push((
            "lines[1].unit_price",
            with(|r| r.lines.push(line("l", 1, price))),
        ));
    }
    bad
}

#[tokio::test]
async fn every_rule_of_a_create_is_told_by_field() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    for (field, request) in bad_creates() {
        let answer = create(&client, request).await;
        assert_eq!(
            answer.as_ref().unwrap_err().code(),
            Code::InvalidArgument,
            "{field}"
        );
        assert_eq!(fields(answer), [field]);
    }
    assert_eq!(
        refusal(get(&client, "i-1").await).0,
        Code::NotFound,
        "nothing is left behind"
    );
    create(&client, hundred("i-1")).await.unwrap();
    fresh.server.stop().await;
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let fresh = Fresh::start().await;
    let request = CreateInvoiceRequest {
        lines: vec![line("", -1, pounds(1, 0)), line("", 1, None)],
        ..CreateInvoiceRequest::default()
    };
    let told = fields(create(&fresh.client(), request).await);
    let expected = [
        "request_id",
        "party",
        "lines[0].description",
        "lines[0].quantity",
        "lines[1].description",
        "lines[1].unit_price",
    ];
    assert_eq!(told, expected);
    fresh.server.stop().await;
}

#[tokio::test]
async fn the_largest_good_request_is_taken() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let request = CreateInvoiceRequest {
        request_id: "Az09._:-".repeat(ID_MAX / 8),
        party: Some(Party {
            party_id: "é".repeat(256),
            name: "é".repeat(256),
            ..Party::default()
        }),
        lines: vec![line(&"é".repeat(512), 1_000_000, pounds(0, 1)); 1_000],
        reference: "é".repeat(256),
        metadata: (10..74)
            .map(|n| (format!("{n}{}", "é".repeat(126)), "é".repeat(512)))
            .collect(),
        ..CreateInvoiceRequest::default()
    };
    let id = request.request_id.clone();
    let draft = create(&client, request).await.unwrap();
    assert_eq!(draft.total, pounds(10_000_000, 0));
    assert_eq!(get(&client, &id).await.unwrap(), draft);
    fresh.server.stop().await;
}

#[tokio::test]
async fn every_rule_of_the_other_calls_is_told_by_field() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    open(&client, "i-1").await;
    let before = get(&client, "i-1").await.unwrap();

    assert_eq!(fields(get(&client, "").await), ["invoice_id"]);
    assert_eq!(
        fields(finalize(&client, finalizing("", "a b")).await),
        ["request_id", "invoice_id"]
    );
    for amount in [
        None,
        pounds(0, 0),
        pounds(-1, 0),
        money("GBP", 0, 1),
        money("", 1, 0),
    ] {
        let answer = pay(&client, paying("p", "i-1", amount)).await;
        assert_eq!(answer.as_ref().unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(fields(answer), ["amount"]);
    }
    let long = RecordInvoicePaymentRequest {
        reference: "r".repeat(257),
        ..paying("", "", None)
    };
    let expected = ["request_id", "invoice_id", "reference", "amount"];
    assert_eq!(fields(pay(&client, long).await), expected);
    let long = VoidInvoiceRequest {
        reason: "r".repeat(513),
        ..voiding("v", "i-1")
    };
    assert_eq!(fields(void(&client, long).await), ["reason"]);
    assert_eq!(
        fields(void(&client, voiding("", "")).await),
        ["request_id", "invoice_id"]
    );

    assert_eq!(get(&client, "i-1").await.unwrap(), before);
    fresh.server.stop().await;
}
