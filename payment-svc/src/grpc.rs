//! The contract, served.

use std::time::Duration;

use mizan::{
    request::{PageToken, page_size, reference},
    status::Violations,
};
use mizan_contracts::payment::v1::{
    CancelPaymentRequest, GetPaymentRequest, ListPaymentsRequest, ListPaymentsResponse, Payment,
    ProcessPaymentRequest, RefundPaymentRequest, RetryPaymentRequest, WatchPaymentRequest,
    payment_service_server::PaymentService,
};
use prost::Message as _;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Request, Response, Status};

use crate::{
    answer, domain, request,
    saga::{Coordinator, Progress},
    store::{Accepted, Filter, Store},
};

const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 1000;

/// How often a payment that another process drives is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The service; clones share store and coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Payments {
    pub(crate) store: Store,
    pub(crate) coordinator: Coordinator,
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn process_payment(
        &self,
        request: Request<ProcessPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let request = request.into_inner();
        let intent = request::intent(&request)?;
        let id = intent.id.clone();
        let encoded = request.encode_to_vec();
        loop {
            let known = match self
                .coordinator
                .submit(intent.clone(), encoded.clone())
                .await?
            {
                Accepted::Differs(field) => return Err(answer::reused(&field)),
                Accepted::Mine(payment) | Accepted::Known(payment) => payment,
            };
            if known.state.is_final() {
                return Ok(Response::new(answer::payment(known)?));
            }
            match self.coordinator.progress(&id) {
                Some(progress) => {
                    if let Some(ended) = ended(progress).await? {
                        return Ok(Response::new(answer::payment(ended)?));
                    }
                }
                // Another process drives it: look again, and take it over should that one die.
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    type WatchPaymentStream = tokio_stream::wrappers::ReceiverStream<Result<Payment, Status>>;

    async fn watch_payment(
        &self,
        _: Request<WatchPaymentRequest>,
    ) -> Result<Response<Self::WatchPaymentStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn refund_payment(
        &self,
        _: Request<RefundPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn cancel_payment(
        &self,
        _: Request<CancelPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn retry_payment(
        &self,
        _: Request<RetryPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let id = request.into_inner().payment_id;
        let mut violations = Violations::new();
        mizan::request::id("payment_id", &id, &mut violations);
        violations.check()?;
        let payment = self.store.get(id).await.map_err(answer::store_error)?;
        Ok(Response::new(answer::payment(
            payment.ok_or_else(answer::not_found)?,
        )?))
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        let state = request::state_filter(request.state, &mut violations);
        reference(&request.reference, &mut violations);
        let state_name = request.state.to_string();
        let filters = [state_name.as_str(), &request.reference];
        let tokens = PageToken::of("mizan.payment.v1.ListPayments", &filters);
        let before = tokens.read(&request.page_token, &mut violations);
        violations.check()?;

        let filter = Filter {
            state,
            reference: request.reference.clone(),
        };
        // One more than the page shows whether there is another.
        let found = self
            .store
            .list(filter, before.unwrap_or(i64::MAX), size + 1)
            .await;
        let mut found = found.map_err(answer::store_error)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let more = found.len() > size;
        found.truncate(size);
        let last = found.last().map(|(place, _)| *place).filter(|_| more);
        let payments = found
            .into_iter()
            .map(|(_, payment)| answer::payment(payment));
        Ok(Response::new(ListPaymentsResponse {
            payments: payments.collect::<Result<_, _>>()?,
            next_page_token: last.map(|place| tokens.write(place)).unwrap_or_default(),
        }))
    }
}

/// Waits for the end of a payment that this process drives. When its step is in trouble for longer
/// than a moment, the caller learns why, and the payment goes on. `None` when the payment was let
/// go of.
async fn ended(mut progress: watch::Receiver<Progress>) -> Result<Option<domain::Payment>, Status> {
    /// How long a step may be in trouble, however often it is repeated meanwhile, before the caller
    /// is told: it may be about to succeed, and callers wait some 5 s.
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut told_at = None;
    let mut seen = progress.borrow_and_update().clone();
    loop {
        let changed = match &seen {
            Progress::Ended(payment) => return Ok(Some((**payment).clone())),
            Progress::Dropped => return Ok(None),
            Progress::Running => {
                told_at = None;
                progress.changed().await
            }
            Progress::Trouble(trouble) => {
                let told_at = *told_at.get_or_insert_with(|| Instant::now() + PATIENCE);
                match timeout_at(told_at, progress.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return Err(answer::unfinished(trouble)),
                }
            }
        };
        if changed.is_err() {
            return Ok(None);
        }
        seen = progress.borrow_and_update().clone();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_learns_of_trouble_though_the_step_is_repeated_meanwhile() {
        let (report, progress) = watch::channel(Progress::Running);
        let repeating = async {
            for _ in 0..20 {
                report.send_replace(Progress::Trouble(Status::unavailable("away")));
                sleep(Duration::from_millis(500)).await;
            }
        };
        let begun = Instant::now();
        let told = tokio::select! {
            told = ended(progress) => told.unwrap_err(),
            () = repeating => panic!("a caller waited 10 s and was not told"),
        };
        assert!(told.message().contains("away"), "{told:?}");
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}
