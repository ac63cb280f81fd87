//! The services around the payment processes, and a process.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use mizan::{Channel, Connection, args::ServerArgs};
use mizan_contracts::{
    accounting::v1::{
        GetTrialBalanceRequest, ListTransactionsRequest, VerifyJournalRequest,
        accounting_service_client::AccountingServiceClient,
    },
    invoice::v1::{
        InvoiceState, ListInvoicesRequest, invoice_service_client::InvoiceServiceClient,
    },
    payment::v1::{
        Counterparty, GetPaymentRequest, Payment, PaymentState, ProcessPaymentRequest,
        RefundPaymentRequest, payment_service_client::PaymentServiceClient,
    },
    r#type::v1::Money,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::Status;

/// Longer than any of this takes: a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the payment processes keep their payments.
pub(crate) struct Where {
    database_url: Option<String>,
}

impl Where {
    pub(crate) fn file() -> Self {
        Self { database_url: None }
    }

    /// `None`, and a word on stderr, where no PostgreSQL is.
    pub(crate) async fn server() -> Option<Self> {
        let url = store::testing::postgres().await?;
        Some(Self {
            database_url: Some(url),
        })
    }
}

/// Everything but the payment processes.
pub(crate) struct World {
    location: Where,
    folder: tempfile::TempDir,
    registry: String,
    servers: JoinSet<()>,
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

impl World {
    /// With a registry and invoicing; accounting comes later.
    pub(crate) async fn new(location: Where) -> Self {
        let mut servers = JoinSet::new();
        let at = listener().await;
        let registry = at.local_addr().unwrap().to_string();
        servers.spawn(async move {
            let served = registry::serve(at, registry::Config::default(), std::future::pending());
            served.await.unwrap();
        });
        let mut world = Self {
            location,
            folder: tempfile::tempdir().unwrap(),
            registry,
            servers,
        };
        let config = invoice_svc::Config {
            database_url: None,
            data: world.folder.path().to_owned(),
            server: world.args(),
        };
        let at = listener().await;
        world.servers.spawn(async move {
            let served = invoice_svc::serve(at, config, std::future::pending());
            served.await.unwrap();
        });
        world
    }

    fn args(&self) -> ServerArgs {
        ServerArgs::with_registry(vec![self.registry.clone()])
    }

    pub(crate) async fn accounting(&mut self) {
        let config = accounting_svc::Config {
            database_url: None,
            data: self.folder.path().to_owned(),
            server: self.args(),
        };
        let at = listener().await;
        self.servers.spawn(async move {
            let served = accounting_svc::serve(at, config, std::future::pending());
            served.await.unwrap();
        });
    }

    /// Starts a payment process, and waits until it serves.
    pub(crate) async fn start(&self) -> Process {
        let server = self.location.database_url.iter();
        let mut child = Command::new(env!("CARGO_BIN_EXE_payment-svc"))
            .args(server.flat_map(|url| ["--database-url", url]))
            .args(["--listen", "127.0.0.1:0", "--registry", &self.registry])
            .args(["--ledger-wait-seconds", "36000"])
            .args(["--log", "info", "--log-format", "json", "--data"])
            .arg(self.folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let let_go = Arc::new(AtomicUsize::new(0));
        let (tell, told) = mpsc::channel();
        // Reads to the end, so that the process never waits for its log to be read.
        thread::spawn({
            let let_go = let_go.clone();
            move || {
                for entry in log.lines().map_while(Result::ok) {
                    let entry: serde_json::Value = serde_json::from_str(&entry).unwrap_or_default();
                    match entry["message"].as_str() {
                        Some("serving") => {
                            let address = entry["address"].as_str().unwrap_or_default();
                            let _ = tell.send(address.to_owned());
                        }
                        Some("another worker has it now") => {
                            let_go.fetch_add(1, Relaxed);
                        }
                        _ => {}
                    }
                }
            }
        });
        let authority = told.recv_timeout(PATIENCE).unwrap();
        let connection = Connection::open(&authority, PATIENCE).await.unwrap();
        Process {
            child,
            client: PaymentServiceClient::new(connection),
            let_go,
        }
    }

    fn peer(&self, service: &str) -> Channel {
        Channel::builder(service)
            .registry(vec![self.registry.clone()])
            .no_breaker()
            .connect()
            .unwrap()
    }

    /// What the expense account holds, in pence.
    pub(crate) async fn spent(&self) -> i64 {
        let ledger = AccountingServiceClient::new(self.peer("accounting"));
        let trial = until(async || {
            let mut ledger = ledger.clone();
            let request = GetTrialBalanceRequest::default();
            ledger.get_trial_balance(request).await.ok()
        });
        let trial = trial.await.into_inner();
        let mut accounts = trial.balances.iter();
        let expense = accounts.find(|b| b.account_id == "expense-gbp").unwrap();
        let balance = expense.balance.as_ref().unwrap();
        balance.units * 100 + i64::from(balance.nanos) / 10_000_000
    }

    /// How many invoices there are.
    pub(crate) async fn invoices(&self) -> usize {
        self.list_invoices("").await.len()
    }

    async fn list_invoices(&self, reference: &str) -> Vec<mizan_contracts::invoice::v1::Invoice> {
        let client = InvoiceServiceClient::new(self.peer("invoice"));
        let request = ListInvoicesRequest {
            reference: reference.to_owned(),
            page_size: 1000,
            ..ListInvoicesRequest::default()
        };
        let listed = until(async || client.clone().list_invoices(request.clone()).await.ok());
        listed.await.into_inner().invoices
    }

    /// The books: of each payment one paid invoice and one transaction, everybody told so, nothing
    /// else, and a journal that is whole.
    pub(crate) async fn is_made_once(&self, process: &Process, ids: &[String]) {
        let ledger = AccountingServiceClient::new(self.peer("accounting"));
        for id in ids {
            let payment = process.get(id).await.unwrap();
            assert_eq!(payment.state(), PaymentState::Completed, "{id}");
            let invoices = self.list_invoices(id).await;
            assert_eq!(invoices.len(), 1, "{id}");
            assert_eq!(invoices[0].state(), InvoiceState::Paid, "{id}");
            let request = ListTransactionsRequest {
                reference: id.clone(),
                ..ListTransactionsRequest::default()
            };
            let posted = until(async || {
                let mut ledger = ledger.clone();
                ledger.list_transactions(request.clone()).await.ok()
            });
            let posted = posted.await.into_inner().transactions;
            assert_eq!(posted.len(), 1, "{id}");
            assert_eq!(posted[0].transaction_id, payment.transaction_id, "{id}");
            // A repetition is the same payment, and does nothing.
            let again = process.pay(id).await.unwrap();
            assert_eq!(again.update_time, payment.update_time, "{id}");
        }
        let trial = GetTrialBalanceRequest::default();
        let trial = ledger.clone().get_trial_balance(trial).await.unwrap();
        let trial = trial.into_inner();
        assert_eq!(trial.transactions, i64::try_from(ids.len()).unwrap());
        for total in &trial.totals {
            assert_eq!(total.debits, total.credits);
        }
        assert_eq!(self.invoices().await, ids.len());
        let verify = VerifyJournalRequest::default();
        let verified = ledger.clone().verify_journal(verify).await.unwrap();
        let verified = verified.into_inner();
        assert!(verified.valid && verified.complete, "{verified:?}");
    }
}

/// A payment process.
pub(crate) struct Process {
    child: Child,
    client: PaymentServiceClient<Connection>,
    let_go: Arc<AtomicUsize>,
}

impl Process {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How often it was told, when it wanted to write, that a payment is another's by now.
    pub(crate) fn let_go(&self) -> usize {
        self.let_go.load(Relaxed)
    }

    /// Begins a payment, and does not wait for it.
    pub(crate) async fn try_begin(&self, id: &str) -> Result<(), Status> {
        let request = ProcessPaymentRequest {
            asynchronous: true,
            ..request(id)
        };
        self.client.clone().process_payment(request).await?;
        Ok(())
    }

    pub(crate) async fn begin(&self, id: &str) {
        until(async || self.try_begin(id).await.ok()).await;
    }

    pub(crate) async fn pay(&self, id: &str) -> Result<Payment, Status> {
        let answer = self.client.clone().process_payment(request(id)).await?;
        Ok(answer.into_inner())
    }

    /// Asks for a refund of so many pence.
    pub(crate) fn refund(
        &self,
        id: String,
        of: &str,
        pence: i32,
    ) -> impl Future<Output = Result<Payment, Status>> + use<> {
        let request = RefundPaymentRequest {
            request_id: id,
            payment_id: of.to_owned(),
            amount: Some(Money {
                currency_code: "GBP".to_owned(),
                units: 0,
                nanos: pence * 10_000_000,
            }),
            asynchronous: true,
            ..RefundPaymentRequest::default()
        };
        let mut client = self.client.clone();
        async move { Ok(client.refund_payment(request).await?.into_inner()) }
    }

    pub(crate) async fn get(&self, id: &str) -> Option<Payment> {
        let request = GetPaymentRequest {
            payment_id: id.to_owned(),
        };
        let found = self.client.clone().get_payment(request).await;
        Some(found.ok()?.into_inner())
    }

    pub(crate) async fn reaches(&self, id: &str, state: PaymentState) -> Payment {
        until(async || self.get(id).await.filter(|p| p.state() == state)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    let asking = tokio::time::timeout(PATIENCE, asking);
    asking.await.expect("it never came to that")
}

fn request(id: &str) -> ProcessPaymentRequest {
    ProcessPaymentRequest {
        request_id: id.to_owned(),
        amount: Some(Money {
            currency_code: "GBP".to_owned(),
            units: 1,
            nanos: 0,
        }),
        counterparty: Some(Counterparty {
            counterparty_id: String::new(),
            name: "A supplier".to_owned(),
        }),
        ..ProcessPaymentRequest::default()
    }
}
