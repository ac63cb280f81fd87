//! The failure matrix F1 to F8, a test for each, on both stores; the table is in `docs/PAYMENTS.md`.
//! Each ends with [`Rig::check`]: the invariant, whole.

use std::time::Duration;

use mizan::status::{reason, retry_after, retry_later};
use mizan_contracts::payment::v1::{
    PaymentState, ProcessPaymentRequest, payment_service_server::PaymentService as _,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use super::{
    faulty::Fault,
    rig::{POLICY, Rig, request},
};
use crate::{
    domain::{AttemptEnd, Payment, Policy, State, Step},
    grpc::Payments,
};

/// The service as callers see it.
pub(super) fn service(rig: &Rig) -> Payments {
    Payments {
        store: rig.store().clone(),
        coordinator: rig.coordinator.clone(),
        closing: CancellationToken::new(),
    }
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
        assert!(rig.store().get("p".to_owned()).await.unwrap().is_none());
        rig.ends_as("p", State::Completed).await;
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
        rig.ends_as("p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().documents.len(), 1);
    }
}

#[tokio::test]
async fn f02_a_crash_after_the_intent_is_resumed() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault_next(Fault::CrashAfter);
        rig.ends_as("p", State::Completed).await;
    }
}

#[tokio::test]
async fn f03_a_breaker_that_is_open_before_the_invoice_leaves_the_payment_to_be_retried() {
    let patient = Policy {
        attempts_max: u32::MAX,
        ..POLICY
    };
    for mut rig in Rig::on_both(patient).await {
        let open = retry_later(
            Code::Unavailable,
            "BREAKER_OPEN",
            "",
            Duration::from_millis(7),
        );
        rig.shared.always.lock().insert("create_invoice", open);
        let service = service(&rig);
        let told = service.process_payment(Request::new(request("p"))).await;
        let told = told.unwrap_err();
        assert_eq!(told.code(), Code::Unavailable);
        assert_eq!(reason(&told).as_deref(), Some("BREAKER_OPEN"));
        assert!(retry_after(&told).is_some());
        let seen = until(&rig, "p", |p| p.journal.steps[0].attempts > 2).await;
        assert_eq!(seen.state, State::Accepted, "accepted, and nothing undone");
        assert!(rig.shared.world.lock().came.is_empty());
        rig.shared.always.lock().clear();
        let ended = rig.ends_as("p", State::Completed).await;
        let ends = ended.journal.steps[0].recent.iter().map(|a| a.end);
        let ends: Vec<_> = ends.flatten().collect();
        let (last, before) = ends.split_last().unwrap();
        assert_eq!(*last, AttemptEnd::Done);
        assert!(before.iter().all(|end| *end == AttemptEnd::NotExecuted));
    }
}

#[tokio::test]
async fn f04_a_refusal_by_invoicing_fails_the_payment_and_undoes_nothing() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().invoices_refuse = true;
        rig.ends_as("p", State::Failed).await;
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
    }
}

#[tokio::test]
async fn f05_an_invoice_of_unknown_end_is_asked_for_again_with_the_same_id() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(1, Fault::LostBefore);
        rig.ends_as("p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().documents.len(), 1);
    }
}

#[tokio::test]
async fn f06_an_invoice_whose_answer_was_lost_is_the_same_invoice() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(1, Fault::LostAfter);
        let ended = rig.ends_as("p", State::Completed).await;
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
        rig.ends_as("p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
    }
}

#[tokio::test]
async fn f08_a_limiter_that_refuses_is_waited_for_with_a_bound_and_then_undone() {
    let limited = || {
        retry_later(
            Code::ResourceExhausted,
            "RATE_LIMITED",
            "",
            Duration::from_millis(1),
        )
    };
    let patient = Policy {
        attempts_max: u32::MAX,
        ..POLICY
    };
    for mut rig in Rig::on_both(patient).await {
        rig.always("record_transaction", limited());
        // Within the bound: the caller is told, and the payment goes on as soon as it may.
        let service = service(&rig);
        let told = service.process_payment(Request::new(request("p"))).await;
        assert_eq!(told.unwrap_err().code(), Code::ResourceExhausted);
        let seen = until(&rig, "p", |_| true).await;
        assert_eq!(seen.state, State::Invoiced);
        assert!(seen.journal.step(Step::Ledger).unwrap().attempts > 2);
        rig.shared.always.lock().clear();
        rig.ends_as("p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
    }
    let impatient = Policy {
        ledger_wait_micros: 20_000,
        ..patient
    };
    for mut rig in Rig::on_both(impatient).await {
        rig.always("record_transaction", limited());
        let ended = rig.ends_as("p", State::Compensated).await;
        assert_eq!(ended.failure.unwrap().reason, "RATE_LIMITED");
        let world = rig.shared.world.lock();
        assert_eq!(world.came("record_transaction"), 0);
        assert_eq!(world.came("void_invoice"), 1);
    }
}
