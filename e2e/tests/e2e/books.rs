//! Looking at the books and the documents of a running whole.

use std::{fmt::Write as _, future::Future, path::PathBuf, time::Duration};

use e2e::Up;
use mizan::Channel;
use mizan_contracts::{
    accounting::v1::{GetTrialBalanceRequest, accounting_service_client::AccountingServiceClient},
    invoice::v1::{Invoice, ListInvoicesRequest, invoice_service_client::InvoiceServiceClient},
    payment::v1::{ListPaymentsRequest, Payment, payment_service_client::PaymentServiceClient},
};
use tokio::time::interval;

/// A spending file of so many rows, each a penny more than the one before, from £1.00 on; the
/// pennies of all of them.
pub(crate) fn spending(up: &Up, rows: u32) -> (PathBuf, u64) {
    spending_from(up, 0, rows)
}

/// The same, with transaction numbers from this one on.
pub(crate) fn spending_from(up: &Up, first: u32, rows: u32) -> (PathBuf, u64) {
    let mut text = "Paid Date,Trans No,Amount,Supplier Name\n".to_owned();
    let mut total = 0;
    for row in first..first + rows {
        let pence = 100 + row;
        total += u64::from(pence);
        let (pounds, rest) = (pence / 100, pence % 100);
        writeln!(
            text,
            "01/02/2016,{row} - 1,{pounds}.{rest:02},Supplier {}",
            row % 7
        )
        .unwrap();
    }
    let path = up.data().join(format!("spending-{first}.csv"));
    std::fs::write(&path, text).unwrap();
    (path, total)
}

pub(crate) struct Books {
    registry: String,
}

impl Books {
    pub(crate) fn of(up: &Up) -> Self {
        Self {
            registry: up.registry.clone(),
        }
    }

    fn peer(&self, service: &str) -> Channel {
        Channel::builder(service)
            .registry(vec![self.registry.clone()])
            .contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
            .no_breaker()
            .connect()
            .unwrap()
    }

    /// The number of transactions, or none while nobody answers.
    pub(crate) async fn transactions(&self) -> Option<i64> {
        let mut client = AccountingServiceClient::new(self.peer("accounting"));
        let answer = client
            .get_trial_balance(GetTrialBalanceRequest::default())
            .await
            .ok()?
            .into_inner();
        assert!(answer.totals.iter().all(|t| {
            t.difference
                .as_ref()
                .is_some_and(|d| d.units == 0 && d.nanos == 0)
        }));
        Some(answer.transactions)
    }

    pub(crate) async fn invoices(&self) -> Vec<Invoice> {
        let mut client = InvoiceServiceClient::new(self.peer("invoice"));
        let mut all = Vec::new();
        let mut request = ListInvoicesRequest {
            page_size: 1000,
            ..ListInvoicesRequest::default()
        };
        loop {
            let page = client
                .list_invoices(request.clone())
                .await
                .unwrap()
                .into_inner();
            all.extend(page.invoices);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    pub(crate) async fn payments(&self) -> Vec<Payment> {
        let mut client = PaymentServiceClient::new(self.peer("payment"));
        let mut all = Vec::new();
        let mut request = ListPaymentsRequest {
            page_size: 1000,
            ..ListPaymentsRequest::default()
        };
        loop {
            let page = client
                .list_payments(request.clone())
                .await
                .unwrap()
                .into_inner();
            all.extend(page.payments);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// Asks until it is so; a test that waits for ever fails.
pub(crate) async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let mut ticks = interval(Duration::from_millis(10));
    let asking = async {
        loop {
            ticks.tick().await;
            if is_so().await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking)
        .await
        .expect("it never came to that");
}
