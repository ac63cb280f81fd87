//! The failure matrix F17 to F24: many at once, workers, clocks, stores, and what always fails.

use std::time::Duration;

use mizan::{
    CallContext,
    status::{reason, refused},
    telemetry::TraceContext,
};
use mizan_contracts::payment::v1::{
    GetPaymentRequest, PaymentState, RetryPaymentRequest,
    payment_service_server::PaymentService as _,
};
use tonic::{Code, Request};

use super::{
    faulty::{Fault, Outage, away},
    matrix::{service, until},
    rig::{POLICY, Rig, encoded, payment, refund, request},
};
use crate::domain::{Command, Outcome, Policy, Saved, State, Step, Verb};

/// So many calls of the same request at once; all are told the same.
async fn at_once(rig: &Rig, count: usize) -> mizan_contracts::payment::v1::Payment {
    let service = service(rig);
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { service.process_payment(Request::new(request("p"))).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap().unwrap().into_inner());
    }
    let first = answers.swap_remove(0);
    assert!(answers.iter().all(|answer| *answer == first));
    first
}

#[tokio::test]
async fn f17_sixty_four_at_once_are_one_payment() {
    for mut rig in Rig::on_both(POLICY).await {
        let told = at_once(&rig, 64).await;
        assert_eq!(told.state(), PaymentState::Completed);
        for call in ["create_invoice", "record_transaction"] {
            assert_eq!(rig.shared.world.lock().came(call), 1, "{call}");
        }
        rig.ends_as("p", State::Completed).await;
    }
}

#[tokio::test]
async fn f18_a_duplicate_of_what_is_refused_is_refused_alike() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().ledger_refuses = true;
        let told = at_once(&rig, 16).await;
        assert_eq!(told.state(), PaymentState::Compensated);
        // By now the ledger would take it, and nobody is to be told that it did.
        rig.shared.world.lock().ledger_refuses = false;
        assert_eq!(at_once(&rig, 16).await, told);
        rig.ends_as("p", State::Compensated).await;
        assert_eq!(rig.shared.world.lock().came("record_transaction"), 1);
    }
}

#[tokio::test]
async fn f19_a_worker_that_was_paused_and_taken_over_cannot_write() {
    for mut rig in Rig::on_both(POLICY).await {
        // The ledger is away: the payment waits in INVOICED, and its worker is paused there.
        rig.shared
            .always
            .lock()
            .insert("record_transaction", away());
        rig.coordinator
            .submit(payment("p"), encoded(&payment("p")))
            .await
            .unwrap();
        let held = until(&rig, "p", |p| p.state == State::Invoiced).await;
        let second = rig.another(9).await;
        rig.bury(rig.coordinator.worker()).await;
        assert_eq!(second.take_over(10).await.unwrap(), 1);
        let save = Command::Save {
            payment: Box::new(held),
            now: 1,
        };
        let outcome = rig.shared.backing.write(save).await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Saved(Saved::Stale { .. })),
            "{outcome:?}"
        );
        rig.shared.always.lock().clear();
        let ended = rig.pay("p").await;
        assert_eq!(ended.state, State::Completed);
        rig.check(&ended, payment("p")).await;
    }
}

#[tokio::test]
async fn f20_a_payment_whose_caller_leaves_goes_on() {
    for mut rig in Rig::on_both(POLICY).await {
        let service = service(&rig);
        let call =
            tokio::spawn(async move { service.process_payment(Request::new(request("p"))).await });
        until(&rig, "p", |_| true).await;
        call.abort();
        let ended = until(&rig, "p", |p| p.state.is_at_rest()).await;
        assert_eq!(ended.state, State::Completed);
        rig.check(&ended, payment("p")).await;
    }
}

/// The ledger says nothing at all: the caller is answered before its deadline with what is so far,
/// and the payment, which has no deadline of the caller's, goes on.
#[tokio::test]
async fn f20_a_caller_whose_deadline_passes_is_told_the_state_so_far() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared.held.send_replace("record_transaction");
        let body = payment("p");
        let request = encoded(&body);
        rig.coordinator.submit(body, request).await.unwrap();
        until(&rig, "p", |p| p.state == State::Invoiced).await;
        let service = service(&rig);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
        let caller = CallContext::new(Some(deadline), TraceContext::root());
        let asked = super::rig::request("p");
        let call = caller.scope(service.process_payment(Request::new(asked)));
        let told = call.await.unwrap().into_inner();
        assert_eq!(told.state(), PaymentState::Invoiced);
        assert!(told.transaction_id.is_empty());
        rig.shared.held.send_replace("");
        rig.ends_as("p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().came("record_transaction"), 1);
    }
}

#[tokio::test]
async fn f21_a_clock_that_jumps_and_a_storm_of_restarts_change_nothing() {
    for mut rig in Rig::on_both(POLICY).await {
        for first in 0..6 {
            // Every start dies at its first touch, or its second.
            rig.fault(2 * first, Fault::CrashAfter);
        }
        let ended = rig.pay("p").await;
        assert_eq!(ended.state, State::Completed);
        rig.check(&ended, payment("p")).await;
        // An hour back, and into the next century: ids and fences do not look at it.
        for now in [1, 4_000_000_000_000_000] {
            let id = format!("at{now}");
            let accept = Command::Accept(Box::new(crate::domain::Accept {
                request: encoded(&payment(&id)),
                body: payment(&id),
                worker: rig.coordinator.worker().to_owned(),
                now,
            }));
            rig.shared.backing.write(accept).await.unwrap();
            rig.ends_as(&id, State::Completed).await;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Forward,
    Back,
}

/// At every write of a payment that is made, and of one that is undone, the store goes away for
/// longer than a moment: meanwhile nothing is asked of anybody.
#[tokio::test]
async fn f22_a_store_that_fails_at_each_write_fails_closed() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault_next(Fault::LostBefore);
        let service = service(&rig);
        let refusal = service.process_payment(Request::new(request("p0"))).await;
        let refusal = refusal.unwrap_err();
        assert_eq!(reason(&refusal).as_deref(), Some("STORE_UNAVAILABLE"));
        assert!(rig.shared.world.lock().documents.is_empty());
        let mut injected = 0;
        for way in [Way::Forward, Way::Back] {
            for write in 0.. {
                let id = format!("p{way:?}{write}");
                rig.shared.world.lock().ledger_refuses = way == Way::Back;
                *rig.shared.outage.lock() = Outage::In(write);
                let began = rig.coordinator.submit(payment(&id), encoded(&payment(&id)));
                let began = began.await.is_ok();
                let is_over = if began {
                    outage_or_rest(&rig, &id).await
                } else {
                    false
                };
                if is_over {
                    break;
                }
                injected += 1;
                let tried = rig.shared.tried.lock().clone();
                if began {
                    refused_writes(&rig, 3).await;
                }
                assert_eq!(*rig.shared.tried.lock(), tried, "nothing goes on");
                *rig.shared.outage.lock() = Outage::None;
                let state = match way {
                    Way::Forward => State::Completed,
                    Way::Back => State::Compensated,
                };
                rig.ends_as(&id, state).await;
            }
            *rig.shared.outage.lock() = Outage::None;
        }
        // Acceptance, and one for each of three steps.
        assert_eq!(injected, 8);
        rig.shared.world.lock().ledger_refuses = false;
        for write in [0, 3, 7, 9] {
            let id = format!("lost{write}");
            rig.fault(write, Fault::LostAfter);
            rig.ends_as(&id, State::Completed).await;
        }
    }
}

/// Whether a payment came to rest before the store went away.
async fn outage_or_rest(rig: &Rig, id: &str) -> bool {
    let mut is_over = false;
    condition(async || {
        if matches!(*rig.shared.outage.lock(), Outage::Since(_)) {
            return true;
        }
        let found = rig.store().get(id.to_owned()).await.unwrap();
        is_over = found.is_some_and(|payment| payment.state.is_at_rest());
        is_over
    })
    .await;
    is_over && !matches!(*rig.shared.outage.lock(), Outage::Since(_))
}

/// Waits until so many writes were refused.
async fn refused_writes(rig: &Rig, count: usize) {
    condition(async || matches!(*rig.shared.outage.lock(), Outage::Since(n) if n >= count)).await;
}

async fn condition(mut is_so: impl AsyncFnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let waiting = async {
        loop {
            ticks.tick().await;
            if is_so().await {
                return;
            }
        }
    };
    let patience = Duration::from_secs(60);
    let came = tokio::time::timeout(patience, waiting);
    came.await.expect("it never came to that");
}

/// Twenty payments whose ledger never answers: each asks so often and no more, and is parked, since
/// it may have moved. What undoes others is not held up meanwhile, and they end when it is back.
#[tokio::test]
async fn f23_repetitions_are_bounded_and_compensation_is_not_held_up_by_the_ledger() {
    let few = Policy {
        attempts_max: 5,
        ledger_wait_micros: 3_600_000_000,
    };
    for mut rig in Rig::on_both(few).await {
        let undone = rig.pay("undone").await;
        let refund = refund("undoing", "undone", None);
        rig.shared.world.lock().ledger_refuses = true;
        rig.shared.always.lock().insert("void_invoice", away());
        let request = encoded(&refund);
        rig.coordinator.submit(refund, request).await.unwrap();
        until(&rig, "undoing", |p| p.state == State::Compensating).await;
        rig.shared.world.lock().ledger_refuses = false;
        let tried = rig.shared.tried("record_transaction");
        let lost = refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "");
        rig.shared.always.lock().insert("record_transaction", lost);
        for nth in 0..20 {
            let body = payment(&format!("p{nth}"));
            let request = encoded(&body);
            rig.coordinator.submit(body, request).await.unwrap();
        }
        for nth in 0..20 {
            let parked = until(&rig, &format!("p{nth}"), |p| p.state.is_at_rest()).await;
            assert_eq!(parked.state, State::NeedsAttention);
            assert_eq!(parked.stands(), State::Invoiced);
            assert_eq!(parked.journal.step(Step::Ledger).unwrap().attempts, 5);
        }
        assert_eq!(rig.shared.tried("record_transaction"), tried + 20 * 5);
        rig.shared.always.lock().remove("void_invoice");
        let ended = until(&rig, "undoing", |p| p.state.is_at_rest()).await;
        assert_eq!(ended.state, State::Compensated, "without the ledger");
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 1);
        rig.shared.always.lock().clear();
        for nth in 0..20 {
            let id = format!("p{nth}");
            let verb = Verb::Retry;
            let retried = rig.coordinator.steer("again".to_owned(), id.clone(), verb);
            retried.await.unwrap();
            until(&rig, &id, |p| p.state.is_at_rest()).await;
            rig.ends_as(&id, State::Completed).await;
        }
        rig.check(&undone, payment("undone")).await;
    }
}

/// After the pivot there is no bound: the money has moved, and the invoice will say so.
#[tokio::test]
async fn f23_marking_paid_is_repeated_until_done_and_its_age_is_shown() {
    let few = Policy {
        attempts_max: 3,
        ..POLICY
    };
    for mut rig in Rig::on_both(few).await {
        rig.always("record_invoice_payment", away());
        let body = payment("p");
        let request = encoded(&body);
        rig.coordinator.submit(body, request).await.unwrap();
        let seen = until(&rig, "p", |p| {
            let settle = p.journal.step(Step::Settle);
            settle.is_some_and(|step| step.attempts > 10)
        });
        assert_eq!(seen.await.state, State::Recorded, "and never parked");
        let in_a_minute = mizan::request::micros(std::time::SystemTime::now()) + 60_000_000;
        let figures = rig.store().figures(in_a_minute).await.unwrap();
        assert_eq!(figures.in_state(State::Recorded), 1);
        assert!(figures.recorded_age_seconds >= 60, "{figures:?}");
        assert_eq!(figures.compensating_age_seconds, 0);
        rig.shared.always.lock().clear();
        rig.ends_as("p", State::Completed).await;
    }
}

/// But what is refused for good is for a person: here somebody voided the invoice meanwhile.
#[tokio::test]
async fn f16_an_invoice_that_was_voided_after_the_ledger_is_for_a_person() {
    for rig in Rig::on_both(POLICY).await {
        rig.always("record_invoice_payment", away());
        let body = payment("p");
        let request = encoded(&body);
        rig.coordinator.submit(body, request).await.unwrap();
        let seen = until(&rig, "p", |p| p.state == State::Recorded).await;
        let document = seen.intent.document_id();
        let voided = rig.shared.world.lock().void(&document);
        voided.unwrap();
        rig.shared.always.lock().clear();
        let parked = until(&rig, "p", |p| p.state.is_at_rest()).await;
        assert_eq!(parked.stands(), State::Recorded, "the money has moved");
        assert_eq!(parked.parked.unwrap().1.reason, "INVOICE_VOIDED");
        assert_eq!(rig.shared.world.lock().recorded(&parked.intent), 1);
    }
}

#[tokio::test]
async fn f24_a_payment_that_always_fails_is_parked_and_others_go_on() {
    let few = Policy {
        attempts_max: 3,
        ..POLICY
    };
    for mut rig in Rig::on_both(few).await {
        let poison = refused(Code::Internal, "PANICKED", "it always does");
        rig.shared.always.lock().insert("create_invoice", poison);
        let parked = rig.pay("poison").await;
        assert_eq!(parked.state, State::NeedsAttention);
        rig.shared.always.lock().clear();
        rig.ends_as("other", State::Completed).await;

        let service = service(&rig);
        let get = GetPaymentRequest {
            payment_id: "poison".to_owned(),
        };
        let seen = service.get_payment(Request::new(get)).await;
        let seen = seen.unwrap().into_inner();
        assert_eq!(seen.parked_state(), PaymentState::Accepted);
        assert_eq!(seen.attention.unwrap().reason, "PANICKED");
        assert_eq!(seen.steps[0].attempts, 3);
        assert_eq!(seen.steps[0].recent_attempts.len(), 3);
        let retry = |payment_id: &str| RetryPaymentRequest {
            request_id: "again".to_owned(),
            payment_id: payment_id.to_owned(),
        };
        let refusal = service.retry_payment(Request::new(retry("other"))).await;
        assert_eq!(
            reason(&refusal.unwrap_err()).as_deref(),
            Some("PAYMENT_NOT_PARKED")
        );
        service
            .retry_payment(Request::new(retry("poison")))
            .await
            .unwrap();
        let ended = until(&rig, "poison", |p| p.state.is_at_rest()).await;
        assert_eq!(ended.state, State::Completed);
        rig.check(&ended, payment("poison")).await;
        let again = service.retry_payment(Request::new(retry("poison"))).await;
        assert_eq!(
            again.unwrap().into_inner().state(),
            PaymentState::Completed,
            "the same decision, once"
        );
    }
}
