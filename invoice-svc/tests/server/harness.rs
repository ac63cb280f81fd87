//! Servers in this process, on ports that the system chose, over a folder that goes away.

use std::{path::Path, time::Duration};

use invoice_svc::{Config, ServeError};
use mizan::{Connection, args::ServerArgs, status};
use mizan_contracts::{
    invoice::v1::{
        CreateCreditNoteRequest, CreateInvoiceRequest, DocumentType, ExportInvoiceRequest,
        ExportInvoiceResponse, FinalizeInvoiceRequest, GetInvoiceRequest, Invoice,
        InvoiceLine, ListInvoicesRequest, Party, MarkInvoiceUncollectibleRequest, RecordInvoicePaymentRequest, UpdateInvoiceRequest,
        VoidInvoiceRequest,
        invoice_service_client::InvoiceServiceClient,
    },
    r#type::v1::Money,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub(crate) type Client = InvoiceServiceClient<Connection>;

/// One running instance.
pub(crate) struct Server {
    pub(crate) client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    /// Over a folder, or a database if one is named.
    pub(crate) async fn start(data: &Path, database_url: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let config = Config {
            data: data.to_owned(),
            database_url,
            server: ServerArgs::with_registry(Vec::new()),
        };
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(invoice_svc::serve(listener, config, shutdown));
        let connection = Connection::open(&authority, Duration::from_secs(60)).await;
        Self {
            client: InvoiceServiceClient::new(connection.unwrap()),
            stop,
            serving,
        }
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.unwrap().unwrap();
    }
}

/// A server over a folder or a database of its own.
pub(crate) struct Fresh {
    pub(crate) server: Server,
    folder: TempDir,
    database_url: Option<String>,
}

impl Fresh {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Where no PostgreSQL is installed, which is said loudly, the file is tested twice.
        let database_url = if super::POSTGRES {
            store::testing::postgres().await
        } else {
            None
        };
        let server = Server::start(folder.path(), database_url.clone()).await;
        Self {
            server,
            folder,
            database_url,
        }
    }

    /// Where its file is, if it has one.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn client(&self) -> Client {
        self.server.client.clone()
    }

    /// One more instance on the same store.
    pub(crate) async fn another(&self) -> Server {
        Server::start(self.folder.path(), self.database_url.clone()).await
    }

    /// Stops the server and starts another on the same store.
    pub(crate) async fn restart(self) -> Self {
        self.server.stop().await;
        let server = Server::start(self.folder.path(), self.database_url.clone()).await;
        Self { server, ..self }
    }
}

pub(crate) type Answer = Result<Invoice, Status>;

pub(crate) async fn create(client: &Client, request: CreateInvoiceRequest) -> Answer {
    let answer = client.clone().create_invoice(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn get(client: &Client, id: &str) -> Answer {
    let request = GetInvoiceRequest {
        invoice_id: id.to_owned(),
    };
    let answer = client.clone().get_invoice(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn finalize(client: &Client, request: FinalizeInvoiceRequest) -> Answer {
    let answer = client.clone().finalize_invoice(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn pay(client: &Client, request: RecordInvoicePaymentRequest) -> Answer {
    let answer = client.clone().record_invoice_payment(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn void(client: &Client, request: VoidInvoiceRequest) -> Answer {
    let answer = client.clone().void_invoice(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn update(client: &Client, request_id: &str, invoice: Invoice) -> Answer {
    let request = UpdateInvoiceRequest {
        request_id: request_id.to_owned(),
        invoice: Some(invoice),
    };
    let answer = client.clone().update_invoice(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn give_up(client: &Client, request_id: &str, id: &str) -> Answer {
    let request = MarkInvoiceUncollectibleRequest {
        request_id: request_id.to_owned(),
        invoice_id: id.to_owned(),
        etag: String::new(),
    };
    let answer = client.clone().mark_invoice_uncollectible(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn credit(client: &Client, request: CreateCreditNoteRequest) -> Answer {
    let answer = client.clone().create_credit_note(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn export(
    client: &Client,
    request: ExportInvoiceRequest,
) -> Result<ExportInvoiceResponse, Status> {
    let answer = client.clone().export_invoice(request).await?;
    Ok(answer.into_inner())
}

/// Credits so much, or all.
pub(crate) fn crediting(
    request_id: &str,
    id: &str,
    amount: Option<Money>,
) -> CreateCreditNoteRequest {
    CreateCreditNoteRequest {
        request_id: request_id.to_owned(),
        invoice_id: id.to_owned(),
        amount,
        ..CreateCreditNoteRequest::default()
    }
}

/// One page: the ids, and the token of the next.
pub(crate) async fn page(
    client: &Client,
    request: ListInvoicesRequest,
) -> Result<(Vec<String>, String), Status> {
    let page = client.clone().list_invoices(request).await?.into_inner();
    let ids = page.invoices.into_iter().map(|i| i.invoice_id).collect();
    Ok((ids, page.next_page_token))
}

pub(crate) fn pounds(units: i64, pence: i32) -> Option<Money> {
    money("GBP", units, pence * 10_000_000)
}

pub(crate) fn money(currency_code: &str, units: i64, nanos: i32) -> Option<Money> {
    Some(Money {
        currency_code: currency_code.to_owned(),
        units,
        nanos,
    })
}

pub(crate) fn line(description: &str, quantity: i64, unit_price: Option<Money>) -> InvoiceLine {
    InvoiceLine {
        description: description.to_owned(),
        quantity,
        unit_price,
        ..InvoiceLine::default()
    }
}

/// A good request, for 100.00 GBP.
pub(crate) fn hundred(id: &str) -> CreateInvoiceRequest {
    CreateInvoiceRequest {
        request_id: id.to_owned(),
        document_type: DocumentType::Invoice.into(),
        party: Some(Party {
            party_id: "p-1".to_owned(),
            name: "Acme Ltd".to_owned(),
            ..Party::default()
        }),
        lines: vec![line("paper", 2, pounds(50, 0))],
        ..CreateInvoiceRequest::default()
    }
}

pub(crate) fn finalizing(request_id: &str, id: &str) -> FinalizeInvoiceRequest {
    FinalizeInvoiceRequest {
        request_id: request_id.to_owned(),
        invoice_id: id.to_owned(),
        etag: String::new(),
    }
}

pub(crate) fn paying(
    request_id: &str,
    id: &str,
    amount: Option<Money>,
) -> RecordInvoicePaymentRequest {
    RecordInvoicePaymentRequest {
        request_id: request_id.to_owned(),
        invoice_id: id.to_owned(),
        amount,
        ..RecordInvoicePaymentRequest::default()
    }
}

pub(crate) fn voiding(request_id: &str, id: &str) -> VoidInvoiceRequest {
    VoidInvoiceRequest {
        request_id: request_id.to_owned(),
        invoice_id: id.to_owned(),
        ..VoidInvoiceRequest::default()
    }
}

/// An open invoice of 100.00 GBP.
pub(crate) async fn open(client: &Client, id: &str) -> Invoice {
    create(client, hundred(id)).await.unwrap();
    finalize(client, finalizing(&format!("f-{id}"), id))
        .await
        .unwrap()
}

/// What a refusal says to programs.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status::reason(&status).unwrap_or_default())
}

/// The fields that a refusal names.
pub(crate) fn fields<T: std::fmt::Debug>(answer: Result<T, Status>) -> Vec<String> {
    let details = answer.unwrap_err().get_details_bad_request();
    let violations = details.map(|d| d.field_violations).unwrap_or_default();
    violations.into_iter().map(|v| v.field).collect()
}

/// FAILED_PRECONDITION for this reason.
pub(crate) fn precondition(reason: &str) -> (Code, String) {
    (Code::FailedPrecondition, reason.to_owned())
}
