//! The contract, served.

use std::time::Duration;

use mizan::{
    CallContext,
    request::{PageToken, page_size, reference},
    status::Violations,
};
use mizan_contracts::payment::v1::{
    CancelPaymentRequest, GetPaymentRequest, ListPaymentsRequest, ListPaymentsResponse, Payment,
    ProcessPaymentRequest, RefundPaymentRequest, RetryPaymentRequest, WatchPaymentRequest,
    payment_service_server::PaymentService,
};
use prost::Message as _;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    answer,
    domain::{self, Accepted, Body, Steered, Verb},
    request,
    saga::Coordinator,
    store::Store,
    waiting::{self, Waited},
    watching,
};

const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 1000;

/// How often a payment that another process drives is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// So long before its deadline a caller is answered, or a tenth of the time it has left if that is
/// less: the answer has to get there.
const MARGIN: Duration = Duration::from_millis(300);

/// The service; clones share store and coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Payments {
    pub(crate) store: Store,
    pub(crate) coordinator: Coordinator,
    /// Cancelled when the service begins to stop: what would last longer ends.
    pub(crate) closing: CancellationToken,
}

impl Payments {
    /// Accepts, and answers with the end, or at the deadline with the state so far.
    async fn submit(
        &self,
        body: Body,
        request: Vec<u8>,
        asynchronous: bool,
    ) -> Result<Response<Payment>, Status> {
        let id = body.id().to_owned();
        let until = answer_by();
        let mut payment = match self.coordinator.submit(body, request).await? {
            Accepted::Differs(field) => return Err(answer::reused(&field)),
            Accepted::Refused(refusal) => return Err(answer::refund_refused(&refusal)),
            Accepted::Mine(payment) | Accepted::Known(payment) => *payment,
        };
        while !asynchronous && !payment.state.is_at_rest() {
            match self.coordinator.progress(&id) {
                Some(progress) => match waiting::rest(progress, until).await {
                    Waited::Rested(rested) => payment = *rested,
                    Waited::Trouble(trouble) => return Err(answer::unfinished(&trouble)),
                    Waited::TooLong => {
                        payment = self.find(&id).await?;
                        break;
                    }
                    Waited::LetGo => payment = self.find(&id).await?,
                },
                // Another process drives it, or it came to rest in this moment.
                None => {
                    let slept = match until {
                        Some(until) => timeout_at(until, sleep(LOOK)).await.is_ok(),
                        None => {
                            sleep(LOOK).await;
                            true
                        }
                    };
                    payment = self.find(&id).await?;
                    if !slept {
                        break;
                    }
                }
            }
        }
        Ok(Response::new(answer::payment(payment)?))
    }

    async fn steer(
        &self,
        request_id: String,
        payment_id: String,
        verb: Verb,
    ) -> Result<Response<Payment>, Status> {
        let refused = match verb {
            Verb::Cancel { .. } => answer::not_cancellable,
            Verb::Retry => answer::not_parked,
        };
        match self.coordinator.steer(request_id, payment_id, verb).await? {
            Steered::Done(payment) | Steered::Before(payment) => {
                Ok(Response::new(answer::payment(*payment)?))
            }
            Steered::Differs(field) => Err(answer::reused(field)),
            Steered::Refused(payment) => Err(refused(&payment)),
            Steered::Missing => Err(answer::not_found()),
        }
    }

    async fn find(&self, id: &str) -> Result<domain::Payment, Status> {
        let found = self.store.get(id.to_owned()).await;
        found
            .map_err(answer::store_error)?
            .ok_or_else(answer::not_found)
    }
}

/// When the caller is to be answered at the latest, if it said.
fn answer_by() -> Option<Instant> {
    let deadline = CallContext::current()?.deadline()?;
    let left = deadline.saturating_duration_since(Instant::now());
    Some(deadline - MARGIN.min(left / 10))
}

#[tonic::async_trait]
impl PaymentService for Payments {
    type WatchPaymentStream = ReceiverStream<Result<Payment, Status>>;

    async fn process_payment(
        &self,
        request: Request<ProcessPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let mut request = request.into_inner();
        let asynchronous = std::mem::take(&mut request.asynchronous);
        let intent = request::payment(&request)?;
        let encoded = request.encode_to_vec();
        self.submit(Body::Payment(intent), encoded, asynchronous)
            .await
    }

    async fn refund_payment(
        &self,
        request: Request<RefundPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let mut request = request.into_inner();
        let asynchronous = std::mem::take(&mut request.asynchronous);
        let refund = request::refund(&request)?;
        let encoded = request.encode_to_vec();
        self.submit(Body::Refund(refund), encoded, asynchronous)
            .await
    }

    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let id = request::payment_id(request.into_inner().payment_id)?;
        let payment = self.find(&id).await?;
        Ok(Response::new(answer::payment_with_steps(payment)?))
    }

    async fn watch_payment(
        &self,
        request: Request<WatchPaymentRequest>,
    ) -> Result<Response<Self::WatchPaymentStream>, Status> {
        let id = request::payment_id(request.into_inner().payment_id)?;
        let payment = self.find(&id).await?;
        Ok(Response::new(watching::watch(
            self.store.clone(),
            self.coordinator.clone(),
            payment,
            self.closing.clone(),
        )))
    }

    async fn cancel_payment(
        &self,
        request: Request<CancelPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let request = request.into_inner();
        request::steering(&request.request_id, &request.payment_id, &request.reason)?;
        let verb = Verb::Cancel {
            reason: request.reason,
        };
        self.steer(request.request_id, request.payment_id, verb)
            .await
    }

    async fn retry_payment(
        &self,
        request: Request<RetryPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let request = request.into_inner();
        request::steering(&request.request_id, &request.payment_id, "")?;
        self.steer(request.request_id, request.payment_id, Verb::Retry)
            .await
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        reference(&request.reference, &mut violations);
        let filter = request::filter(&request, &mut violations);
        let shape = format!("{filter:?}");
        let filters = [shape.as_str()];
        let tokens = PageToken::of("mizan.payment.v1.ListPayments", &filters);
        let before = tokens.read(&request.page_token, &mut violations);
        violations.check()?;

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
