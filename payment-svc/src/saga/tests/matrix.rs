//! The failure matrix F1 to F16, a test for each, on both stores. The table is in
//! `docs/PAYMENTS.md`.

use std::time::Duration;

use mizan::status::{reason, refused, retry_after, retry_later};
use mizan_contracts::payment::v1::{
    PaymentState, ProcessPaymentRequest, payment_service_server::PaymentService as _,
};
use tonic::{Code, Request};

use super::{
    rig::{Fault, POLICY, Rig, away, payment, refund, request},
    world::Document,
};
use crate::{
    domain::{Payment, Policy, State},
    grpc::Payments,
};

/// The service as callers see it.
pub(super) fn service(rig: &Rig) -> Payments {
    Payments {
        store: rig.store().clone(),
        coordinator: rig.coordinator.clone(),
    }
}

async fn ends(rig: &mut Rig, id: &str, state: State) -> Payment {
    let ended = rig.pay(id).await;
    assert_eq!(ended.state, state, "{ended:?}");
    rig.check(&ended, payment(id)).await;
    ended
}

/// Waits until the service says something of a payment.
pub(super) async fn until(rig: &Rig, id: &str, is_so: impl Fn(&Payment) -> bool) -> Payment {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let asking = async {
        loop {
            ticks.tick().await;
            let found = rig.store().get(id.to_owned()).await.unwrap();
            if let Some(payment) = found.filter(|payment| is_so(payment)) {
                return payment;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .expect("it never came to that")
}

#[tokio::test]
async fn f01_a_bad_request_keeps_no_id_and_another_body_is_refused_by_field() {
    for mut rig in Rig::on_both(POLICY).await {
        let service = service(&rig);
        let bad = ProcessPaymentRequest {
            amount: None,
            ..request("p")
        };
        let refusal = service
            .process_payment(Request::new(bad))
            .await
            .unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
        ends(&mut rig, "p", State::Completed).await;
        let other = ProcessPaymentRequest {
            description: "other".to_owned(),
            ..request("p")
        };
        let refusal = service
            .process_payment(Request::new(other))
            .await
            .unwrap_err();
        assert_eq!(reason(&refusal).as_deref(), Some("REQUEST_ID_REUSED"));
        assert!(refusal.message().contains("description"));
        let asynchronous = ProcessPaymentRequest {
            asynchronous: true,
            ..request("p")
        };
        let same = service.process_payment(Request::new(asynchronous)).await;
        assert_eq!(same.unwrap().into_inner().state(), PaymentState::Completed);
    }
}

#[tokio::test]
async fn f02_a_crash_after_the_intent_is_resumed() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault_next(Fault::CrashAfter);
        ends(&mut rig, "p", State::Completed).await;
    }
}

#[tokio::test]
async fn f03_a_breaker_that_is_open_before_the_invoice_leaves_the_payment_to_be_retried() {
    for mut rig in Rig::on_both(POLICY).await {
        let open = retry_later(
            Code::Unavailable,
            "BREAKER_OPEN",
            "",
            Duration::from_millis(7),
        );
        rig.shared.always.lock().insert("create_invoice", open);
        // Many short attempts; the caller is told after two seconds, or that it is parked.
        let service = service(&rig);
        let answer = service.process_payment(Request::new(request("p"))).await;
        match answer {
            Err(status) => {
                assert_eq!(reason(&status).as_deref(), Some("BREAKER_OPEN"));
                assert_eq!(status.code(), Code::Unavailable);
                assert!(retry_after(&status).is_some());
            }
            Ok(parked) => assert_eq!(parked.into_inner().state(), PaymentState::NeedsAttention),
        }
        let seen = until(&rig, "p", |_| true).await;
        assert!(matches!(seen.stands(), State::Accepted), "no compensation");
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
        rig.shared.always.lock().clear();
        goes_on(&rig, "p").await;
        ends(&mut rig, "p", State::Completed).await;
    }
}

/// Retries a payment by hand if it was parked meanwhile.
async fn goes_on(rig: &Rig, id: &str) {
    let verb = crate::domain::Verb::Retry;
    let retried = rig
        .coordinator
        .steer("again".to_owned(), id.to_owned(), verb);
    retried.await.unwrap();
}

#[tokio::test]
async fn f04_a_refusal_by_invoicing_fails_the_payment_and_undoes_nothing() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().invoices_refuse = true;
        ends(&mut rig, "p", State::Failed).await;
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
    }
}

#[tokio::test]
async fn f05_an_invoice_of_unknown_end_is_asked_for_again_with_the_same_id() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(1, Fault::LostBefore);
        ends(&mut rig, "p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().documents.len(), 1);
    }
}

#[tokio::test]
async fn f06_an_invoice_whose_answer_was_lost_is_the_same_invoice() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(1, Fault::LostAfter);
        let ended = ends(&mut rig, "p", State::Completed).await;
        let world = rig.shared.world.lock();
        assert_eq!(world.came("create_invoice"), 2);
        assert_eq!(world.documents.len(), 1);
        drop(world);
        let step = &ended.journal.steps[0];
        assert_eq!((step.attempts, step.open), (2, 0));
    }
}

#[tokio::test]
async fn f07_a_crash_between_invoice_and_ledger_goes_on_to_the_ledger() {
    for mut rig in Rig::on_both(POLICY).await {
        // accept, create, finalize, and the write that says so.
        rig.fault(3, Fault::CrashAfter);
        ends(&mut rig, "p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
    }
}

#[tokio::test]
async fn f08_a_limiter_that_refuses_is_waited_for_with_a_bound_and_then_undone() {
    let impatient = Policy {
        ledger_wait_micros: 20_000,
        ..POLICY
    };
    for mut rig in Rig::on_both(impatient).await {
        let limited = retry_later(
            Code::ResourceExhausted,
            "RATE_LIMITED",
            "",
            Duration::from_millis(1),
        );
        rig.shared
            .always
            .lock()
            .insert("record_transaction", limited);
        let ended = ends(&mut rig, "p", State::Compensated).await;
        assert_eq!(ended.failure.unwrap().reason, "RATE_LIMITED");
        assert_eq!(rig.shared.world.lock().came("record_transaction"), 0);
    }
}

#[tokio::test]
async fn f09_a_refusal_by_the_ledger_voids_the_invoice() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().ledger_refuses = true;
        let ended = ends(&mut rig, "p", State::Compensated).await;
        assert_eq!(ended.failure.unwrap().reason, "ACCOUNT_CLOSED");
    }
}

#[tokio::test]
async fn f10_a_ledger_of_unknown_end_is_resolved_before_anything_is_undone() {
    let impatient = Policy {
        attempts_max: 1000,
        ledger_wait_micros: 0,
    };
    for mut rig in Rig::on_both(impatient).await {
        // The request is on its way; from then on nothing gets through.
        rig.fault(6, Fault::Late(40));
        rig.coordinator
            .submit(payment("p"), super::rig::encoded(&payment("p")))
            .await
            .unwrap();
        until(&rig, "p", |p| {
            p.state.is_at_rest()
                || p.state == State::Invoiced
                    && p.journal
                        .step(crate::domain::Step::Ledger)
                        .is_some_and(|s| s.attempts > 1)
        })
        .await;
        rig.shared
            .always
            .lock()
            .insert("record_transaction", away());
        until(&rig, "p", |p| {
            p.journal
                .step(crate::domain::Step::Ledger)
                .is_some_and(|s| s.attempts > 8)
                || p.state.is_at_rest()
        })
        .await;
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
        rig.shared.always.lock().clear();
        ends(&mut rig, "p", State::Completed).await;
    }
}

#[tokio::test]
async fn f11_a_transaction_that_is_recorded_after_the_caller_gave_up_completes_the_payment() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(6, Fault::LostAfter);
        let service = service(&rig);
        let asynchronous = ProcessPaymentRequest {
            asynchronous: true,
            ..request("p")
        };
        let answer = service.process_payment(Request::new(asynchronous)).await;
        answer.unwrap();
        ends(&mut rig, "p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().transactions.len(), 1);
    }
}

#[tokio::test]
async fn f12_a_crash_after_the_ledger_and_before_it_is_noted_records_nothing_twice() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(6, Fault::CrashAfter);
        ends(&mut rig, "p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().transactions.len(), 1);
    }
}

#[tokio::test]
async fn f13_a_void_that_fails_is_repeated_until_it_is_done() {
    let few = Policy {
        attempts_max: 3,
        ..POLICY
    };
    for mut rig in Rig::on_both(few).await {
        rig.shared.world.lock().ledger_refuses = true;
        rig.shared.always.lock().insert("void_invoice", away());
        rig.coordinator
            .submit(payment("p"), super::rig::encoded(&payment("p")))
            .await
            .unwrap();
        let void = crate::domain::Step::Void;
        let seen = until(&rig, "p", |p| {
            p.journal.step(void).is_some_and(|s| s.attempts > 10)
        })
        .await;
        assert_eq!(seen.state, State::Compensating, "and never parked");
        let figures = rig.store().figures().await.unwrap();
        assert_eq!(figures.in_state(State::Compensating), 1);
        rig.shared.always.lock().clear();
        ends(&mut rig, "p", State::Compensated).await;
    }
}

#[tokio::test]
async fn f14_a_void_of_unknown_end_is_sent_again() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().ledger_refuses = true;
        // … record, write, void.
        rig.fault(8, Fault::LostAfter);
        ends(&mut rig, "p", State::Compensated).await;
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 2);
    }
}

#[tokio::test]
async fn f15_a_create_that_comes_after_its_void_is_refused() {
    for mut rig in Rig::on_both(POLICY).await {
        // The create is on its way when the payment is cancelled.
        rig.fault(1, Fault::Late(usize::MAX / 2));
        rig.shared.always.lock().insert("finalize_invoice", away());
        rig.coordinator
            .submit(payment("p"), super::rig::encoded(&payment("p")))
            .await
            .unwrap();
        until(&rig, "p", |p| !p.journal.steps[0].recent.is_empty()).await;
        let cancel = crate::domain::Verb::Cancel {
            reason: String::new(),
        };
        rig.coordinator
            .steer("c".to_owned(), "p".to_owned(), cancel)
            .await
            .unwrap();
        ends(&mut rig, "p", State::Compensated).await;
    }
}

#[tokio::test]
async fn f16_an_invoice_that_was_paid_elsewhere_is_for_a_person() {
    for rig in Rig::on_both(POLICY).await {
        {
            let mut world = rig.shared.world.lock();
            world.ledger_refuses = true;
        }
        let held = refused(Code::Unavailable, "AWAY", "");
        rig.shared.always.lock().insert("void_invoice", held);
        let body = payment("p");
        rig.coordinator
            .submit(body.clone(), super::rig::encoded(&body))
            .await
            .unwrap();
        let seen = until(&rig, "p", |p| p.state == State::Compensating).await;
        {
            let mut world = rig.shared.world.lock();
            let document = seen.intent.document_id();
            assert_eq!(world.documents[&document], Document::Open);
            world.pay(&document, "somebody else").unwrap();
        }
        rig.shared.always.lock().clear();
        let parked = until(&rig, "p", |p| p.state.is_at_rest()).await;
        assert_eq!(parked.state, State::NeedsAttention);
        assert_eq!(parked.stands(), State::Compensating);
        assert_eq!(parked.parked.unwrap().1.reason, "INVOICE_PAID");
        let refund = refund("r", "p", None);
        let request = super::rig::encoded(&refund);
        let refused = rig.coordinator.submit(refund, request).await.unwrap();
        assert!(matches!(refused, crate::domain::Accepted::Refused(_)));
    }
}
