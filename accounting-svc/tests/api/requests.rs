//! Requests that are fine as they are, for tests to send or to break.

use mizan_contracts::{
    accounting::v1::{
        AccountType, CreateAccountRequest, GetBalanceRequest, GetTrialBalanceRequest, Leg,
        RecordTransactionRequest, Side, TrialBalance,
    },
    r#type::v1::Money,
};

use crate::service::Client;

/// A new account; its id is the request's too.
pub(crate) fn account(id: &str, account_type: AccountType, code: &str) -> CreateAccountRequest {
    CreateAccountRequest {
        request_id: format!("create-{id}"),
        account_id: id.to_owned(),
        display_name: format!("The {id} account"),
        r#type: account_type.into(),
        currency_code: code.to_owned(),
        ..CreateAccountRequest::default()
    }
}

/// Creates `cash` and `food` in pounds, and `dollars`, `yen` and `yen2` in what they say.
pub(crate) async fn create_accounts(client: &mut Client) {
    for (id, account_type, code) in [
        ("cash", AccountType::Asset, "GBP"),
        ("food", AccountType::Expense, "GBP"),
        ("dollars", AccountType::Asset, "USD"),
        ("yen", AccountType::Asset, "JPY"),
        ("yen2", AccountType::Liability, "JPY"),
    ] {
        let request = account(id, account_type, code);
        client.create_account(request).await.unwrap();
    }
}

pub(crate) fn money(code: &str, units: i64, nanos: i32) -> Money {
    Money {
        currency_code: code.to_owned(),
        units,
        nanos,
    }
}

pub(crate) fn leg(account_id: &str, side: Side, amount: Money) -> Leg {
    Leg {
        account_id: account_id.to_owned(),
        side: side.into(),
        amount: Some(amount),
    }
}

/// Debits one account and credits the other.
pub(crate) fn transfer(
    request_id: &str,
    debited: &str,
    credited: &str,
    amount: Money,
) -> RecordTransactionRequest {
    RecordTransactionRequest {
        request_id: request_id.to_owned(),
        legs: vec![
            leg(debited, Side::Debit, amount.clone()),
            leg(credited, Side::Credit, amount),
        ],
        ..RecordTransactionRequest::default()
    }
}

/// 12.34 GBP for food, from cash.
pub(crate) fn lunch(request_id: &str) -> RecordTransactionRequest {
    transfer(request_id, "food", "cash", money("GBP", 12, 340_000_000))
}

/// What an account holds, in billionths of a unit.
pub(crate) async fn balance(client: &mut Client, account_id: &str) -> i128 {
    let account_id = account_id.to_owned();
    let balance = client
        .get_balance(GetBalanceRequest {
            account_id,
            ..GetBalanceRequest::default()
        })
        .await;
    nanos(balance.unwrap().into_inner().balance.as_ref())
}

/// The trial balance, which must be zero.
pub(crate) async fn trial_balance(client: &mut Client) -> TrialBalance {
    let trial = client
        .get_trial_balance(GetTrialBalanceRequest::default())
        .await;
    let trial = trial.unwrap().into_inner();
    for total in &trial.totals {
        assert_eq!(total.debits, total.credits);
        assert_eq!(nanos(total.difference.as_ref()), 0);
    }
    trial
}

pub(crate) fn nanos(amount: Option<&Money>) -> i128 {
    let amount = amount.unwrap();
    i128::from(amount.units) * 1_000_000_000 + i128::from(amount.nanos)
}
