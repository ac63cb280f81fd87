//! CreateAccount and GetAccount.

use mizan_contracts::accounting::v1::{
    AccountType, CreateAccountRequest, GetAccountRequest, GetBalanceRequest,
};
use tonic::Code;

use crate::{
    requests::account,
    service::{assert_invalid, assert_refused, start, told},
};

fn cash() -> CreateAccountRequest {
    account("cash", AccountType::Asset, "GBP")
}

#[tokio::test]
async fn an_account_is_created_once_and_read_back_as_it_was_sent() {
    let (_data, mut client) = start().await;
    let mut request = cash();
    request.metadata.insert("owner".into(), "treasury".into());
    let created = client
        .create_account(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(created.account_id, "cash");
    assert_eq!(created.display_name, "The cash account");
    assert_eq!(created.r#type(), AccountType::Asset);
    assert_eq!(created.currency_code, "GBP");
    assert_eq!(created.metadata, request.metadata);
    assert!(created.create_time.unwrap().seconds > 1_700_000_000);

    let again = client.create_account(request).await.unwrap().into_inner();
    assert_eq!(again, created, "the same request, the same answer");
    let account_id = "cash".to_owned();
    let got = client.get_account(GetAccountRequest { account_id }).await;
    assert_eq!(got.unwrap().into_inner(), created);
}

#[tokio::test]
async fn every_field_that_breaks_its_limits_is_named_and_no_id_is_consumed() {
    type Change = fn(&mut CreateAccountRequest);
    let (_data, mut client) = start().await;
    let changes: [(&str, Change); 17] = [
        ("request_id", |r| r.request_id.clear()),
        ("request_id", |r| r.request_id = "x".repeat(129)),
        ("request_id", |r| r.request_id = "a b".to_owned()),
        ("account_id", |r| r.account_id.clear()),
        ("account_id", |r| r.account_id = "x".repeat(129)),
        ("account_id", |r| r.account_id = "é".to_owned()),
        ("display_name", |r| r.display_name.clear()),
        ("display_name", |r| r.display_name = "é".repeat(257)),
        ("type", |r| r.r#type = 0),
        ("type", |r| r.r#type = 6),
        ("currency_code", |r| r.currency_code.clear()),
        ("currency_code", |r| r.currency_code = "gbp".to_owned()),
        ("currency_code", |r| r.currency_code = "XAU".to_owned()),
        ("metadata", |r| {
            r.metadata = (0..65).map(|n| (n.to_string(), String::new())).collect();
        }),
        ("metadata", |r| {
            drop(r.metadata.insert(String::new(), "v".into()))
        }),
        ("metadata", |r| {
            drop(r.metadata.insert("k".repeat(129), "v".into()))
        }),
        ("metadata[k]", |r| {
            drop(r.metadata.insert("k".into(), "é".repeat(513)))
        }),
    ];
    for (field, change) in changes {
        let mut request = cash();
        change(&mut request);
        assert_invalid(&client.create_account(request).await.unwrap_err(), field);
    }
    let nothing = CreateAccountRequest::default();
    let status = client.create_account(nothing).await.unwrap_err();
    let (_, _, fields) = told(&status);
    let all = [
        "request_id",
        "account_id",
        "display_name",
        "type",
        "currency_code",
    ];
    assert_eq!(fields, all, "all at once");

    client.create_account(cash()).await.unwrap();
}

#[tokio::test]
async fn the_limits_themselves_are_within() {
    let (_data, mut client) = start().await;
    let mut request = cash();
    request.request_id = "A-Z.a_z:09".repeat(13)[..128].to_owned();
    request.account_id = "x".repeat(128);
    request.display_name = "é".repeat(256);
    let entry = |n: usize| (format!("{n:é>128}"), "é".repeat(512));
    request.metadata = (0..64).map(entry).collect();
    let created = client.create_account(request.clone()).await.unwrap();
    assert_eq!(created.into_inner().metadata, request.metadata);
}

#[tokio::test]
async fn an_id_that_is_taken_is_refused_for_ever() {
    let (_data, mut client) = start().await;
    client.create_account(cash()).await.unwrap();
    let late = CreateAccountRequest {
        request_id: "late".to_owned(),
        ..cash()
    };
    for _ in 0..2 {
        let status = client.create_account(late.clone()).await.unwrap_err();
        assert_refused(&status, Code::AlreadyExists, "ACCOUNT_EXISTS", "account_id");
    }
    // The refusal used the id up.
    let mended = CreateAccountRequest {
        account_id: "cash2".to_owned(),
        ..late
    };
    let status = client.create_account(mended).await.unwrap_err();
    assert_refused(
        &status,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
        "account_id",
    );
}

#[tokio::test]
async fn a_used_id_with_another_body_is_refused_with_the_field() {
    type Change = fn(&mut CreateAccountRequest);
    let (_data, mut client) = start().await;
    client.create_account(cash()).await.unwrap();
    let changes: [(&str, Change); 5] = [
        ("account_id", |r| r.account_id.push('2')),
        ("display_name", |r| r.display_name.push('!')),
        ("type", |r| r.r#type = AccountType::Equity.into()),
        ("currency_code", |r| r.currency_code = "USD".to_owned()),
        ("metadata", |r| {
            drop(r.metadata.insert("k".into(), "v".into()))
        }),
    ];
    for (field, change) in changes {
        let mut request = cash();
        change(&mut request);
        let status = client.create_account(request).await.unwrap_err();
        assert_refused(&status, Code::AlreadyExists, "REQUEST_ID_REUSED", field);
    }
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_not_found() {
    let (_data, mut client) = start().await;
    for (id, code, reason) in [
        ("nobody", Code::NotFound, "ACCOUNT_NOT_FOUND"),
        ("", Code::InvalidArgument, "INVALID_REQUEST"),
        ("no body", Code::InvalidArgument, "INVALID_REQUEST"),
    ] {
        let account_id = id.to_owned();
        let get = GetAccountRequest { account_id };
        let status = client.get_account(get).await.unwrap_err();
        assert_refused(&status, code, reason, "account_id");
        let account_id = id.to_owned();
        let get = GetBalanceRequest {
            account_id,
            ..GetBalanceRequest::default()
        };
        let status = client.get_balance(get).await.unwrap_err();
        assert_refused(&status, code, reason, "account_id");
    }
}
