//! RecordTransaction and GetTransaction.

use mizan_contracts::accounting::v1::{
    AccountType, BatchRecordTransactionsRequest, GetTransactionRequest, RecordTransactionRequest,
    Side,
};
use prost::Message as _;
use prost_types::Timestamp;
use tonic::Code;

use crate::{
    requests::{account, balance, create_accounts, leg, lunch, money, transfer, trial_balance},
    service::{assert_invalid, assert_refused, start, told},
};

#[tokio::test]
async fn a_transaction_is_recorded_whole_and_read_back() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let mut request = lunch("t1");
    request.description = "Lunch".to_owned();
    request.reference = "receipt 7".to_owned();
    request.metadata.insert("city".into(), "Leeds".into());
    let seconds = -86_400;
    request.effective_time = Some(Timestamp { seconds, nanos: 7 });
    let recorded = client
        .record_transaction(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(recorded.transaction_id, "t1");
    assert_eq!(recorded.sequence, 1);
    assert_eq!(recorded.legs, request.legs);
    assert_eq!(recorded.description, "Lunch");
    assert_eq!(recorded.reference, "receipt 7");
    assert_eq!(recorded.metadata, request.metadata);
    assert_eq!(recorded.effective_time, request.effective_time);
    assert!(recorded.record_time.unwrap().seconds > 1_700_000_000);
    assert_eq!(balance(&mut client, "food").await, 12_340_000_000);
    assert_eq!(balance(&mut client, "cash").await, -12_340_000_000);

    let transaction_id = "t1".to_owned();
    let get = GetTransactionRequest { transaction_id };
    assert_eq!(
        client.get_transaction(get).await.unwrap().into_inner(),
        recorded
    );
    let second = client
        .record_transaction(lunch("t2"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(second.sequence, 2);
    assert_eq!(second.effective_time, second.record_time, "unset means now");
}

#[tokio::test]
async fn several_currencies_balance_each_on_its_own() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let dollars2 = account("dollars2", AccountType::Equity, "USD");
    client.create_account(dollars2).await.unwrap();
    let mut request = lunch("exchange");
    let usd = money("USD", 15, 10_000_000);
    request.legs.push(leg("dollars", Side::Debit, usd.clone()));
    request.legs.push(leg("dollars2", Side::Credit, usd));
    client.record_transaction(request.clone()).await.unwrap();
    assert_eq!(balance(&mut client, "food").await, 12_340_000_000);
    assert_eq!(balance(&mut client, "dollars").await, 15_010_000_000);
    assert_eq!(balance(&mut client, "dollars2").await, 15_010_000_000);
    assert_eq!(
        trial_balance(&mut client).await.totals.len(),
        3,
        "GBP, JPY, USD"
    );

    request.request_id = "off by a cent".replace(' ', "-");
    request.legs[3].amount = Some(money("USD", 15, 0));
    let status = client.record_transaction(request).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "UNBALANCED", "legs");
    assert_eq!(
        status.message(),
        "legs do not balance in USD: debits exceed credits by 0.01"
    );
}

#[tokio::test]
async fn every_field_that_breaks_its_limits_is_named_and_no_id_is_consumed() {
    type Change = fn(&mut RecordTransactionRequest);
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let changes: [(&str, Change); 24] = [
        ("request_id", |r| r.request_id.clear()),
        ("request_id", |r| r.request_id = "x".repeat(129)),
        ("request_id", |r| r.request_id = "a/b".to_owned()),
        ("legs", |r| r.legs.clear()),
        ("legs", |r| r.legs.truncate(1)),
        ("legs", |r| r.legs = vec![r.legs[0].clone(); 1001]),
        ("legs[0].account_id", |r| r.legs[0].account_id.clear()),
        ("legs[1].account_id", |r| {
            r.legs[1].account_id = "x".repeat(129)
        }),
        ("legs[0].side", |r| r.legs[0].side = 0),
        ("legs[1].side", |r| r.legs[1].side = 3),
        ("legs[0].amount", |r| r.legs[0].amount = None),
        ("legs[0].amount", |r| {
            r.legs[0].amount = Some(money("GBP", 0, 0))
        }),
        ("legs[1].amount", |r| {
            r.legs[1].amount = Some(money("GBP", -1, 0))
        }),
        ("legs[0].amount", |r| {
            r.legs[0].amount = Some(money("ZZZ", 1, 0))
        }),
        ("legs[0].amount", |r| {
            r.legs[0].amount = Some(money("", 1, 0))
        }),
        ("legs[0].amount", |r| {
            r.legs[0].amount = Some(money("GBP", 1, -1))
        }),
        ("legs[0].amount", |r| {
            r.legs[0].amount = Some(money("GBP", 1, 1_000_000))
        }),
        ("legs[0].amount", |r| {
            r.legs[0].amount = Some(money("GBP", 0, i32::MIN))
        }),
        ("legs[0].amount", |r| {
            r.legs[0].amount = Some(money("GBP", i64::MAX, 0))
        }),
        ("description", |r| r.description = "é".repeat(513)),
        ("reference", |r| r.reference = "é".repeat(257)),
        ("metadata", |r| {
            drop(r.metadata.insert(String::new(), "v".into()))
        }),
        ("effective_time", |r| {
            r.effective_time = Some(Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            });
        }),
        ("effective_time", |r| {
            r.effective_time = Some(Timestamp {
                seconds: 0,
                nanos: -1,
            });
        }),
    ];
    for (field, change) in changes {
        let mut request = lunch("t1");
        change(&mut request);
        assert_invalid(
            &client.record_transaction(request).await.unwrap_err(),
            field,
        );
    }
    let mut unbalanced = lunch("t1");
    unbalanced.legs[0].amount = Some(money("GBP", 12, 350_000_000));
    let status = client.record_transaction(unbalanced).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "UNBALANCED", "legs");

    assert_eq!(trial_balance(&mut client).await.transactions, 0);
    let recorded = client.record_transaction(lunch("t1")).await.unwrap();
    assert_eq!(recorded.into_inner().sequence, 1);
}

#[tokio::test]
async fn a_thousand_legs_are_fine_and_a_thousand_bad_ones_are_told_in_a_header() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let mut request = lunch("t1");
    request.legs = request.legs.into_iter().cycle().take(1000).collect();
    client.record_transaction(request.clone()).await.unwrap();
    assert_eq!(balance(&mut client, "food").await, 500 * 12_340_000_000);

    for leg in &mut request.legs {
        leg.account_id.clear();
        leg.side = 0;
        leg.amount = None;
    }
    let status = client.record_transaction(request).await.unwrap_err();
    let (code, _, fields) = told(&status);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(fields.len(), 16, "as many as a header holds");
}

#[tokio::test]
async fn what_the_books_refuse_is_refused_for_ever_and_moves_nothing() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let gbp = || money("GBP", 1, 0);
    let cases = [
        (
            transfer("unknown", "food", "rent", gbp()),
            "ACCOUNT_NOT_FOUND",
            "legs[1].account_id",
        ),
        (
            transfer("currency", "dollars", "cash", gbp()),
            "CURRENCY_MISMATCH",
            "legs[0].amount.currency_code",
        ),
        (
            transfer("both", "dollars", "rent", gbp()),
            "ACCOUNT_NOT_FOUND",
            "legs[1].account_id",
        ),
    ];
    let mut words = Vec::new();
    for (request, reason, field) in &cases {
        let status = client
            .record_transaction(request.clone())
            .await
            .unwrap_err();
        assert_refused(&status, Code::FailedPrecondition, reason, field);
        words.push(status.message().to_owned());
    }
    // What was missing appears; the outcome stands.
    let rent = account("rent", AccountType::Expense, "GBP");
    client.create_account(rent).await.unwrap();
    for ((request, reason, field), words) in cases.iter().zip(&words) {
        let status = client
            .record_transaction(request.clone())
            .await
            .unwrap_err();
        assert_refused(&status, Code::FailedPrecondition, reason, field);
        assert_eq!(status.message(), words);
        let transaction_id = request.request_id.clone();
        let get = GetTransactionRequest { transaction_id };
        let status = client.get_transaction(get).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
    }
    assert_eq!(trial_balance(&mut client).await.transactions, 0);
    // A new id is a new attempt.
    let again = transfer("again", "food", "rent", gbp());
    let recorded = client.record_transaction(again).await.unwrap();
    assert_eq!(recorded.into_inner().sequence, 1, "refusals take no place");
}

#[tokio::test]
async fn sums_that_would_not_fit_are_refused_and_the_books_stay_readable() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let most = transfer("most", "yen", "yen2", money("JPY", i64::MAX, 0));
    client.record_transaction(most).await.unwrap();
    let more = transfer("more", "yen2", "yen", money("JPY", 1, 0));
    for _ in 0..2 {
        let status = client.record_transaction(more.clone()).await.unwrap_err();
        let (code, field) = (Code::FailedPrecondition, "legs[0].amount");
        assert_refused(&status, code, "BALANCE_OVERFLOW", field);
    }
    let mut sums = transfer("sums", "yen", "yen2", money("JPY", i64::MAX, 0));
    sums.legs.extend(sums.legs.clone());
    assert_invalid(&client.record_transaction(sums).await.unwrap_err(), "legs");
    assert_eq!(
        balance(&mut client, "yen").await,
        i128::from(i64::MAX) * 1_000_000_000
    );
    assert_eq!(trial_balance(&mut client).await.transactions, 1);
    // Other currencies are not concerned.
    client.record_transaction(lunch("t2")).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_does_not_exist_is_not_found() {
    let (_data, mut client) = start().await;
    for (id, code, reason) in [
        ("nothing", Code::NotFound, "TRANSACTION_NOT_FOUND"),
        ("", Code::InvalidArgument, "INVALID_REQUEST"),
    ] {
        let transaction_id = id.to_owned();
        let get = GetTransactionRequest { transaction_id };
        let status = client.get_transaction(get).await.unwrap_err();
        assert_refused(&status, code, reason, "transaction_id");
    }
}

#[tokio::test]
async fn the_answer_to_the_largest_batch_is_one_that_clients_take() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let mut batch = BatchRecordTransactionsRequest::default();
    let request = |n: usize| {
        let mut request = lunch(&format!("t{n}"));
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            request.metadata.insert(key.to_owned(), "x".repeat(512));
        }
        request
    };
    let more = loop {
        let next = request(batch.requests.len());
        batch.requests.push(next);
        if batch.encoded_len() > 3840 << 10 {
            break batch.requests.pop();
        }
    };
    let answer = client.batch_record_transactions(batch.clone()).await;
    let results = answer.unwrap().into_inner().results;
    assert_eq!(results.len(), batch.requests.len());
    batch.requests.extend(more);
    let refused = client.batch_record_transactions(batch).await;
    assert_invalid(&refused.unwrap_err(), "requests");
}
