//! A payment service of which some payments come to no end, and the replay of files through it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::stream::Empty;
use mizan::server::Server as Serving;
use mizan_contracts::payment::v1::{
    CancelPaymentRequest, GetPaymentRequest, ListPaymentsRequest, ListPaymentsResponse, Payment,
    PaymentState, ProcessPaymentRequest, RefundPaymentRequest, RetryPaymentRequest,
    WatchPaymentRequest,
    payment_service_server::{PaymentService, PaymentServiceServer},
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

use crate::world::{Server, World, start};

/// Completes every payment but those of a reference that begins with `stuck`, and refuses those
/// that begin with `refused`. It makes no transactions.
#[derive(Clone, Default)]
struct Stuck {
    payments: Arc<Mutex<BTreeMap<String, Payment>>>,
    mended: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl PaymentService for Stuck {
    type WatchPaymentStream = Empty<Result<Payment, Status>>;

    async fn process_payment(
        &self,
        request: Request<ProcessPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let request = request.into_inner();
        if request.reference.starts_with("refused") {
            return Err(Status::invalid_argument("not this one"));
        }
        if request.reference.starts_with("stuck") && !self.mended.load(Ordering::Relaxed) {
            return Err(Status::internal("its record cannot be read"));
        }
        let payment = Payment {
            payment_id: request.request_id,
            state: PaymentState::Completed.into(),
            amount: request.amount,
            direction: request.direction,
            counterparty: request.counterparty,
            description: request.description,
            reference: request.reference,
            metadata: request.metadata,
            effective_time: request.effective_time,
            ..Payment::default()
        };
        let mut payments = self.payments.lock();
        payments.insert(payment.payment_id.clone(), payment.clone());
        Ok(Response::new(payment))
    }

    async fn list_payments(
        &self,
        _: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let payments = self.payments.lock().values().cloned().collect();
        Ok(Response::new(ListPaymentsResponse {
            payments,
            ..ListPaymentsResponse::default()
        }))
    }

    async fn get_payment(
        &self,
        _: Request<GetPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        unreachable!("no replay asks for it")
    }

    async fn watch_payment(
        &self,
        _: Request<WatchPaymentRequest>,
    ) -> Result<Response<Self::WatchPaymentStream>, Status> {
        unreachable!("no replay asks for it")
    }

    async fn refund_payment(
        &self,
        _: Request<RefundPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        unreachable!("no replay asks for it")
    }

    async fn cancel_payment(
        &self,
        _: Request<CancelPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        unreachable!("no replay asks for it")
    }

    async fn retry_payment(
        &self,
        _: Request<RetryPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        unreachable!("no replay asks for it")
    }
}

/// A world with that payment service, and a ledger.
async fn world() -> (World, Stuck, [Server; 2]) {
    let world = World::new().await;
    let (stuck, args) = (Stuck::default(), world.args());
    let service = PaymentServiceServer::new(stuck.clone());
    let (payment, _) = start(|listener, stop| async move {
        Serving::builder("payment")
            .args(&args)
            .add_service(service)
            .serve(listener, stop.cancelled_owned())
            .await
            .unwrap();
    })
    .await;
    let servers = [world.accounting().await, payment];
    (world, stuck, servers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_without_an_end_stops_no_other() {
    let (world, stuck, _servers) = world().await;
    let file = world.file(
        "a.csv",
        &[
            "05/04/2016,stuck,5.00,Acme",
            "05/04/2016,1,3.00,Acme",
            "05/04/2016,refused,1.00,Acme",
            "05/04/2016,2,4.00,Acme",
        ],
    );
    let flags = ["--concurrency", "1", "--patience", "1"];
    let first = world.replay(&file, &flags).await;
    assert_eq!(first.code(), Some(1), "{}", first.err());
    let report = first.json();
    let names = ["paid", "refused", "unfinished", "not_sent"];
    assert_eq!(names.map(|name| &report[name]), [2, 1, 1, 0], "{report:#}");
    assert_eq!(report["unfinished_rows"][0]["line"], 2);
    let differences = report["reconciliation"]["differences"].as_array().unwrap();
    assert_eq!(differences[0]["kind"], "PAYMENT_MISSING");
    assert_eq!(differences[0]["reference"], "stuck");

    // What was refused was answered; only what had to be asked again has failed.
    let failed = report["failed_calls"].as_object().unwrap();
    let reasons: Vec<&String> = failed.keys().collect();
    assert_eq!(reasons, ["Internal"]);

    // The next run asks for what is left.
    stuck.mended.store(true, Ordering::Relaxed);
    let second = world.replay(&file, &flags).await.json();
    let names = ["paid", "already_paid", "unfinished"];
    assert_eq!(names.map(|name| &second[name]), [1, 2, 0], "{second:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_which_nothing_comes_to_its_end_stops() {
    let (world, _stuck, _servers) = world().await;
    let rows = [1, 2, 3, 4, 5, 6].map(|row| format!("05/04/2016,stuck {row},5.00,Acme"));
    let file = world.file("a.csv", &rows.each_ref().map(String::as_str));
    let flags = ["--concurrency", "3", "--patience", "1"];
    let stopped = world.replay(&file, &flags).await;
    assert_eq!(stopped.code(), Some(1), "{}", stopped.err());
    let report = stopped.json();
    let names = ["unfinished", "not_sent"];
    assert_eq!(names.map(|name| &report[name]), [3, 3], "{report:#}");
    assert_eq!(report["reconciliation"], serde_json::Value::Null);
}
