//! Payments go through while what they go through is killed, restarted and drained.

use std::process::Stdio;

use e2e::{Signal, Up, report};
use mizan_contracts::{invoice::v1::InvoiceState, payment::v1::PaymentState};
use serde_json::Value;

use crate::books::{Books, spending, until};

const ROWS: u32 = 1200;

const PEERS: [[&str; 4]; 2] = [
    ["zakat-1", "invoice-1", "accounting-1", "payment-1"],
    ["zakat-2", "invoice-2", "accounting-2", "payment-2"],
];

/// Pays a file, does something at a third and at two thirds of it, and checks all books.
async fn paid_in_spite_of(up: &Up, first: impl FnOnce(), second: impl FnOnce()) {
    let (file, pence) = spending(up, ROWS);
    let file = file.to_str().unwrap();
    let replay = up
        .command(&["replay", "--json", file])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let replay = replay.unwrap();
    let books = Books::of(up);
    let reached = |wanted: i64| {
        let books = &books;
        until(move || async move {
            books
                .transactions()
                .await
                .is_some_and(|count| count >= wanted)
        })
    };
    reached(i64::from(ROWS / 3)).await;
    first();
    reached(i64::from(ROWS / 3 * 2)).await;
    second();
    let output = tokio::task::spawn_blocking(move || replay.wait_with_output())
        .await
        .unwrap();
    let (code, report) = report(&output.unwrap());
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["paid"], ROWS);
    everything_agrees(&books, &report, pence).await;

    let (code, again) = up.replay(&[file]);
    assert_eq!(
        (code, &again["paid"], &again["already_paid"]),
        (Some(0), &0.into(), &ROWS.into())
    );
    everything_agrees(&books, &again, pence).await;
}

/// One completed payment, one paid invoice with a number of its own, one transaction for each row.
async fn everything_agrees(books: &Books, report: &Value, pence: u64) {
    let expected = format!("{}.{:02}", pence / 100, pence % 100);
    assert_eq!(report["totals"][0]["amount"], expected);
    assert_eq!(report["trial_balance"]["transactions"], ROWS);
    assert_eq!(report["trial_balance"]["totals"][0]["debits"], expected);
    assert_eq!(report["trial_balance"]["totals"][0]["difference"], "0.00");

    let payments = books.payments().await;
    assert_eq!(payments.len(), ROWS as usize);
    assert!(
        payments
            .iter()
            .all(|payment| payment.state() == PaymentState::Completed)
    );
    let invoices = books.invoices().await;
    assert!(
        invoices
            .iter()
            .all(|invoice| invoice.state() == InvoiceState::Paid)
    );
    let mut numbers: Vec<_> = invoices.into_iter().map(|invoice| invoice.number).collect();
    numbers.sort();
    let gap_free: Vec<_> = (1..=ROWS).map(|n| format!("INV-{n:08}")).collect();
    assert_eq!(numbers, gap_free);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_one_instance_of_each_service_and_then_the_other() {
    let up = Up::start();
    let kill = |names: [&str; 4]| names.iter().for_each(|name| up.signal(name, Signal::KILL));
    paid_in_spite_of(&up, || kill(PEERS[0]), || kill(PEERS[1])).await;
    assert_eq!(up.stop().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_one_instance_of_each_service_and_then_the_other() {
    let up = Up::start();
    let drain = |names: [&str; 4]| names.iter().for_each(|name| up.signal(name, Signal::TERM));
    paid_in_spite_of(&up, || drain(PEERS[0]), || drain(PEERS[1])).await;
    assert_eq!(up.stop().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_registry() {
    let up = Up::start();
    paid_in_spite_of(&up, || up.signal("registry", Signal::KILL), || {}).await;
    // The new one learns of everybody again, untold.
    until(|| async {
        let services = up.run(&["services", "--json"]);
        let Ok(listing) = serde_json::from_slice::<Value>(&services.stdout) else {
            return false;
        };
        let services = listing.as_array().cloned().unwrap_or_default();
        services.len() == 4 && services.iter().all(|service| service["passing"] == 2)
    })
    .await;
    assert_eq!(up.stop().0, Some(0));
}
