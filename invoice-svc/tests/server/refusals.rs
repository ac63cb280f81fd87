//! What the state machine refuses, over the wire.

use mizan_contracts::invoice::v1::{
    FinalizeInvoiceRequest, InvoiceState, RecordInvoicePaymentRequest, VoidInvoiceRequest,
};
use tonic::Code;

use super::harness::*;

/// One invoice in each state, under ids that say so.
async fn one_of_each(client: &Client) {
    create(client, hundred("draft")).await.unwrap();
    open(client, "open").await;
    open(client, "part").await;
    pay(client, paying("part", "part", pounds(40, 0)))
        .await
        .unwrap();
    open(client, "paid").await;
    pay(client, paying("paid", "paid", pounds(100, 0)))
        .await
        .unwrap();
    open(client, "void").await;
    void(client, voiding("void", "void")).await.unwrap();
}

#[tokio::test]
async fn each_call_is_refused_in_each_wrong_state_and_changes_nothing() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    one_of_each(&client).await;
    let cases = [
        ("finalize", "open", "INVOICE_NOT_DRAFT"),
        ("finalize", "part", "INVOICE_NOT_DRAFT"),
        ("finalize", "paid", "INVOICE_PAID"),
        ("finalize", "void", "INVOICE_VOIDED"),
        ("pay", "draft", "INVOICE_NOT_OPEN"),
        ("pay", "paid", "INVOICE_PAID"),
        ("pay", "void", "INVOICE_VOIDED"),
        ("void", "part", "PAYMENT_APPLIED"),
        ("void", "paid", "INVOICE_PAID"),
        ("void", "void", "INVOICE_VOIDED"),
    ];
    for (call, id, reason) in cases {
        let before = get(&client, id).await.unwrap();
        let answer = match call {
            "finalize" => finalize(&client, finalizing("new", id)).await,
            "pay" => pay(&client, paying("new", id, pounds(1, 0))).await,
            _ => void(&client, voiding("new", id)).await,
        };
        assert_eq!(refusal(answer), precondition(reason), "{call} {id}");
        assert_eq!(get(&client, id).await.unwrap(), before, "{call} {id}");
    }
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_payment_must_fit_what_is_due() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    one_of_each(&client).await;
    let too_much = || pay(&client, paying("new", "part", pounds(60, 1)));
    assert_eq!(refusal(too_much().await), precondition("OVERPAYMENT"));
    assert_eq!(fields(too_much().await), ["amount"]);
    let beyond_64_bits = paying("new", "part", pounds(i64::MAX, 99));
    assert_eq!(
        refusal(pay(&client, beyond_64_bits).await),
        precondition("OVERPAYMENT")
    );
    let dollars = || pay(&client, paying("new", "part", money("USD", 1, 0)));
    assert_eq!(refusal(dollars().await), precondition("CURRENCY_MISMATCH"));
    assert_eq!(fields(dollars().await), ["amount"]);
    let rest = pay(&client, paying("new", "part", pounds(60, 0))).await;
    assert_eq!(
        rest.unwrap().state(),
        InvoiceState::Paid,
        "a refusal uses up no id"
    );
    fresh.server.stop().await;
}

#[tokio::test]
async fn an_unknown_invoice_is_not_found_by_any_call() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let not_found = (Code::NotFound, "INVOICE_NOT_FOUND".to_owned());
    assert_eq!(refusal(get(&client, "x").await), not_found);
    assert_eq!(fields(get(&client, "x").await), ["invoice_id"]);
    assert_eq!(
        refusal(finalize(&client, finalizing("r", "x")).await),
        not_found
    );
    assert_eq!(
        refusal(pay(&client, paying("r", "x", pounds(1, 0))).await),
        not_found
    );
    assert_eq!(refusal(void(&client, voiding("r", "x")).await), not_found);
    fresh.server.stop().await;
}

#[tokio::test]
async fn an_old_etag_is_aborted_and_the_current_one_is_taken() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let aborted = (Code::Aborted, "ETAG_MISMATCH".to_owned());
    let draft = create(&client, hundred("i-1")).await.unwrap();
    let finalizing_at = |request_id: &str, etag: &str| FinalizeInvoiceRequest {
        etag: etag.to_owned(),
        ..finalizing(request_id, "i-1")
    };
    let paying_at = |request_id: &str, etag: &str| RecordInvoicePaymentRequest {
        etag: etag.to_owned(),
        ..paying(request_id, "i-1", pounds(1, 0))
    };
    let voiding_at = |request_id: &str, etag: &str| VoidInvoiceRequest {
        etag: etag.to_owned(),
        ..voiding(request_id, "i-1")
    };
    let foreign = finalize(&client, finalizing_at("f", "other")).await;
    assert_eq!(fields(foreign.clone()), ["etag"]);
    assert_eq!(refusal(foreign), aborted);
    let open = finalize(&client, finalizing_at("f", &draft.etag))
        .await
        .unwrap();

    assert_eq!(
        refusal(pay(&client, paying_at("p", &draft.etag)).await),
        aborted
    );
    assert_eq!(
        refusal(void(&client, voiding_at("v", &draft.etag)).await),
        aborted
    );
    let part = pay(&client, paying_at("p", &open.etag)).await.unwrap();
    assert_ne!(part.etag, open.etag);
    let repeated = pay(&client, paying_at("p", &open.etag)).await.unwrap();
    assert_eq!(repeated, part, "a repeat is not held to its etag again");
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_void_before_the_create_keeps_the_create_out() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let request = VoidInvoiceRequest {
        reason: "payment refused".to_owned(),
        allow_missing: true,
        ..voiding("v", "i-1")
    };
    let tombstone = void(&client, request.clone()).await.unwrap();
    assert_eq!(tombstone.invoice_id, "i-1");
    assert_eq!(tombstone.state(), InvoiceState::Void);
    assert_eq!(tombstone.void_reason, "payment refused");
    assert!(tombstone.void_time.is_some() && tombstone.create_time.is_none());
    assert!(!tombstone.etag.is_empty());
    assert_eq!(get(&client, "i-1").await.unwrap(), tombstone);
    assert_eq!(void(&client, request).await.unwrap(), tombstone, "repeated");

    let voided = precondition("INVOICE_VOIDED");
    for _ in 0..2 {
        assert_eq!(refusal(create(&client, hundred("i-1")).await), voided);
    }
    assert_eq!(
        refusal(finalize(&client, finalizing("f", "i-1")).await),
        voided
    );
    assert_eq!(
        refusal(pay(&client, paying("p", "i-1", pounds(1, 0))).await),
        voided
    );
    assert_eq!(refusal(void(&client, voiding("w", "i-1")).await), voided);
    fresh.server.stop().await;
}

#[tokio::test]
async fn allow_missing_changes_nothing_for_an_invoice_that_exists() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    one_of_each(&client).await;
    let allowing = |id: &str| VoidInvoiceRequest {
        allow_missing: true,
        ..voiding(&format!("new-{id}"), id)
    };
    assert_eq!(
        refusal(void(&client, allowing("paid")).await),
        precondition("INVOICE_PAID")
    );
    let voided = void(&client, allowing("open")).await.unwrap();
    assert_eq!(voided.total, pounds(100, 0));
    let with_etag = VoidInvoiceRequest {
        etag: voided.etag,
        ..allowing("never")
    };
    let aborted = (Code::Aborted, "ETAG_MISMATCH".to_owned());
    assert_eq!(refusal(void(&client, with_etag).await), aborted);
    fresh.server.stop().await;
}
