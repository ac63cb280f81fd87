//! The failure matrix F17 to F24, and what people do, on both stores.

use std::time::Duration;

use mizan::status::{reason, refused};
use mizan_contracts::payment::v1::{
    CancelPaymentRequest, GetPaymentRequest, PaymentState, RefundPaymentRequest,
    RetryPaymentRequest, payment_service_server::PaymentService as _,
};
use tonic::{Code, Request};

use super::{
    matrix::{service, until},
    rig::{Fault, POLICY, Rig, away, encoded, payment, refund, request},
};
use crate::domain::{Accepted, Command, Outcome, Policy, Saved, State, Step};

#[tokio::test]
async fn f17_sixty_four_at_once_are_one_payment() {
    for rig in Rig::on_both(POLICY).await {
        let service = service(&rig);
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(
                    async move { service.process_payment(Request::new(request("p"))).await },
                )
            })
            .collect();
        for call in calls {
            let answer = call.await.unwrap().unwrap().into_inner();
            assert_eq!(answer.state(), PaymentState::Completed);
        }
        let world = rig.shared.world.lock();
        assert_eq!(world.came("record_transaction"), 1);
        assert_eq!(world.transactions.len(), 1);
    }
}

#[tokio::test]
async fn f18_a_duplicate_of_what_is_refused_is_refused_alike() {
    for rig in Rig::on_both(POLICY).await {
        rig.shared.world.lock().ledger_refuses = true;
        let service = service(&rig);
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(
                    async move { service.process_payment(Request::new(request("p"))).await },
                )
            })
            .collect();
        for call in calls {
            let answer = call.await.unwrap().unwrap().into_inner();
            assert_eq!(answer.state(), PaymentState::Compensated);
        }
        rig.shared.world.lock().ledger_refuses = false;
        let later = service.process_payment(Request::new(request("p"))).await;
        assert_eq!(
            later.unwrap().into_inner().state(),
            PaymentState::Compensated
        );
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
            let ended = rig.pay(&id).await;
            assert_eq!(ended.state, State::Completed);
        }
    }
}

#[tokio::test]
async fn f22_a_store_that_fails_at_each_write_fails_closed() {
    for mut rig in Rig::on_both(POLICY).await {
        rig.fault_next(Fault::LostBefore);
        let service = service(&rig);
        let refusal = service.process_payment(Request::new(request("p0"))).await;
        let refusal = refusal.unwrap_err();
        assert_eq!(reason(&refusal).as_deref(), Some("STORE_UNAVAILABLE"));
        assert!(rig.shared.world.lock().documents.is_empty());
        for (nth, write) in [0, 3, 7, 9].into_iter().enumerate() {
            for fault in [Fault::LostBefore, Fault::LostAfter] {
                let id = format!("p{nth}{fault:?}");
                rig.fault(write, fault);
                let ended = rig.pay(&id).await;
                assert_eq!(ended.state, State::Completed);
                rig.check(&ended, payment(&id)).await;
            }
        }
    }
}

#[tokio::test]
async fn f23_repetitions_are_bounded_and_compensation_is_not_held_up_by_the_ledger() {
    let few = Policy {
        attempts_max: 5,
        ledger_wait_micros: 3_600_000_000,
    };
    for rig in Rig::on_both(few).await {
        let lost = refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "");
        rig.shared.always.lock().insert("record_transaction", lost);
        for nth in 0..20 {
            let body = payment(&format!("p{nth}"));
            rig.coordinator
                .submit(body.clone(), encoded(&body))
                .await
                .unwrap();
        }
        for nth in 0..20 {
            let parked = until(&rig, &format!("p{nth}"), |p| p.state.is_at_rest()).await;
            assert_eq!(parked.state, State::NeedsAttention);
            assert_eq!(parked.journal.step(Step::Ledger).unwrap().attempts, 5);
        }
        assert_eq!(rig.shared.world.lock().came("void_invoice"), 0);
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
        let other = rig.pay("other").await;
        assert_eq!(other.state, State::Completed);

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
