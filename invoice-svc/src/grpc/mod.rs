//! `mizan.invoice.v1.InvoiceService`: reads the request, asks the store, writes the answer.
//!
//! **Repeats.** A mutation that was done is remembered by (operation, request id) with its request.
//! The same request again is answered with the invoice as it stands *today*, as AIP-155 allows, and
//! nothing is done; another request under the same id is ALREADY_EXISTS, REQUEST_ID_REUSED. What
//! was refused is *not* remembered: the same request again is decided again, on the invoice as it
//! stands then. So a refused id may be used again, also with another request.

mod status;

use std::time::SystemTime;

use mizan::{
    request::{PageToken, id, micros, page_size},
    status::{Violations, refused},
};
use mizan_contracts::invoice::v1::{
    self as wire, CreateCreditNoteRequest, CreateInvoiceRequest, ExportInvoiceRequest,
    ExportInvoiceResponse, FinalizeInvoiceRequest, GetInvoiceRequest, ListInvoicesRequest,
    ListInvoicesResponse, MarkInvoiceUncollectibleRequest, RecordInvoicePaymentRequest,
    UpdateInvoiceRequest, VoidInvoiceRequest,
    invoice_service_server::{InvoiceService, InvoiceServiceServer},
};
use prost::Message;
use tonic::{Code, Request, Response, Status};

use crate::{
    answer,
    domain::{self, Action, Command, Micros, Record},
    export, request,
    store::{Invoices, PAGE_BYTES_MAX, Page, Place},
};

/// The invoices of a page when the caller does not say.
const PAGE_SIZE_DEFAULT: u32 = 50;

/// The most invoices of a page: bounds the time of one read. What bounds the answer is
/// [`PAGE_BYTES_MAX`].
const PAGE_SIZE_MAX: u32 = 1000;

/// The most characters of the reason of a void.
const REASON_CHARS_MAX: usize = 512;

/// The service as a server takes it.
pub(crate) fn service(invoices: Invoices) -> InvoiceServiceServer<Api> {
    InvoiceServiceServer::new(Api { invoices })
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
}

/// The calls.
#[derive(Debug)]
pub(crate) struct Api {
    invoices: Invoices,
}

/// The answer to a mutation.
type Answer = Result<Response<wire::Invoice>, Status>;

#[tonic::async_trait]
impl InvoiceService for Api {
    async fn create_invoice(&self, request: Request<CreateInvoiceRequest>) -> Answer {
        let request = request.into_inner();
        let mut violations = Violations::new();
        id("request_id", &request.request_id, &mut violations);
        let document = kept(request::created(&request, &mut violations), violations)?;
        let by = (&*request.request_id, &*request.request_id, "");
        let action = Action::Create(Box::new(document));
        self.mutate("CreateInvoiceRequest", &request, by, action)
            .await
    }

    async fn get_invoice(&self, request: Request<GetInvoiceRequest>) -> Answer {
        let GetInvoiceRequest { invoice_id } = request.into_inner();
        let record = self.find("invoice_id", invoice_id).await?;
        message(&record).map(Response::new)
    }

    async fn list_invoices(
        &self,
        request: Request<ListInvoicesRequest>,
    ) -> Result<Response<ListInvoicesResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let (filter, oldest_first) = request::list(&request, now(), &mut violations);
        let (default, max) = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
        let limit = page_size(request.page_size, default, max, &mut violations);
        let filters = filters(&request);
        let filters = [filters.as_str()];
        let tokens = PageToken::of("mizan.invoice.v1.ListInvoices", &filters);
        let after = tokens.read(&request.page_token, &mut violations);
        violations.check()?;
        let first = if oldest_first { 0 } else { i64::MAX };
        let place = Place {
            after: after.unwrap_or(first),
            oldest_first,
            limit,
        };
        let page = self.invoices.list(filter, place).await;
        let (invoices, next) = shown(page.map_err(status::of)?)?;
        Ok(Response::new(ListInvoicesResponse {
            invoices,
            next_page_token: next.map(|place| tokens.write(place)).unwrap_or_default(),
        }))
    }

    async fn update_invoice(&self, request: Request<UpdateInvoiceRequest>) -> Answer {
        let request = request.into_inner();
        let mut violations = Violations::new();
        id("request_id", &request.request_id, &mut violations);
        let Some(invoice) = &request.invoice else {
            violations.add("invoice", "is required");
            violations.check()?;
            return Err(unread());
        };
        id("invoice.invoice_id", &invoice.invoice_id, &mut violations);
        let document = kept(request::updated(invoice, &mut violations), violations)?;
        let by = (&*request.request_id, &*invoice.invoice_id, &*invoice.etag);
        let action = Action::Update(Box::new(document));
        self.mutate("UpdateInvoiceRequest", &request, by, action)
            .await
    }

    async fn finalize_invoice(&self, request: Request<FinalizeInvoiceRequest>) -> Answer {
        let request = request.into_inner();
        read_ids(&request.request_id, &request.invoice_id).check()?;
        let by = (&*request.request_id, &*request.invoice_id, &*request.etag);
        self.mutate("FinalizeInvoiceRequest", &request, by, Action::Finalize)
            .await
    }

    async fn record_invoice_payment(
        &self,
        request: Request<RecordInvoicePaymentRequest>,
    ) -> Answer {
        let request = request.into_inner();
        let mut violations = read_ids(&request.request_id, &request.invoice_id);
        let payment = kept(request::payment(&request, &mut violations), violations)?;
        let by = (&*request.request_id, &*request.invoice_id, &*request.etag);
        let action = Action::Pay(payment, request.reference.clone());
        self.mutate("RecordInvoicePaymentRequest", &request, by, action)
            .await
    }

    async fn void_invoice(&self, request: Request<VoidInvoiceRequest>) -> Answer {
        let request = request.into_inner();
        let mut violations = read_ids(&request.request_id, &request.invoice_id);
        request::plain_text(REASON_CHARS_MAX, "reason", &request.reason, &mut violations);
        violations.check()?;
        let by = (&*request.request_id, &*request.invoice_id, &*request.etag);
        let action = Action::Void {
            reason: request.reason.clone(),
            allow_missing: request.allow_missing,
        };
        self.mutate("VoidInvoiceRequest", &request, by, action)
            .await
    }

    async fn mark_invoice_uncollectible(
        &self,
        request: Request<MarkInvoiceUncollectibleRequest>,
    ) -> Answer {
        let request = request.into_inner();
        read_ids(&request.request_id, &request.invoice_id).check()?;
        let by = (&*request.request_id, &*request.invoice_id, &*request.etag);
        let name = "MarkInvoiceUncollectibleRequest";
        self.mutate(name, &request, by, Action::GiveUp).await
    }

    async fn create_credit_note(&self, request: Request<CreateCreditNoteRequest>) -> Answer {
        let request = request.into_inner();
        let mut violations = read_ids(&request.request_id, &request.invoice_id);
        let note = kept(request::credit_note(&request, &mut violations), violations)?;
        let by = (&*request.request_id, &*request.invoice_id, &*request.etag);
        let action = Action::Credit(Box::new(note));
        self.mutate("CreateCreditNoteRequest", &request, by, action)
            .await
    }

    async fn export_invoice(
        &self,
        request: Request<ExportInvoiceRequest>,
    ) -> Result<Response<ExportInvoiceResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        id("invoice_id", &request.invoice_id, &mut violations);
        let form = kept(export::form(&request, &mut violations), violations)?;
        let record = self.find("invoice_id", request.invoice_id).await?;
        let message = message(&record)?;
        let credited = match message.credited_invoice_id.as_str() {
            "" => None,
            id => Some(self.find("invoice_id", id.to_owned()).await?),
        };
        let credited = credited.and_then(|record| record.invoice().ok());
        let exported = export::export(&record, &message, credited.as_ref(), &form);
        exported.map(Response::new)
    }
}

impl Api {
    /// Does `action` for the request, the message `name`, with its request id, invoice id and etag.
    async fn mutate(
        &self,
        name: &str,
        request: &impl Message,
        (request_id, invoice_id, etag): (&str, &str, &str),
        action: Action,
    ) -> Answer {
        let asked = domain::Request {
            request_id: request_id.to_owned(),
            invoice_id: invoice_id.to_owned(),
            etag: etag.to_owned(),
            body: request.encode_to_vec(),
            now: now(),
        };
        let command = Command {
            request: asked,
            action,
        };
        match self.invoices.execute(command).await {
            Ok(record) => message(&record).map(Response::new),
            Err(error) => Err(status::of_mutation(error, name, request)),
        }
    }

    async fn find(&self, field: &str, invoice_id: String) -> Result<Record, Status> {
        let mut violations = Violations::new();
        id(field, &invoice_id, &mut violations);
        violations.check()?;
        self.invoices.get(invoice_id).await.map_err(status::of)
    }
}

fn read_ids(request_id: &str, invoice_id: &str) -> Violations {
    let mut violations = Violations::new();
    id("request_id", request_id, &mut violations);
    id("invoice_id", invoice_id, &mut violations);
    violations
}

/// The value, once nothing is wrong with the request.
fn kept<T>(value: Option<T>, violations: Violations) -> Result<T, Status> {
    violations.check()?;
    value.ok_or_else(unread)
}

/// Whatever cannot be read is noted as a violation, so this is a defect of ours.
fn unread() -> Status {
    refused(Code::Internal, "INTERNAL", "a bad request was not refused")
}

/// All that a list is limited and ordered by, as one text: what a page token is good for.
fn filters(request: &ListInvoicesRequest) -> String {
    let filters = ListInvoicesRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let bytes = filters.encode_to_vec();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As much of a page as an answer holds, and the place after which the next one begins. An invoice
/// can be larger in its message than in the store: what a percentage comes to is not stored.
fn shown(page: Page) -> Result<(Vec<wire::Invoice>, Option<i64>), Status> {
    let (mut invoices, mut bytes, mut last) = (Vec::new(), 0, None);
    for (place, record) in page.records {
        let invoice = message(&record)?;
        bytes += invoice.encoded_len();
        if !invoices.is_empty() && bytes > PAGE_BYTES_MAX {
            return Ok((invoices, last));
        }
        invoices.push(invoice);
        last = Some(place);
    }
    Ok((invoices, last.filter(|_| page.more)))
}

/// The service's one clock.
fn now() -> Micros {
    Micros(micros(SystemTime::now()))
}

fn message(record: &Record) -> Result<wire::Invoice, Status> {
    answer::record(record, now()).map_err(|error| {
        tracing::error!(%error, "an invoice does not fit its message");
        refused(Code::Internal, "INTERNAL", "the invoice cannot be written")
    })
}
