//! Balances as of other times, against what was read and listed at those times.

use mizan_contracts::accounting::v1::*;
use prost_types::Timestamp;

use crate::{Client, Random, create, each_store, gbp, pence, sides, transfer};

const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

/// What was seen right after one change: when it was recorded, what the accounts held, and what was
/// listed.
struct Seen {
    time: Timestamp,
    holds: Vec<[i64; 4]>,
    listed: Vec<Transaction>,
}

async fn balance(
    client: &mut Client,
    account: &str,
    recorded: Option<Timestamp>,
    effective: Option<Timestamp>,
) -> [i64; 4] {
    let request = GetBalanceRequest {
        account_id: account.to_owned(),
        recorded_as_of: recorded,
        effective_as_of: effective,
    };
    sides(&client.get_balance(request).await.unwrap().into_inner())
}

/// Posted debits and credits of what was listed and had happened by then.
fn added_up(listed: &[Transaction], account: &str, by: Timestamp) -> [i64; 2] {
    let mut sums = [0; 2];
    let after = |time: Option<Timestamp>| {
        let time = time.unwrap_or_default();
        (time.seconds, time.nanos) > (by.seconds, by.nanos)
    };
    let counts =
        |t: &&Transaction| t.state() == TransactionState::Posted && !after(t.effective_time);
    for transaction in listed.iter().filter(counts) {
        for (place, leg) in transaction.legs.iter().enumerate() {
            let part = transaction.posted_amounts.get(place);
            let amount = pence(part.or(leg.amount.as_ref()));
            if leg.account_id == account {
                sums[usize::from(leg.side() == Side::Credit)] += amount;
            }
        }
    }
    sums
}

async fn change(client: &mut Client, random: &mut Random, n: usize) -> Option<Timestamp> {
    let of = |index: u64| ACCOUNTS[usize::try_from(index).unwrap()];
    let target = format!("t{}", random.below(u64::try_from(n).unwrap() + 1));
    let effective = Timestamp {
        seconds: 1_000 + i64::try_from(random.below(20)).unwrap(),
        nanos: 0,
    };
    let id = format!("t{n}");
    match random.below(6) {
        0..=2 => {
            let (from, by) = (random.below(3), 1 + random.below(2));
            let minor = 2 + i64::try_from(random.below(90)).unwrap();
            let mut request = transfer(&id, of(from), of((from + by) % 3), minor);
            request.effective_time = Some(effective);
            request.pending = random.below(2) == 0;
            let done = client.record_transaction(request).await.unwrap();
            done.into_inner().record_time
        }
        3 => {
            let request = PostTransactionRequest {
                request_id: id,
                transaction_id: target,
                amounts: vec![gbp(1), gbp(1)],
            };
            let done = client.post_transaction(request).await.ok()?;
            done.into_inner().settle_time
        }
        4 => {
            let request = VoidTransactionRequest {
                request_id: id,
                transaction_id: target,
            };
            let done = client.void_transaction(request).await.ok()?;
            done.into_inner().settle_time
        }
        _ => {
            let request = ReverseTransactionRequest {
                request_id: id,
                transaction_id: target,
                effective_time: Some(effective),
                ..ReverseTransactionRequest::default()
            };
            let done = client.reverse_transaction(request).await.ok()?;
            done.into_inner().record_time
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_as_of_a_time_is_what_was_read_then() {
    for (store, _data, _url, mut client) in each_store().await {
        let mut random = Random(42);
        for id in ACCOUNTS {
            create(&mut client, id, AccountLimit::Unspecified).await;
        }
        let mut all: Vec<Seen> = Vec::new();
        for n in 0..60 {
            let Some(time) = change(&mut client, &mut random, n).await else {
                continue;
            };
            let mut holds = Vec::new();
            for id in ACCOUNTS {
                holds.push(balance(&mut client, id, None, None).await);
            }
            let list = ListTransactionsRequest {
                page_size: 1_000,
                ..ListTransactionsRequest::default()
            };
            let listed = client.list_transactions(list).await.unwrap();
            all.push(Seen {
                time,
                holds,
                listed: listed.into_inner().transactions,
            });
        }
        assert!(all.len() > 30, "{store}: {} changes", all.len());
        for seen in &all {
            for (id, held) in ACCOUNTS.into_iter().zip(&seen.holds) {
                let then = balance(&mut client, id, Some(seen.time), None).await;
                assert_eq!(then, *held, "{store}: {id} as of {:?}", seen.time);
                let by = Timestamp {
                    seconds: 1_000 + i64::try_from(random.below(20)).unwrap(),
                    nanos: 0,
                };
                let both = balance(&mut client, id, Some(seen.time), Some(by)).await;
                let expected = added_up(&seen.listed, id, by);
                assert_eq!(
                    both[..2],
                    expected,
                    "{store}: {id} at {by:?}, {:?}",
                    seen.time
                );
            }
        }
    }
}
