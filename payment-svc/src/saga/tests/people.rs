//! What people ask for: refunds, cancelling.

use std::time::Duration;

use mizan::status::reason;
use mizan_contracts::payment::v1::{
    CancelPaymentRequest, PaymentState, RefundPaymentRequest,
    payment_service_server::PaymentService as _,
};
use tonic::Request;

use super::{
    faulty::{Fault, away},
    matrix::{service, until},
    rig::{POLICY, Rig, encoded, payment, refund},
};
use crate::domain::{Accepted, State, Steered, Verb};

#[tokio::test]
async fn two_refunds_at_once_never_exceed_the_payment() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.pay("p").await;
        let service = service(&rig);
        let calls: Vec<_> = (0..20)
            .map(|nth| {
                let service = service.clone();
                let request = RefundPaymentRequest {
                    request_id: format!("r{nth}"),
                    payment_id: "p".to_owned(),
                    amount: Some(mizan_contracts::r#type::v1::Money {
                        currency_code: "GBP".to_owned(),
                        units: 0,
                        nanos: 300_000_000,
                    }),
                    ..RefundPaymentRequest::default()
                };
                tokio::spawn(async move { service.refund_payment(Request::new(request)).await })
            })
            .collect();
        let mut done = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(refund) => {
                    let refund = refund.into_inner();
                    assert_eq!(refund.state(), PaymentState::Completed);
                    assert_eq!(refund.refunded_payment_id, "p");
                    done += 1;
                }
                Err(status) => {
                    assert_eq!(reason(&status).as_deref(), Some("REFUND_TOO_LARGE"));
                }
            }
        }
        assert_eq!(done, 3);
        assert_eq!(rig.shared.world.lock().spent(), 10);
        let rest = rig.settle(refund("rest", "p", None)).await;
        assert_eq!(rest.intent.amount.minor(), 10);
        assert_eq!(rig.shared.world.lock().spent(), 0);
        let more = refund("more", "p", None);
        let request = encoded(&more);
        let refused = rig.coordinator.submit(more, request).await.unwrap();
        assert!(matches!(refused, Accepted::Refused(_)));
    }
}

#[tokio::test]
async fn cancelling_is_possible_before_the_ledger_and_not_after() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.shared
            .always
            .lock()
            .insert("record_transaction", away());
        rig.coordinator
            .submit(payment("p"), encoded(&payment("p")))
            .await
            .unwrap();
        let service = service(&rig);
        let cancel = |payment_id: &str| CancelPaymentRequest {
            request_id: format!("cancel-{payment_id}"),
            payment_id: payment_id.to_owned(),
            reason: "not wanted".to_owned(),
        };
        // Between two attempts that never left; asked for until it is such a moment.
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        loop {
            ticks.tick().await;
            match service.cancel_payment(Request::new(cancel("p"))).await {
                Ok(_) => break,
                Err(status) => {
                    assert_eq!(reason(&status).as_deref(), Some("PAYMENT_NOT_CANCELLABLE"));
                }
            }
        }
        let ended = until(&rig, "p", |p| p.state.is_at_rest()).await;
        assert_eq!(ended.state, State::Compensated);
        assert_eq!(ended.failure.as_ref().unwrap().reason, "CANCELLED");
        rig.shared.always.lock().clear();
        rig.check(&ended, payment("p")).await;
        rig.pay("q").await;
        let refusal = service.cancel_payment(Request::new(cancel("q"))).await;
        assert_eq!(
            reason(&refusal.unwrap_err()).as_deref(),
            Some("PAYMENT_NOT_CANCELLABLE")
        );
    }
}

/// Cancelling at every moment of a payment, while it is worked: it is undone, whole, or it is too
/// late and it is made, whole. Nothing between.
#[tokio::test]
async fn a_cancel_at_any_moment_undoes_all_or_nothing() {
    for mut rig in Rig::on_both(POLICY).await {
        let (mut undone, mut made) = (0, 0);
        for nth in 0..40 {
            let id = format!("p{nth}");
            // Every other one is slowed at a touch, so that the moment differs.
            if nth % 2 == 0 {
                rig.fault(nth / 2 % 10, Fault::LostAfter);
            }
            let body = payment(&id);
            let request = encoded(&body);
            rig.coordinator.submit(body, request).await.ok();
            let steers = (0..3).map(|who| {
                let verb = Verb::Cancel {
                    reason: String::new(),
                };
                let coordinator = rig.coordinator.clone();
                let id = id.clone();
                tokio::spawn(async move { coordinator.steer(format!("c{who}"), id, verb).await })
            });
            let mut cancelled = 0;
            for steer in steers.collect::<Vec<_>>() {
                // An error is the store's, by the fault: whether it was done is not known.
                if let Ok(Steered::Done(_)) = steer.await.unwrap() {
                    cancelled += 1;
                }
            }
            assert!(cancelled <= 1, "one of three cancels it");
            let ended = rig.pay(&id).await;
            let moved = rig.check(&ended, payment(&id)).await;
            if cancelled == 1 {
                assert!(!moved, "cancelled, and made all the same: {ended:?}");
            }
            if moved {
                made += 1;
            } else {
                assert_eq!(ended.failure.as_ref().unwrap().reason, "CANCELLED");
                undone += 1;
            }
        }
        assert_eq!(undone + made, 40);
        assert!(undone > 0);
    }
}

/// A cancel by another instance than the one that works the payment.
#[tokio::test]
async fn a_cancel_by_another_instance_stops_the_one_that_works() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.always("record_transaction", away());
        let body = payment("p");
        let request = encoded(&body);
        rig.coordinator.submit(body, request).await.unwrap();
        until(&rig, "p", |p| p.state == State::Invoiced).await;
        let second = rig.another(9).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        // Between two attempts that never left.
        for nth in 0.. {
            ticks.tick().await;
            let verb = Verb::Cancel {
                reason: String::new(),
            };
            let steered = second.steer(format!("c{nth}"), "p".to_owned(), verb).await;
            if matches!(steered, Ok(Steered::Done(_))) {
                break;
            }
        }
        let ended = until(&rig, "p", |p| p.state.is_at_rest()).await;
        assert_eq!(ended.state, State::Compensated);
        rig.shared.always.lock().clear();
        rig.check(&ended, payment("p")).await;
    }
}

/// A refund of which the credit note is on its way when it is refused: fenced, and the room that it
/// took is free again.
#[tokio::test]
async fn a_refund_that_is_refused_leaves_no_credit_note_and_no_room_taken() {
    for mut rig in Rig::on_both(POLICY).await {
        let paid = rig.pay("p").await;
        let all = refund("r", "p", None);
        rig.fault(1, Fault::Late(usize::MAX / 2));
        rig.shared.world.lock().invoices_refuse = true;
        let ended = rig.settle(all.clone()).await;
        assert_eq!(ended.state, State::Compensated);
        rig.shared.world.lock().invoices_refuse = false;
        rig.check(&ended, all).await;
        let invoice = paid.intent.document_id();
        assert_eq!(rig.shared.world.lock().credited(&invoice), 0);
        let again = refund("r2", "p", None);
        let ended = rig.settle(again.clone()).await;
        assert_eq!(ended.state, State::Completed);
        rig.check(&ended, again).await;
        assert_eq!(rig.shared.world.lock().credited(&invoice), 100);
        assert_eq!(rig.shared.world.lock().spent(), 0);
    }
}
