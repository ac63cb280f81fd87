//! GetBalance and GetTrialBalance.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mizan_contracts::accounting::v1::{AccountType, Balance, GetBalanceRequest};

use crate::{
    requests::{account, create_accounts, lunch, money, nanos, transfer, trial_balance},
    service::start,
};

#[tokio::test]
async fn a_balance_shows_both_sides_and_grows_by_type() {
    let (_data, mut client) = start().await;
    let types = [
        (AccountType::Asset, 1),
        (AccountType::Expense, 1),
        (AccountType::Liability, -1),
        (AccountType::Equity, -1),
        (AccountType::Income, -1),
    ];
    let other = account("other", AccountType::Asset, "KWD");
    client.create_account(other).await.unwrap();
    for (account_type, sign) in types {
        let id = account_type.as_str_name();
        client
            .create_account(account(id, account_type, "KWD"))
            .await
            .unwrap();
        let debit = transfer(&format!("{id}.1"), id, "other", money("KWD", 3, 5_000_000));
        client.record_transaction(debit).await.unwrap();
        let credit = transfer(&format!("{id}.2"), "other", id, money("KWD", 1, 0));
        client.record_transaction(credit).await.unwrap();
        let account_id = id.to_owned();
        let got = client
            .get_balance(GetBalanceRequest {
                account_id,
                ..GetBalanceRequest::default()
            })
            .await;
        let expected = Balance {
            account_id: id.to_owned(),
            debits: Some(money("KWD", 3, 5_000_000)),
            credits: Some(money("KWD", 1, 0)),
            balance: Some(money("KWD", 2 * i64::from(sign), 5_000_000 * sign)),
            pending_debits: Some(money("KWD", 0, 0)),
            pending_credits: Some(money("KWD", 0, 0)),
        };
        assert_eq!(got.unwrap().into_inner(), expected);
    }
}

#[tokio::test]
async fn a_trial_balance_has_every_account_and_every_currency_in_order() {
    let (_data, mut client) = start().await;
    let empty = trial_balance(&mut client).await;
    assert!(empty.balances.is_empty() && empty.totals.is_empty());
    create_accounts(&mut client).await;
    client.record_transaction(lunch("t1")).await.unwrap();
    let yen = transfer("t2", "yen", "yen2", money("JPY", 300, 0));
    client.record_transaction(yen).await.unwrap();
    let trial = trial_balance(&mut client).await;
    let ids: Vec<_> = trial.balances.iter().map(|b| &*b.account_id).collect();
    assert_eq!(ids, ["cash", "dollars", "food", "yen", "yen2"]);
    let debits: Vec<_> = trial
        .totals
        .iter()
        .map(|t| t.debits.clone().unwrap())
        .collect();
    let lunch = money("GBP", 12, 340_000_000);
    assert_eq!(debits, [lunch, money("JPY", 300, 0), money("USD", 0, 0)]);
    assert_eq!(trial.transactions, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_balance_is_read_at_one_moment() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (mut client, done) = (client.clone(), done.clone());
        async move {
            for n in 0..200 {
                client
                    .record_transaction(lunch(&format!("t{n}")))
                    .await
                    .unwrap();
            }
            done.store(true, Ordering::Release);
        }
    });
    let mut reads = 0;
    while !done.load(Ordering::Acquire) {
        let trial = trial_balance(&mut client).await;
        let food = trial
            .balances
            .iter()
            .find(|b| b.account_id == "food")
            .unwrap();
        let lunches = i128::from(trial.transactions);
        assert_eq!(nanos(food.debits.as_ref()), lunches * 12_340_000_000);
        reads += 1;
    }
    writer.await.unwrap();
    assert!(reads > 1, "read while it was written");
    assert_eq!(trial_balance(&mut client).await.transactions, 200);
}
