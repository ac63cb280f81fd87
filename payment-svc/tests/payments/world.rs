//! A registry and the services around it, each started and stopped by the test.

use std::{future::Future, path::Path, time::Duration};

use mizan::{Channel, Connection, args::ServerArgs, retry::Policy};
use mizan_contracts::{
    accounting::v1::{TrialBalance, accounting_service_client::AccountingServiceClient, *},
    invoice::v1::{Invoice, invoice_service_client::InvoiceServiceClient, *},
    payment::v1::{payment_service_client::PaymentServiceClient, *},
    r#type::v1::Money,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::interval};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A running server. Dropped, it is cut off like a process that is killed.
pub(crate) struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start<F, S>(serve: S) -> (Self, String)
    where
        S: FnOnce(TcpListener, CancellationToken) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, stop.clone()));
        (Self { stop, task }, address)
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct World {
    data: TempDir,
    _registry: Server,
    address: String,
    channel: Channel,
}

impl World {
    /// With a registry only.
    pub(crate) async fn new() -> Self {
        let (registry, address) = Server::start(|listener, stop| async move {
            registry::serve(
                listener,
                registry::Config::default(),
                stop.cancelled_owned(),
            )
            .await
            .unwrap();
        })
        .await;
        let payments = Channel::builder("payment")
            .registry(vec![address.clone()])
            // Whoever is to be told early is told of a reason, not of the time.
            .deadline(Duration::from_secs(60))
            .no_breaker();
        Self {
            data: tempfile::tempdir().unwrap(),
            _registry: registry,
            // The tests ask again themselves, and look at every answer.
            channel: payments.retry(Policy::never()).connect().unwrap(),
            address,
        }
    }

    /// With everything, and ready.
    pub(crate) async fn complete() -> (Self, [Server; 3]) {
        let world = Self::new().await;
        let servers = [
            world.invoice().await,
            world.accounting().await,
            world.payment().await,
        ];
        world.ready().await;
        (world, servers)
    }

    fn args(&self) -> ServerArgs {
        ServerArgs {
            drain_seconds: 5,
            ..ServerArgs::with_registry(vec![self.address.clone()])
        }
    }

    fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) async fn invoice(&self) -> Server {
        let config = invoice_svc::Config {
            database_url: None,
            data: self.data().to_owned(),
            server: self.args(),
        };
        let serve = |listener, stop: CancellationToken| async move {
            invoice_svc::serve(listener, config, stop.cancelled_owned())
                .await
                .unwrap();
        };
        Server::start(serve).await.0
    }

    pub(crate) async fn accounting(&self) -> Server {
        let config = accounting_svc::Config {
            data: self.data().to_owned(),
            database_url: None,
            server: self.args(),
        };
        let serve = |listener, stop: CancellationToken| async move {
            accounting_svc::serve(listener, config, stop.cancelled_owned())
                .await
                .unwrap();
        };
        Server::start(serve).await.0
    }

    pub(crate) async fn payment(&self) -> Server {
        self.payment_as(|_| {}).await.0
    }

    /// A payment instance with other settings, and a client of it alone.
    pub(crate) async fn payment_as(
        &self,
        set: impl FnOnce(&mut payment_svc::Config),
    ) -> (Server, PaymentServiceClient<Connection>) {
        let mut config = payment_svc::Config::new(self.data().to_owned(), self.args());
        set(&mut config);
        let serve = |listener, stop: CancellationToken| async move {
            payment_svc::serve(listener, config, stop.cancelled_owned())
                .await
                .unwrap();
        };
        let (server, address) = Server::start(serve).await;
        let patience = Duration::from_secs(60);
        let connection = Connection::open(&address, patience).await.unwrap();
        (server, PaymentServiceClient::new(connection))
    }

    fn peer(&self, service: &str) -> Channel {
        Channel::builder(service)
            .registry(vec![self.address.clone()])
            .no_breaker()
            .connect()
            .unwrap()
    }

    /// Waits until every service answers.
    pub(crate) async fn ready(&self) {
        until(async || self.list(ListPaymentsRequest::default()).await.ok()).await;
        until(async || self.books().await.ok()).await;
        until(async || self.invoices("").await.ok()).await;
    }

    pub(crate) async fn pay(&self, request: ProcessPaymentRequest) -> Result<Payment, Status> {
        let mut client = PaymentServiceClient::new(self.channel.clone());
        Ok(client.process_payment(request).await?.into_inner())
    }

    pub(crate) async fn get(&self, payment_id: &str) -> Result<Payment, Status> {
        let request = GetPaymentRequest {
            payment_id: payment_id.to_owned(),
        };
        Ok(PaymentServiceClient::new(self.channel.clone())
            .get_payment(request)
            .await?
            .into_inner())
    }

    pub(crate) async fn refund(&self, request: RefundPaymentRequest) -> Result<Payment, Status> {
        let mut client = PaymentServiceClient::new(self.channel.clone());
        Ok(client.refund_payment(request).await?.into_inner())
    }

    pub(crate) async fn cancel(&self, payment_id: &str) -> Result<Payment, Status> {
        let request = CancelPaymentRequest {
            request_id: format!("cancel-{payment_id}"),
            payment_id: payment_id.to_owned(),
            reason: "not wanted".to_owned(),
        };
        let mut client = PaymentServiceClient::new(self.channel.clone());
        Ok(client.cancel_payment(request).await?.into_inner())
    }

    pub(crate) async fn transactions(&self, reference: &str) -> Result<Vec<Transaction>, Status> {
        let request = ListTransactionsRequest {
            reference: reference.to_owned(),
            ..ListTransactionsRequest::default()
        };
        let mut client = AccountingServiceClient::new(self.peer("accounting"));
        let answer = client.list_transactions(request).await?.into_inner();
        Ok(answer.transactions)
    }

    pub(crate) async fn list(
        &self,
        request: ListPaymentsRequest,
    ) -> Result<ListPaymentsResponse, Status> {
        Ok(PaymentServiceClient::new(self.channel.clone())
            .list_payments(request)
            .await?
            .into_inner())
    }

    pub(crate) async fn books(&self) -> Result<TrialBalance, Status> {
        let mut client = AccountingServiceClient::new(self.peer("accounting"));
        Ok(client
            .get_trial_balance(GetTrialBalanceRequest::default())
            .await?
            .into_inner())
    }

    pub(crate) async fn invoices(&self, reference: &str) -> Result<Vec<Invoice>, Status> {
        let request = ListInvoicesRequest {
            reference: reference.to_owned(),
            ..ListInvoicesRequest::default()
        };
        let mut client = InvoiceServiceClient::new(self.peer("invoice"));
        Ok(client.list_invoices(request).await?.into_inner().invoices)
    }

    /// Waits until a payment is in a state, as seen by anybody.
    pub(crate) async fn reaches(&self, payment_id: &str, state: PaymentState) -> Payment {
        until(async || {
            self.get(payment_id)
                .await
                .ok()
                .filter(|payment| payment.state() == state)
        })
        .await
    }
}

/// Asks until there is an answer; a test that waits for ever is ended here.
pub(crate) async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let mut ticks = interval(Duration::from_millis(10));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .expect("it never came to that")
}

pub(crate) fn gbp(pounds: i64, pence: i32) -> Option<Money> {
    Some(Money {
        currency_code: "GBP".to_owned(),
        units: pounds,
        nanos: pence * 10_000_000,
    })
}

pub(crate) fn request(id: &str) -> ProcessPaymentRequest {
    ProcessPaymentRequest {
        request_id: id.to_owned(),
        amount: gbp(12, 34),
        counterparty: Some(Counterparty {
            counterparty_id: "s-7".to_owned(),
            name: "A supplier".to_owned(),
        }),
        description: "Paper".to_owned(),
        reference: "ref".to_owned(),
        ..ProcessPaymentRequest::default()
    }
}

/// Debits, credits and difference of pounds, in pence.
pub(crate) fn pounds(books: &TrialBalance) -> [i64; 3] {
    let pence = |money: &Option<Money>| {
        money
            .as_ref()
            .map_or(0, |m| m.units * 100 + i64::from(m.nanos) / 10_000_000)
    };
    let total = books
        .totals
        .iter()
        .find(|t| t.debits.as_ref().is_some_and(|m| m.currency_code == "GBP"));
    total.map_or([0; 3], |t| {
        [pence(&t.debits), pence(&t.credits), pence(&t.difference)]
    })
}
