//! Two real processes on one file, one of them killed at work.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use mizan::Connection;
use mizan_contracts::{
    invoice::v1::{
        CreateInvoiceRequest, FinalizeInvoiceRequest, Invoice, InvoiceLine, Party,
        invoice_service_client::InvoiceServiceClient,
    },
    r#type::v1::Money,
};
use tonic::Status;

type Client = InvoiceServiceClient<Connection>;

/// How many invoices are finalized.
const INVOICES: usize = 120;

/// How many callers there are, half of them at each process.
const WORKERS: usize = 8;

/// How many are acknowledged when one process is killed.
const BEFORE_THE_KILL: usize = 20;

/// Longer than any of this takes: a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(20);

struct Process {
    child: Child,
    client: Client,
}

impl Process {
    /// Starts one on a port that the system chooses, and waits until it serves.
    async fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_invoice-svc"))
            // Nobody listens on port 1: the process serves without a registry and says so.
            .args(["--listen", "127.0.0.1:0", "--registry", "127.0.0.1:1"])
            .args(["--log", "info", "--log-format", "json", "--data"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (tell, told) = mpsc::channel();
        // Reads to the end, so that the process never waits for its log to be read.
        thread::spawn(move || {
            for entry in log.lines().map_while(Result::ok) {
                let entry: serde_json::Value = serde_json::from_str(&entry).unwrap_or_default();
                if entry["message"] == "serving" {
                    let _ = tell.send(entry["address"].as_str().unwrap_or_default().to_owned());
                }
            }
        });
        let authority = told.recv_timeout(PATIENCE).unwrap();
        let connection = Connection::open(&authority, PATIENCE).await.unwrap();
        let client = InvoiceServiceClient::new(connection);
        Self { child, client }
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn create(mut client: Client, id: String) -> Result<Invoice, Status> {
    let price = Money {
        currency_code: "GBP".to_owned(),
        units: 1,
        nanos: 0,
    };
    let request = CreateInvoiceRequest {
        request_id: id,
        party: Some(Party {
            party_id: String::new(),
            name: "Acme Ltd".to_owned(),
            ..Party::default()
        }),
        lines: vec![InvoiceLine {
            description: "paper".to_owned(),
            quantity: 1,
            unit_price: Some(price),
            ..InvoiceLine::default()
        }],
        ..CreateInvoiceRequest::default()
    };
    Ok(client.create_invoice(request).await?.into_inner())
}

async fn finalize(mut client: Client, id: String) -> Result<Invoice, Status> {
    let request = FinalizeInvoiceRequest {
        request_id: id.clone(),
        invoice_id: id,
        etag: String::new(),
    };
    Ok(client.finalize_invoice(request).await?.into_inner())
}

fn ids() -> impl Iterator<Item = String> {
    (0..INVOICES).map(|n| format!("i{n}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_no_gap_and_takes_back_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let steady = Process::start(folder.path()).await;
    let mut doomed = Process::start(folder.path()).await;
    for id in ids() {
        create(steady.client.clone(), id).await.unwrap();
    }

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for worker in 0..WORKERS {
        let process = if worker % 2 == 0 { &steady } else { &doomed };
        let (client, tell) = (process.client.clone(), tell.clone());
        tokio::spawn(async move {
            // One after another, so that the killed process is always at work on something.
            for id in ids().skip(worker).step_by(WORKERS) {
                match finalize(client.clone(), id).await {
                    Ok(invoice) => tell.send(invoice).unwrap(),
                    Err(_) => return,
                }
            }
        });
    }
    drop(tell);
    let mut acknowledged = Vec::new();
    while let Some(invoice) = told.recv().await {
        acknowledged.push(invoice);
        if acknowledged.len() == BEFORE_THE_KILL {
            doomed.kill();
        }
    }
    assert!(acknowledged.len() >= INVOICES / 2, "the other goes on");
    assert!(
        acknowledged.len() < INVOICES,
        "the kill interrupted something"
    );

    let restarted = Process::start(folder.path()).await;
    let mut numbers = BTreeSet::new();
    for id in ids() {
        let invoice = finalize(restarted.client.clone(), id.clone())
            .await
            .unwrap();
        if let Some(before) = acknowledged.iter().find(|i| i.invoice_id == id) {
            assert_eq!(&invoice, before);
        }
        numbers.insert(invoice.number);
    }
    let expected: BTreeSet<_> = (1..=INVOICES).map(|n| format!("INV-{n:08}")).collect();
    assert_eq!(numbers, expected);
}
