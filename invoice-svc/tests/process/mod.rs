//! A process of the service's own binary, and two calls.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
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

pub(crate) type Client = InvoiceServiceClient<Connection>;

/// Longer than any of this takes: a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a caller waits for another server before it asks the same one again.
#[allow(dead_code, reason = "for one of the binaries that share this file")]
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Process {
    child: Child,
    pub(crate) client: Client,
}

impl Process {
    /// Starts one on a port that the system chooses, and waits until it serves.
    pub(crate) async fn start(data: &Path, database_url: Option<&str>) -> Self {
        Self::start_by(None, data, database_url).await
    }

    /// Starts it as this user, if one is named.
    pub(crate) async fn start_by(
        user: Option<u32>,
        data: &Path,
        database_url: Option<&str>,
    ) -> Self {
        let server = database_url.map(|url| ["--database-url", url]);
        // A file that may not grow is an error to the service, not its death.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_invoice-svc"));
        if let Some(user) = user {
            // Where somebody else may run it, wherever this was built.
            let copy = data.join("program");
            if !copy.exists() {
                std::fs::copy(&program, &copy).unwrap();
            }
            program = copy;
            command.uid(user);
        }
        let mut child = command
            .arg(program)
            .args(server.into_iter().flatten())
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

    #[allow(dead_code, reason = "for one of the binaries that share this file")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
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

pub(crate) async fn create(mut client: Client, id: String) -> Result<Invoice, Status> {
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

pub(crate) async fn finalize(mut client: Client, id: String) -> Result<Invoice, Status> {
    let request = FinalizeInvoiceRequest {
        request_id: id.clone(),
        invoice_id: id,
        etag: String::new(),
    };
    Ok(client.finalize_invoice(request).await?.into_inner())
}
