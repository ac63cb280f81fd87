//! What happens to an invoice whose callers do everything right.

use mizan_contracts::invoice::v1::{DocumentType, InvoiceState, VoidInvoiceRequest};

use super::harness::*;

#[tokio::test]
async fn a_draft_says_all_that_was_asked_and_what_it_adds_up_to() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let mut request = hundred("i-1");
    request.lines.push(line("delivery", 0, pounds(2, 50)));
    request.lines.push(line("a gift", 3, pounds(0, 0)));
    request.reference = "order 7".to_owned();
    request.metadata = [
        ("a".to_owned(), String::new()),
        ("ß".to_owned(), "\"\t".to_owned()),
    ]
    .into();
    let draft = create(&client, request.clone()).await.unwrap();

    assert_eq!(draft.invoice_id, "i-1");
    assert_eq!(draft.state(), InvoiceState::Draft);
    assert_eq!(draft.document_type(), DocumentType::Invoice);
    assert_eq!(draft.party, request.party);
    assert_eq!(draft.reference, request.reference);
    assert_eq!(draft.metadata, request.metadata);
    let lines = draft.lines.iter();
    let lines: Vec<_> = lines
        .map(|l| (l.description.as_str(), l.quantity, l.amount.clone()))
        .collect();
    let expected = [
        ("paper", 2, pounds(100, 0)),
        ("delivery", 1, pounds(2, 50)),
        ("a gift", 3, pounds(0, 0)),
    ];
    assert_eq!(lines, expected);
    assert_eq!(draft.total, pounds(102, 50));
    assert_eq!(draft.amount_paid, pounds(0, 0));
    assert_eq!(draft.amount_due, pounds(102, 50));
    assert_eq!(draft.number, "");
    assert!(draft.create_time.is_some());
    assert_eq!(
        (draft.finalize_time, draft.paid_time, draft.void_time),
        (None, None, None)
    );
    assert_eq!(get(&client, "i-1").await.unwrap(), draft);
    fresh.server.stop().await;
}

#[tokio::test]
async fn an_invoice_is_opened_paid_in_parts_and_settled() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let draft = create(&client, hundred("i-1")).await.unwrap();
    let open = finalize(&client, finalizing("f", "i-1")).await.unwrap();
    assert_eq!(
        (open.state(), open.number.as_str()),
        (InvoiceState::Open, "INV-00000001")
    );
    assert!(open.finalize_time.is_some());

    let part = pay(&client, paying("p1", "i-1", pounds(99, 99)))
        .await
        .unwrap();
    assert_eq!(part.state(), InvoiceState::Open);
    assert_eq!(part.amount_paid, pounds(99, 99));
    assert_eq!(part.amount_due, pounds(0, 1));
    assert_eq!(part.paid_time, None);

    let paid = pay(&client, paying("p2", "i-1", pounds(0, 1)))
        .await
        .unwrap();
    assert_eq!(paid.state(), InvoiceState::Paid);
    assert_eq!(paid.amount_paid, pounds(100, 0));
    assert_eq!(paid.amount_due, pounds(0, 0));
    assert!(paid.paid_time.is_some());
    assert_eq!(paid.number, open.number);

    let mut etags = vec![draft.etag, open.etag, part.etag, paid.etag.clone()];
    etags.dedup();
    assert_eq!(etags.len(), 4, "every change changes the etag");
    assert_eq!(get(&client, "i-1").await.unwrap(), paid);
    fresh.server.stop().await;
}

#[tokio::test]
async fn each_document_type_has_numbers_of_its_own() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let mut numbers = Vec::new();
    for (id, document_type) in [
        ("a", DocumentType::Invoice),
        ("b", DocumentType::CreditNote),
        ("c", DocumentType::CreditNote),
        ("d", DocumentType::Unspecified),
    ] {
        let mut request = hundred(id);
        request.document_type = document_type.into();
        create(&client, request).await.unwrap();
        let open = finalize(&client, finalizing(id, id)).await.unwrap();
        numbers.push(open.number);
    }
    let expected = [
        "INV-00000001",
        "CRN-00000001",
        "CRN-00000002",
        "INV-00000002",
    ];
    assert_eq!(numbers, expected);
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_voided_invoice_owes_nothing_and_keeps_its_number() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    open(&client, "i-1").await;
    let request = VoidInvoiceRequest {
        reason: "typo".to_owned(),
        ..voiding("v", "i-1")
    };
    let void_ = void(&client, request).await.unwrap();
    assert_eq!(void_.state(), InvoiceState::Void);
    assert_eq!(void_.void_reason, "typo");
    assert!(void_.void_time.is_some());
    assert_eq!(void_.total, pounds(100, 0));
    assert_eq!(void_.amount_due, pounds(0, 0));
    assert_eq!(void_.number, "INV-00000001");
    assert_eq!(get(&client, "i-1").await.unwrap(), void_);
    assert_eq!(
        open(&client, "i-2").await.number,
        "INV-00000002",
        "a used number stays used"
    );
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_voided_draft_uses_no_number() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    create(&client, hundred("i-1")).await.unwrap();
    let voided = void(&client, voiding("v", "i-1")).await.unwrap();
    assert_eq!(
        (voided.state(), voided.number.as_str()),
        (InvoiceState::Void, "")
    );
    assert_eq!(open(&client, "i-2").await.number, "INV-00000001");
    fresh.server.stop().await;
}

#[tokio::test]
async fn the_largest_total_that_is_kept_can_be_paid() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    // i64::MAX pence.
    let most = pounds(92_233_720_368_547_758, 7);
    let mut request = hundred("i-1");
    request.lines = vec![line("a planet", 1, most.clone())];
    create(&client, request).await.unwrap();
    finalize(&client, finalizing("f", "i-1")).await.unwrap();
    let paid = pay(&client, paying("p", "i-1", most.clone()))
        .await
        .unwrap();
    assert_eq!((paid.state(), paid.amount_paid), (InvoiceState::Paid, most));
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    create(&client, hundred("draft")).await.unwrap();
    open(&client, "open").await;
    open(&client, "part").await;
    pay(&client, paying("p", "part", pounds(40, 0)))
        .await
        .unwrap();
    void(&client, voiding("v", "draft")).await.unwrap();
    let tombstone = VoidInvoiceRequest {
        allow_missing: true,
        ..voiding("t", "never")
    };
    void(&client, tombstone).await.unwrap();
    let ids = ["draft", "open", "part", "never"];
    let mut before = Vec::new();
    for id in ids {
        before.push(get(&client, id).await.unwrap());
    }

    let fresh = fresh.restart().await;
    let client = fresh.client();
    for (id, before) in ids.into_iter().zip(before) {
        assert_eq!(get(&client, id).await.unwrap(), before);
    }
    assert_eq!(open(&client, "next").await.number, "INV-00000003");
    let again = pay(&client, paying("p", "part", pounds(40, 0)))
        .await
        .unwrap();
    assert_eq!(
        again.amount_paid,
        pounds(40, 0),
        "a payment before the restart is not repeated"
    );
    fresh.server.stop().await;
}
