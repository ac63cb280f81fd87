//! Several payment processes over one store, a SQLite file and PostgreSQL: one is killed, one is
//! paused and comes back. The registry, invoicing and accounting are in this process.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod world;

use std::{sync::Arc, time::Instant};

use mizan_contracts::payment::v1::PaymentState;
use world::{Process, Where, World, until};

/// How many payments are under way when something happens.
const PAYMENTS: usize = 24;

fn ids() -> impl Iterator<Item = String> {
    (0..PAYMENTS).map(|nth| format!("p{nth}"))
}

/// Payments that one process began and that wait for the ledger.
async fn waiting_for_the_ledger(world: &World, process: &Process) {
    for id in ids() {
        process.begin(&id).await;
    }
    for id in ids() {
        until(async || {
            let payment = process.get(&id).await?;
            // An attempt failed, so it is in its pause or in the next one.
            let tried = payment
                .steps
                .iter()
                .any(|s| s.name == "ledger" && s.attempts > 1);
            (payment.state() == PaymentState::Invoiced && tried).then_some(())
        })
        .await;
    }
    assert_eq!(world.invoices().await, PAYMENTS);
}

/// Killed, as `kill -9` does, with payments at the ledger and more just accepted: another takes all
/// of them over, and each is made once.
async fn a_killed_worker(location: Where) {
    let mut world = World::new(location).await;
    let first = world.start().await;
    let second = world.start().await;
    waiting_for_the_ledger(&world, &first).await;
    for nth in 0..PAYMENTS {
        first.begin(&format!("late{nth}")).await;
    }
    first.kill();
    let began = Instant::now();
    world.accounting().await;
    let late = (0..PAYMENTS).map(|nth| format!("late{nth}"));
    let all: Vec<String> = ids().chain(late).collect();
    for id in &all {
        second.reaches(id, PaymentState::Completed).await;
    }
    println!(
        "{} payments taken over and made in {:?}",
        all.len(),
        began.elapsed()
    );
    world.is_made_once(&second, &all).await;
}

/// Stopped in the middle, taken over, and let go on: what it would write is refused, what it calls
/// has been called with the same ids, and afterwards it works again.
async fn a_paused_worker(location: Where) {
    let mut world = World::new(location).await;
    let first = world.start().await;
    let second = Arc::new(world.start().await);
    waiting_for_the_ledger(&world, &first).await;
    // Not while it holds a lock of the store: that would stop everybody, and is not the question.
    until(async || {
        first.pause();
        let asked = second.try_begin("while-paused");
        let patience = std::time::Duration::from_secs(5);
        let free = tokio::time::timeout(patience, asked).await;
        let is_free = matches!(free, Ok(Ok(())));
        if !is_free {
            first.go_on();
        }
        is_free.then_some(())
    })
    .await;
    world.accounting().await;
    let mut taken = Vec::new();
    for id in ids() {
        taken.push(second.reaches(&id, PaymentState::Completed).await);
    }
    first.go_on();
    // It finds that its payments are another's, and lets go of every one of them.
    until(async || (first.let_go() >= PAYMENTS).then_some(())).await;
    for payment in taken {
        let id = &payment.payment_id;
        assert_eq!(first.get(id).await.unwrap(), payment, "nothing was written");
    }
    // It is one of the workers again.
    first.begin("after").await;
    first.reaches("after", PaymentState::Completed).await;
    second
        .reaches("while-paused", PaymentState::Completed)
        .await;
    let more = ["after", "while-paused"].map(str::to_owned);
    let all: Vec<String> = ids().chain(more).collect();
    world.is_made_once(&second, &all).await;
}

/// Refunds by two processes at once: together they never pay back more than was paid.
async fn refunds_at_once(location: Where) {
    let mut world = World::new(location).await;
    world.accounting().await;
    let processes = [world.start().await, world.start().await];
    processes[0].begin("p").await;
    processes[1].reaches("p", PaymentState::Completed).await;
    // Ten parts of 30 pence of a pound, each asked of both.
    let asking = (0..20).map(|nth| {
        let asked = processes[nth % 2].refund(format!("r{}", nth / 2), "p", 30);
        tokio::spawn(asked)
    });
    let mut made = std::collections::BTreeSet::new();
    for asked in asking.collect::<Vec<_>>() {
        match asked.await.unwrap() {
            Ok(refund) => {
                made.insert(refund.payment_id);
            }
            Err(status) => assert_eq!(
                mizan::status::reason(&status).as_deref(),
                Some("REFUND_TOO_LARGE"),
                "{status:?}"
            ),
        }
    }
    assert_eq!(made.len(), 3, "{made:?}");
    for id in &made {
        processes[0].reaches(id, PaymentState::Completed).await;
    }
    assert_eq!(world.spent().await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_by_two_processes_never_exceed_the_payment_on_a_file() {
    refunds_at_once(Where::file()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_by_two_processes_never_exceed_the_payment_on_postgresql() {
    if let Some(server) = Where::server().await {
        refunds_at_once(server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_leaves_another_finishes_on_a_file() {
    a_killed_worker(Where::file()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_leaves_another_finishes_on_postgresql() {
    if let Some(server) = Where::server().await {
        a_killed_worker(server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_paused_cannot_write_on_a_file() {
    a_paused_worker(Where::file()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_paused_cannot_write_on_postgresql() {
    if let Some(server) = Where::server().await {
        a_paused_worker(server).await;
    }
}
