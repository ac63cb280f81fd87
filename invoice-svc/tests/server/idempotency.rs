//! The same request again, and another request under the same id.

use mizan_contracts::invoice::v1::{
    CreateInvoiceRequest, InvoiceState, RecordInvoicePaymentRequest, VoidInvoiceRequest,
};
use tonic::Code;

use super::harness::*;

fn reused() -> (Code, String) {
    (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned())
}

#[tokio::test]
async fn a_repeat_does_nothing_and_shows_the_invoice_as_it_stands() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let draft = create(&client, hundred("i-1")).await.unwrap();
    assert_eq!(create(&client, hundred("i-1")).await.unwrap(), draft);
    let open = finalize(&client, finalizing("f", "i-1")).await.unwrap();
    assert_eq!(
        finalize(&client, finalizing("f", "i-1")).await.unwrap(),
        open
    );
    let part = pay(&client, paying("p", "i-1", pounds(40, 0)))
        .await
        .unwrap();
    assert_eq!(
        pay(&client, paying("p", "i-1", pounds(40, 0)))
            .await
            .unwrap(),
        part
    );
    assert_eq!(part.amount_paid, pounds(40, 0), "paid once");

    assert_eq!(
        create(&client, hundred("i-1")).await.unwrap(),
        part,
        "today's state"
    );
    assert_eq!(
        finalize(&client, finalizing("f", "i-1")).await.unwrap(),
        part
    );
    assert_eq!(
        refusal(finalize(&client, finalizing("f2", "i-1")).await),
        precondition("INVOICE_NOT_DRAFT"),
        "a new id is a new request"
    );
    open_and_void_twice(&client).await;
    fresh.server.stop().await;
}

async fn open_and_void_twice(client: &Client) {
    let open = open(client, "i-2").await;
    assert_eq!(open.number, "INV-00000002", "repeats use no numbers");
    let voided = void(client, voiding("v", "i-2")).await.unwrap();
    assert_eq!(void(client, voiding("v", "i-2")).await.unwrap(), voided);
    assert_eq!(
        create(client, hundred("i-2")).await.unwrap().state(),
        InvoiceState::Void
    );
}

#[tokio::test]
async fn the_operations_do_not_share_their_request_ids() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    create(&client, hundred("same")).await.unwrap();
    finalize(&client, finalizing("same", "same")).await.unwrap();
    let paid = pay(&client, paying("same", "same", pounds(100, 0)))
        .await
        .unwrap();
    assert_eq!(paid.state(), InvoiceState::Paid);
    fresh.server.stop().await;
}

#[tokio::test]
async fn another_create_under_the_same_id_is_told_the_field() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let first = hundred("i-1");
    let draft = create(&client, first.clone()).await.unwrap();
    let mut party = first.clone();
    party.party.as_mut().unwrap().name.push('!');
    let mut lines = first.clone();
    lines.lines[0].quantity = 3;
    let others = [
        (
            "document_type",
            CreateInvoiceRequest {
                document_type: 2,
                ..first.clone()
            },
        ),
        ("party", party),
        ("lines", lines),
        (
            "reference",
            CreateInvoiceRequest {
                reference: "r".to_owned(),
                ..first.clone()
            },
        ),
        (
            "metadata",
            CreateInvoiceRequest {
                metadata: [("k".to_owned(), "v".to_owned())].into(),
                ..first
            },
        ),
    ];
    for (field, other) in others {
        assert_eq!(
            refusal(create(&client, other.clone()).await),
            reused(),
            "{field}"
        );
        assert_eq!(fields(create(&client, other).await), [field]);
    }
    assert_eq!(get(&client, "i-1").await.unwrap(), draft);
    fresh.server.stop().await;
}

#[tokio::test]
async fn another_change_under_the_same_id_is_told_the_field() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    open(&client, "i-1").await;
    open(&client, "i-2").await;
    let answer = finalize(&client, finalizing("f-i-1", "i-2")).await;
    assert_eq!(fields(answer.clone()), ["invoice_id"]);
    assert_eq!(refusal(answer), reused());

    let payment = paying("p", "i-1", pounds(1, 0));
    pay(&client, payment.clone()).await.unwrap();
    let others = [
        ("invoice_id", paying("p", "i-2", pounds(1, 0))),
        ("amount", paying("p", "i-1", pounds(2, 0))),
        (
            "reference",
            RecordInvoicePaymentRequest {
                reference: "r".to_owned(),
                ..payment.clone()
            },
        ),
        (
            "etag",
            RecordInvoicePaymentRequest {
                etag: "e".to_owned(),
                ..payment
            },
        ),
    ];
    for (field, other) in others {
        assert_eq!(
            refusal(pay(&client, other.clone()).await),
            reused(),
            "{field}"
        );
        assert_eq!(fields(pay(&client, other).await), [field]);
    }
    assert_eq!(get(&client, "i-1").await.unwrap().amount_paid, pounds(1, 0));

    void(&client, voiding("v", "i-2")).await.unwrap();
    let others = [
        (
            "reason",
            VoidInvoiceRequest {
                reason: "r".to_owned(),
                ..voiding("v", "i-2")
            },
        ),
        (
            "allow_missing",
            VoidInvoiceRequest {
                allow_missing: true,
                ..voiding("v", "i-2")
            },
        ),
    ];
    for (field, other) in others {
        assert_eq!(fields(void(&client, other).await), [field]);
    }
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_refused_request_uses_up_no_id() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let empty = CreateInvoiceRequest {
        lines: Vec::new(),
        ..hundred("i-1")
    };
    assert_eq!(
        refusal(create(&client, empty).await).0,
        Code::InvalidArgument
    );
    assert_eq!(
        refusal(finalize(&client, finalizing("f", "i-1")).await).0,
        Code::NotFound
    );
    create(&client, hundred("i-1")).await.unwrap();
    let early = pay(&client, paying("p", "i-1", pounds(100, 0))).await;
    assert_eq!(refusal(early), precondition("INVOICE_NOT_OPEN"));
    finalize(&client, finalizing("f", "i-1")).await.unwrap();
    let paid = pay(&client, paying("p", "i-1", pounds(100, 0)))
        .await
        .unwrap();
    assert_eq!(paid.state(), InvoiceState::Paid);
    fresh.server.stop().await;
}
