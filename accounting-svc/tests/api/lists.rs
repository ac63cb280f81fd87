//! ListTransactions.

use mizan_contracts::accounting::v1::{ListTransactionsRequest, Transaction};

use crate::{
    requests::{create_accounts, lunch, money, transfer},
    service::{Client, assert_invalid, start},
};

fn list(page_size: i32, account_id: &str, reference: &str) -> ListTransactionsRequest {
    ListTransactionsRequest {
        page_size,
        page_token: String::new(),
        account_id: account_id.to_owned(),
        reference: reference.to_owned(),
        ..ListTransactionsRequest::default()
    }
}

/// All pages of a list, each with its sequences.
async fn pages(client: &mut Client, mut request: ListTransactionsRequest) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    loop {
        let page = client.list_transactions(request.clone()).await.unwrap();
        let page = page.into_inner();
        let sequence = |t: &Transaction| t.sequence;
        pages.push(page.transactions.iter().map(sequence).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

/// Ten transactions: 1, 4, 7 and 10 in yen, the others lunches; the even ones with a reference.
async fn ten(client: &mut Client) {
    create_accounts(client).await;
    for n in 1..=10 {
        let id = format!("t{n}");
        let mut request = if n % 3 == 1 {
            transfer(&id, "yen", "yen2", money("JPY", n, 0))
        } else {
            lunch(&id)
        };
        if n % 2 == 0 {
            request.reference = "even".to_owned();
        }
        client.record_transaction(request).await.unwrap();
    }
}

#[tokio::test]
async fn pages_follow_the_order_of_record_and_end() {
    let (_data, mut client) = start().await;
    assert_eq!(pages(&mut client, list(0, "", "")).await, [[0; 0]]);
    ten(&mut client).await;
    let all: Vec<i64> = (1..=10).collect();
    assert_eq!(pages(&mut client, list(0, "", "")).await, [&*all]);
    assert_eq!(
        pages(&mut client, list(4, "", "")).await,
        [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]]
    );
    assert_eq!(
        pages(&mut client, list(5, "", "")).await.len(),
        2,
        "no empty page"
    );
    assert_eq!(pages(&mut client, list(i32::MAX, "", "")).await, [&*all]);
}

#[tokio::test]
async fn filters_hold_on_every_page() {
    let (_data, mut client) = start().await;
    ten(&mut client).await;
    let cases: [(&str, &str, &[&[i64]]); 6] = [
        ("yen", "", &[&[1, 4], &[7, 10]]),
        ("yen2", "", &[&[1, 4], &[7, 10]]),
        ("", "even", &[&[2, 4], &[6, 8], &[10]]),
        ("yen", "even", &[&[4, 10]]),
        ("dollars", "", &[&[]]),
        ("nobody", "even", &[&[]]),
    ];
    for (account_id, reference, expected) in cases {
        let got = pages(&mut client, list(2, account_id, reference)).await;
        assert_eq!(got, expected, "{account_id} {reference}");
    }
}

#[tokio::test]
async fn an_account_on_several_legs_lists_its_transaction_once() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let mut request = lunch("t1");
    request.legs.extend(request.legs.clone());
    client.record_transaction(request).await.unwrap();
    client.record_transaction(lunch("t2")).await.unwrap();
    assert_eq!(pages(&mut client, list(0, "food", "")).await, [[1, 2]]);
}

#[tokio::test]
async fn what_is_recorded_meanwhile_appears_on_later_pages() {
    let (_data, mut client) = start().await;
    ten(&mut client).await;
    let mut request = list(8, "", "");
    let first = client.list_transactions(request.clone()).await.unwrap();
    client.record_transaction(lunch("t11")).await.unwrap();
    request.page_token = first.into_inner().next_page_token;
    assert_eq!(pages(&mut client, request).await, [[9, 10, 11]]);
}

#[tokio::test]
async fn bad_lists_are_refused_with_the_field() {
    let (_data, mut client) = start().await;
    ten(&mut client).await;
    let cases = [
        ("page_size", list(-1, "", "")),
        ("account_id", list(0, "no body", "")),
        ("reference", list(0, "", &"x".repeat(257))),
    ];
    for (field, request) in cases {
        assert_invalid(&client.list_transactions(request).await.unwrap_err(), field);
    }
    let page = client.list_transactions(list(2, "yen", "")).await.unwrap();
    let token = page.into_inner().next_page_token;
    for (account_id, page_token) in [
        ("yen", "nonsense".to_owned()),
        ("yen", format!("{token}0")),
        ("yen2", token.clone()),
        ("", token),
    ] {
        let request = ListTransactionsRequest {
            page_token,
            ..list(2, account_id, "")
        };
        let status = client.list_transactions(request).await.unwrap_err();
        assert_invalid(&status, "page_token");
    }
}

#[tokio::test]
async fn a_page_of_huge_transactions_stays_within_a_message() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let value = "é".repeat(512);
    let metadata = (0..64).map(|n| (n.to_string(), value.clone())).collect();
    let huge = |id: &str| {
        let mut request = lunch(id);
        request.legs = request.legs.into_iter().cycle().take(1000).collect();
        request.metadata = std::collections::BTreeMap::clone(&metadata);
        request
    };
    // About 100 KB each, 5 MB in all; a client accepts 4 MiB.
    for n in 1..=50 {
        client
            .record_transaction(huge(&format!("t{n}")))
            .await
            .unwrap();
    }
    let pages = pages(&mut client, list(1000, "", "")).await;
    assert_eq!(pages.len(), 2);
    assert_eq!(pages.concat(), (1..=50).collect::<Vec<_>>());
}
