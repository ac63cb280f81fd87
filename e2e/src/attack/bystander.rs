//! The well-behaved clients beside an attack: what they notice of it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use mizan::Connection;
use mizan_contracts::{
    accounting::v1::{ListAccountsRequest, accounting_service_client::AccountingServiceClient},
    payment::v1::{ListPaymentsRequest, payment_service_client::PaymentServiceClient},
    registry::v1::{ListInstancesRequest, registry_service_client::RegistryServiceClient},
};
use tokio::time::{sleep, timeout};

/// Between two calls of a client: often enough to see a stall, far from load.
const PAUSE: Duration = Duration::from_millis(20);

/// As long as callers wait by default.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the clients call.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    pub(super) registry: String,
    pub(super) accounting: String,
    pub(super) payment: String,
}

/// What they noticed.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    latencies: Vec<Duration>,
    /// What went wrong, in words.
    pub(super) failures: Vec<String>,
}

impl Noticed {
    /// How many calls there were.
    pub(super) fn calls(&self) -> usize {
        self.latencies.len() + self.failures.len()
    }

    /// The latency that so many of a thousand calls stay below.
    pub(super) fn permille(&mut self, of_1000: usize) -> Duration {
        self.latencies.sort_unstable();
        let index = self.latencies.len() * of_1000 / 1000;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get(index.min(last))
            .copied()
            .unwrap_or_default()
    }
}

/// Calls the registry, the ledger and payments by turns, until `attack` is over.
pub(super) async fn beside<T>(
    addresses: &Addresses,
    attack: impl Future<Output = T>,
) -> (T, Noticed) {
    let mut noticed = Noticed::default();
    let calls = async {
        let mut clients = None;
        loop {
            let began = Instant::now();
            match timeout(PATIENCE, turn(addresses, &mut clients)).await {
                Ok(Ok(())) => noticed.latencies.push(began.elapsed()),
                Ok(Err(why)) => noticed.failures.push(why),
                Err(_) => noticed.failures.push(format!("no answer in {PATIENCE:?}")),
            }
            sleep(PAUSE).await;
        }
    };
    let result = tokio::select! {
        result = attack => result,
        () = calls => unreachable!("it calls without end"),
    };
    (result, noticed)
}

/// The connections of the clients, and whose turn it is.
type Clients = Option<([Connection; 3], usize)>;

async fn turn(addresses: &Addresses, clients: &mut Clients) -> Result<(), String> {
    let Addresses {
        registry,
        accounting,
        payment,
    } = addresses;
    let (connections, next) = match clients {
        Some(open) => open,
        None => {
            let open = async |authority: &str| {
                let opened = Connection::open(authority, PATIENCE).await;
                opened.map_err(|error| format!("{authority}: {error}"))
            };
            let all = [
                open(registry).await?,
                open(accounting).await?,
                open(payment).await?,
            ];
            clients.insert((all, 0))
        }
    };
    *next += 1;
    let [registry, accounting, payment] = connections;
    let ended = match *next % 3 {
        0 => {
            let request = ListInstancesRequest {
                service: "payment".to_owned(),
                ..ListInstancesRequest::default()
            };
            let mut client = RegistryServiceClient::new(registry.clone());
            client.list_instances(request).await.map(drop)
        }
        1 => {
            let request = ListAccountsRequest {
                page_size: 1,
                ..ListAccountsRequest::default()
            };
            let mut client = AccountingServiceClient::new(accounting.clone());
            client.list_accounts(request).await.map(drop)
        }
        _ => {
            let request = ListPaymentsRequest {
                page_size: 1,
                ..ListPaymentsRequest::default()
            };
            let mut client = PaymentServiceClient::new(payment.clone());
            client.list_payments(request).await.map(drop)
        }
    };
    ended.map_err(|status| {
        // Whatever it was, the next call is made on connections of its own.
        *clients = None;
        format!("{:?}: {}", status.code(), status.message())
    })
}
