//! The failure matrix F9 to F16: what the ledger may have done, and undoing.

use mizan::{
    request::micros,
    status::{reason, refused},
};
use mizan_contracts::payment::v1::{
    CancelPaymentRequest, GetPaymentRequest, PaymentState, ProcessPaymentRequest,
    RetryPaymentRequest, payment_service_server::PaymentService as _,
};
use tonic::{Code, Request};

use super::{
    faulty::{Fault, away},
    matrix::{service, until},
    rig::{POLICY, Rig, encoded, payment, refund, request},
    world::Document,
};
use crate::domain::{Accepted, Payment, Policy, State, Step, Verb};

/// Accepts a payment and does not wait for it.
async fn begin(rig: &Rig, id: &str) {
    let body = payment(id);
    let request = encoded(&body);
    rig.coordinator.submit(body, request).await.unwrap();
}

fn attempts(payment: &Payment, step: Step) -> u32 {
    payment.journal.step(step).map_or(0, |step| step.attempts)
}

fn cancel(payment_id: &str) -> Request<CancelPaymentRequest> {
    Request::new(CancelPaymentRequest {
        request_id: format!("cancel-{payment_id}"),
        payment_id: payment_id.to_owned(),
        reason: String::new(),
    })
}

#[tokio::test]
async fn f09_a_refusal_by_the_ledger_voids_the_invoice() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().ledger_refuses = true;
        let ended = rig.ends_as("p", State::Compensated).await;
        assert_eq!(ended.failure.unwrap().reason, "ACCOUNT_CLOSED");
        // Refused for ever, although the ledger would take it by now.
        rig.shared.world.lock().ledger_refuses = false;
        rig.ends_as("p", State::Compensated).await;
    }
}

/// Both ends of a transaction that is on its way while nothing gets through any more: neither is
/// taken for the other.
#[tokio::test]
async fn f10_a_ledger_of_unknown_end_is_resolved_before_anything_is_undone() {
    let impatient = Policy {
        attempts_max: u32::MAX,
        ledger_wait_micros: 0,
    };
    for arrives in [true, false] {
        for mut rig in Rig::on_both(impatient).await {
            let service = service(&rig);
            rig.always("record_transaction", away());
            // The first attempt is on its way; all later ones certainly are not executed.
            rig.fault(6, Fault::Late(usize::MAX / 2));
            begin(&rig, "p").await;
            let seen = until(&rig, "p", |p| attempts(p, Step::Ledger) > 8).await;
            assert_eq!(seen.state, State::Invoiced, "though it waits no longer");
            let refusal = service.cancel_payment(cancel("p")).await.unwrap_err();
            assert_eq!(reason(&refusal).as_deref(), Some("PAYMENT_NOT_CANCELLABLE"));
            if arrives {
                rig.shared.deliver_late(usize::MAX);
                assert_eq!(rig.shared.world.lock().recorded(&seen.intent), 1);
            } else {
                rig.shared.world.lock().ledger_refuses = true;
            }
            assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
            rig.shared.always.lock().clear();
            let state = if arrives {
                State::Completed
            } else {
                State::Compensated
            };
            // The one that is still on its way arrives within this.
            rig.ends_as("p", state).await;
        }
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
        let told = answer.unwrap().into_inner().state();
        assert_ne!(told, PaymentState::Compensated);
        until(&rig, "p", |p| p.state.is_at_rest()).await;
        rig.ends_as("p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().transactions.len(), 1);
        assert_eq!(rig.shared.world.lock().came("record_transaction"), 2);
    }
}

#[tokio::test]
async fn f12_a_crash_after_the_ledger_and_before_it_is_noted_records_nothing_twice() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(6, Fault::CrashAfter);
        rig.ends_as("p", State::Completed).await;
        assert_eq!(rig.shared.world.lock().transactions.len(), 1);
        assert_eq!(rig.shared.world.lock().came("record_transaction"), 2);
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
        let service = service(&rig);
        let told = service.process_payment(Request::new(request("p"))).await;
        assert_eq!(told.unwrap_err().code(), Code::Unavailable, "not success");
        let seen = until(&rig, "p", |p| attempts(p, Step::Void) > 10).await;
        assert_eq!(seen.state, State::Compensating, "and never parked");
        let get = GetPaymentRequest {
            payment_id: "p".to_owned(),
        };
        let shown = service.get_payment(Request::new(get)).await.unwrap();
        assert_eq!(shown.into_inner().state(), PaymentState::Compensating);
        let in_a_minute = micros(std::time::SystemTime::now()) + 60_000_000;
        let figures = rig.store().figures(in_a_minute).await.unwrap();
        assert_eq!(figures.in_state(State::Compensating), 1);
        assert!(figures.compensating_age_seconds >= 60, "{figures:?}");
        assert_eq!(figures.recorded_age_seconds, 0);
        rig.shared.always.lock().clear();
        rig.ends_as("p", State::Compensated).await;
        let figures = rig.store().figures(in_a_minute).await.unwrap();
        assert_eq!(figures.compensating_age_seconds, 0);
    }
}

#[tokio::test]
async fn f14_a_void_of_unknown_end_is_sent_again() {
    for fault in [Fault::LostAfter, Fault::LostBefore] {
        for mut rig in Rig::on_both(POLICY).await {
            rig.shared.world.lock().ledger_refuses = true;
            // … record, write, void.
            rig.fault(8, fault);
            rig.ends_as("p", State::Compensated).await;
            assert_eq!(rig.shared.tried("void_invoice"), 2);
        }
    }
}

#[tokio::test]
async fn f15_a_create_that_comes_after_its_void_is_refused() {
    for mut rig in Rig::on_both(POLICY).await {
        // The create is on its way when the payment is cancelled; none of its repetitions leaves.
        rig.fault(1, Fault::Late(usize::MAX / 2));
        rig.shared.always.lock().insert("create_invoice", away());
        begin(&rig, "p").await;
        until(&rig, "p", |p| attempts(p, Step::Document) > 1).await;
        let answer = service(&rig).cancel_payment(cancel("p")).await.unwrap();
        assert_eq!(answer.into_inner().state(), PaymentState::Compensating);
        let ended = until(&rig, "p", |p| p.state.is_at_rest()).await;
        assert_eq!(ended.state, State::Compensated);
        let document = ended.intent.document_id();
        let stands = |rig: &Rig| rig.shared.world.lock().documents[&document];
        assert_eq!(stands(&rig), Document::Tombstone);
        rig.shared.deliver_late(usize::MAX);
        assert_eq!(rig.shared.world.lock().came("create_invoice"), 1);
        assert_eq!(stands(&rig), Document::Tombstone);
        rig.check(&ended, payment("p")).await;
    }
}

/// Invoicing does not remember what it refused, so an attempt that is on its way may be taken yet:
/// it is fenced.
#[tokio::test]
async fn f15_a_create_that_comes_after_its_repetition_was_refused_is_refused() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault(1, Fault::Late(usize::MAX / 2));
        rig.shared.world.lock().invoices_refuse = true;
        let ended = rig.pay("p").await;
        assert_eq!(ended.state, State::Compensated);
        // By now it would take it.
        rig.shared.world.lock().invoices_refuse = false;
        rig.check(&ended, payment("p")).await;
    }
}

/// No machine can undo that. The ledger has nothing of it, and never gets it, and everybody is told
/// the same.
#[tokio::test]
async fn f16_an_invoice_that_was_paid_elsewhere_is_for_a_person() {
    for rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().ledger_refuses = true;
        let held = refused(Code::Unavailable, "AWAY", "");
        rig.shared.always.lock().insert("void_invoice", held);
        begin(&rig, "p").await;
        let seen = until(&rig, "p", |p| p.state == State::Compensating).await;
        {
            let mut world = rig.shared.world.lock();
            let document = seen.intent.document_id();
            assert_eq!(world.documents[&document], Document::Open);
            world.pay(&document).unwrap();
        }
        rig.shared.always.lock().clear();
        let parked = until(&rig, "p", |p| p.state.is_at_rest()).await;
        let is_parked = |p: &Payment| {
            assert_eq!(p.state, State::NeedsAttention);
            assert_eq!(p.stands(), State::Compensating);
            assert_eq!(p.parked.as_ref().unwrap().1.reason, "INVOICE_PAID");
        };
        is_parked(&parked);
        let refund = refund("r", "p", None);
        let request = encoded(&refund);
        let refused = rig.coordinator.submit(refund, request).await.unwrap();
        assert!(matches!(refused, Accepted::Refused(_)));
        let service = service(&rig);
        for _ in 0..2 {
            let told = service.process_payment(Request::new(super::rig::request("p")));
            let told = told.await.unwrap().into_inner();
            assert_eq!(told.state(), PaymentState::NeedsAttention);
            assert_eq!(told.parked_state(), PaymentState::Compensating);
            assert_eq!(told.failure.unwrap().reason, "ACCOUNT_CLOSED");
        }
        // Nor does a person's retry make it any other.
        let retry = RetryPaymentRequest {
            request_id: "again".to_owned(),
            payment_id: "p".to_owned(),
        };
        service.retry_payment(Request::new(retry)).await.unwrap();
        let still = until(&rig, "p", |p| {
            p.state.is_at_rest() && p.version > parked.version
        });
        is_parked(&still.await);
        let verb = Verb::Cancel {
            reason: String::new(),
        };
        let steered = rig.coordinator.steer("c".to_owned(), "p".to_owned(), verb);
        let steered = steered.await.unwrap();
        assert!(matches!(steered, crate::domain::Steered::Refused(_)));
        rig.shared.deliver_late(usize::MAX);
        assert_eq!(rig.shared.world.lock().recorded(&parked.intent), 0);
    }
}
