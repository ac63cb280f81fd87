//! A registry and the services around it, and the command run against them.

use std::{future::Future, path::Path, process::Output, time::Duration};

use mizan::{Channel, args::ServerArgs};
use mizan_contracts::{
    payment::v1::{
        Counterparty, GetPaymentRequest, Payment, PaymentState, ProcessPaymentRequest,
        payment_service_client::PaymentServiceClient,
    },
    r#type::v1::Money,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command, task::JoinHandle, time::interval};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A running server. Dropped, it is cut off like a process that is killed.
pub(crate) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn start<F>(
    serve: impl FnOnce(TcpListener, CancellationToken) -> F,
) -> (Server, String)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(serve(listener, CancellationToken::new()));
    (Server(serving), address)
}

/// A registry, and a folder for the services' files.
pub(crate) struct World {
    data: TempDir,
    _registry: Server,
    pub(crate) registry: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (server, registry) = start(|listener, stop| async move {
            let config = registry::Config::default();
            registry::serve(listener, config, stop.cancelled_owned())
                .await
                .unwrap();
        })
        .await;
        Self {
            data: tempfile::tempdir().unwrap(),
            _registry: server,
            registry,
        }
    }

    /// With every service that a payment needs, and each of them reached.
    pub(crate) async fn complete() -> (Self, [Server; 3]) {
        let world = Self::new().await;
        let payment = world.payment(200).await;
        let servers = [world.invoice().await, world.accounting().await, payment];
        let first = world.pay("the-first-one", "7.00", "nobody's");
        until(async || first.clone().send().await.ok()).await;
        (world, servers)
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn args(&self) -> ServerArgs {
        ServerArgs::with_registry(vec![self.registry.clone()])
    }

    pub(crate) async fn invoice(&self) -> Server {
        let config = invoice_svc::Config {
            database_url: None,
            data: self.data().to_owned(),
            server: self.args(),
        };
        start(|listener, stop| async move {
            invoice_svc::serve(listener, config, stop.cancelled_owned())
                .await
                .unwrap();
        })
        .await
        .0
    }

    pub(crate) async fn accounting(&self) -> Server {
        let config = accounting_svc::Config {
            database_url: None,
            data: self.data().to_owned(),
            server: self.args(),
        };
        start(|listener, stop| async move {
            accounting_svc::serve(listener, config, stop.cancelled_owned())
                .await
                .unwrap();
        })
        .await
        .0
    }

    /// One that parks a payment when a step failed so often in a row.
    pub(crate) async fn payment(&self, attempts_max: u32) -> Server {
        let config = payment_svc::Config {
            attempts_max,
            ..payment_svc::Config::new(self.data().to_owned(), self.args())
        };
        start(|listener, stop| async move {
            payment_svc::serve(listener, config, stop.cancelled_owned())
                .await
                .unwrap();
        })
        .await
        .0
    }

    /// A channel to a service, which waits for it.
    pub(crate) fn channel(&self, service: &str) -> Channel {
        Channel::builder(service)
            .registry(vec![self.registry.clone()])
            .deadline(Duration::from_secs(30))
            .wait_for_ready(true)
            .no_breaker()
            .connect()
            .unwrap()
    }

    /// A payment of so many pounds, to be sent.
    pub(crate) fn pay(&self, id: &str, pounds: &str, reference: &str) -> Pay {
        let amount = money::Money::parse(pounds, "GBP".parse().unwrap()).unwrap();
        Pay {
            client: PaymentServiceClient::new(self.channel("payment")),
            request: ProcessPaymentRequest {
                request_id: id.to_owned(),
                amount: Some(Money::try_from(amount).unwrap()),
                counterparty: Some(Counterparty {
                    counterparty_id: "s-7".to_owned(),
                    name: "A supplier".to_owned(),
                }),
                description: "Paper".to_owned(),
                reference: reference.to_owned(),
                ..ProcessPaymentRequest::default()
            },
        }
    }

    /// Waits until a payment is in a state.
    pub(crate) async fn reaches(&self, payment_id: &str, state: PaymentState) -> Payment {
        let client = PaymentServiceClient::new(self.channel("payment"));
        until(async || {
            let payment_id = payment_id.to_owned();
            let request = GetPaymentRequest { payment_id };
            let answer = client.clone().get_payment(request).await.ok()?;
            Some(answer.into_inner()).filter(|payment| payment.state() == state)
        })
        .await
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mizan"));
        command.args(args).args(["--registry", &self.registry]);
        Told(command.kill_on_drop(true).output().await.unwrap())
    }
}

/// A payment that can be sent as often as one likes.
#[derive(Clone)]
pub(crate) struct Pay {
    client: PaymentServiceClient<Channel>,
    pub(crate) request: ProcessPaymentRequest,
}

impl Pay {
    pub(crate) async fn send(mut self) -> Result<Payment, Status> {
        let answer = self.client.process_payment(self.request).await?;
        Ok(answer.into_inner())
    }
}

/// What a command did.
pub(crate) struct Told(Output);

impl Told {
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// The JSON that it printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.err()))
    }
}

/// Asks until there is an answer; a test that waits for ever is ended here.
pub(crate) async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let mut ticks = interval(Duration::from_millis(20));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking)
        .await
        .expect("it never came to that")
}
