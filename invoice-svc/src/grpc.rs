//! `mizan.invoice.v1.InvoiceService`: reads the request, asks the store, writes the answer.
//!
//! **Repeats.** A mutation that was done is remembered by (operation, request id) with its request.
//! The same request again is answered with the invoice as it stands *today*, as AIP-155 allows, and
//! nothing is done; another request under the same id is ALREADY_EXISTS, REQUEST_ID_REUSED. What
//! was refused is *not* remembered: the same request again is decided again, on the invoice as it
//! stands then. So a refused id may be used again, also with another request.

use std::time::{Duration, SystemTime};

use mizan::{
    request::{PageToken, first_difference, id, micros, page_size, reference, text},
    status::{Violations, refused, refused_field, retry_later},
};
use mizan_contracts::invoice::v1::{
    self as wire, CreateInvoiceRequest, FinalizeInvoiceRequest, GetInvoiceRequest,
    ListInvoicesRequest, ListInvoicesResponse, RecordInvoicePaymentRequest, VoidInvoiceRequest,
    invoice_service_server::{InvoiceService, InvoiceServiceServer},
};
use prost::Message;
use tonic::{Code, Request, Response, Status};

use crate::{
    answer,
    domain::{Invoice, Micros, Record, Refusal},
    request,
    store::{self, Error, Filter, Invoices},
};

/// The invoices of a page when the caller does not say.
const PAGE_SIZE_DEFAULT: u32 = 50;

/// The most invoices of a page: bounds the answer, lines included, and the time of one read.
const PAGE_SIZE_MAX: u32 = 1000;

/// The most characters of the reason of a void.
const REASON_CHARS_MAX: usize = 512;

/// The place that is before every invoice in the order of lists.
const FIRST: i64 = i64::MAX;

/// When to try again after the file could not be used: long enough for another process's
/// transaction to end.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The service as a server takes it.
pub(crate) fn service(invoices: Invoices) -> InvoiceServiceServer<Api> {
    InvoiceServiceServer::new(Api { invoices })
}

/// The calls.
#[derive(Debug)]
pub(crate) struct Api {
    invoices: Invoices,
}

#[tonic::async_trait]
impl InvoiceService for Api {
    async fn create_invoice(
        &self,
        request: Request<CreateInvoiceRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        id("request_id", &request.request_id, &mut violations);
        let document = kept(request::document(&request, &mut violations), violations)?;
        let now = now();
        let id = request.request_id.clone();
        let draft = Invoice::draft(id.clone(), document, now).ok_or_else(unread)?;
        let asked = asked(&request, &request.request_id, &id, "", now);
        answered(
            "CreateInvoiceRequest",
            &request,
            self.invoices.create(asked, draft).await,
        )
    }

    async fn get_invoice(
        &self,
        request: Request<GetInvoiceRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        let GetInvoiceRequest { invoice_id } = request.into_inner();
        let mut violations = Violations::new();
        id("invoice_id", &invoice_id, &mut violations);
        violations.check()?;
        let record = self.invoices.get(invoice_id).await.map_err(status)?;
        message(&record).map(Response::new)
    }

    async fn list_invoices(
        &self,
        request: Request<ListInvoicesRequest>,
    ) -> Result<Response<ListInvoicesResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let filter = Filter {
            state: request::state_filter(request.state, &mut violations),
            reference: request.reference.clone(),
        };
        reference(&request.reference, &mut violations);
        let (default, max) = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
        let limit = page_size(request.page_size, default, max, &mut violations);
        let state = request.state.to_string();
        let filters = [state.as_str(), &request.reference];
        let tokens = PageToken::of("mizan.invoice.v1.ListInvoices", &filters);
        let before = tokens.read(&request.page_token, &mut violations);
        violations.check()?;
        let listed = self.invoices.list(filter, before.unwrap_or(FIRST), limit);
        let page = listed.await.map_err(status)?;
        let next = page.next.map(|place| tokens.write(place));
        Ok(Response::new(ListInvoicesResponse {
            invoices: page.records.iter().map(message).collect::<Result<_, _>>()?,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn finalize_invoice(
        &self,
        request: Request<FinalizeInvoiceRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        let request = request.into_inner();
        read_ids(&request.request_id, &request.invoice_id).check()?;
        let (id, etag) = (&request.invoice_id, &request.etag);
        let asked = asked(&request, &request.request_id, id, etag, now());
        answered(
            "FinalizeInvoiceRequest",
            &request,
            self.invoices.finalize(asked).await,
        )
    }

    async fn record_invoice_payment(
        &self,
        request: Request<RecordInvoicePaymentRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        let request = request.into_inner();
        let mut violations = read_ids(&request.request_id, &request.invoice_id);
        reference(&request.reference, &mut violations);
        let payment = kept(request::payment(&request, &mut violations), violations)?;
        let (id, etag) = (&request.invoice_id, &request.etag);
        let asked = asked(&request, &request.request_id, id, etag, now());
        let reference = request.reference.clone();
        answered(
            "RecordInvoicePaymentRequest",
            &request,
            self.invoices.pay(asked, payment, reference).await,
        )
    }

    async fn void_invoice(
        &self,
        request: Request<VoidInvoiceRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        let request = request.into_inner();
        let mut violations = read_ids(&request.request_id, &request.invoice_id);
        text(REASON_CHARS_MAX, "reason", &request.reason, &mut violations);
        violations.check()?;
        let (id, etag) = (&request.invoice_id, &request.etag);
        let asked = asked(&request, &request.request_id, id, etag, now());
        let (reason, allow_missing) = (request.reason.clone(), request.allow_missing);
        answered(
            "VoidInvoiceRequest",
            &request,
            self.invoices.void(asked, reason, allow_missing).await,
        )
    }

    async fn update_invoice(
        &self,
        _: Request<wire::UpdateInvoiceRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        Err(coming())
    }

    async fn mark_invoice_uncollectible(
        &self,
        _: Request<wire::MarkInvoiceUncollectibleRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        Err(coming())
    }

    async fn create_credit_note(
        &self,
        _: Request<wire::CreateCreditNoteRequest>,
    ) -> Result<Response<wire::Invoice>, Status> {
        Err(coming())
    }

    async fn export_invoice(
        &self,
        _: Request<wire::ExportInvoiceRequest>,
    ) -> Result<Response<wire::ExportInvoiceResponse>, Status> {
        Err(coming())
    }
}

fn coming() -> Status {
    refused(Code::Unimplemented, "INTERNAL", "not served yet")
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

fn asked(
    request: &impl Message,
    request_id: &str,
    invoice_id: &str,
    etag: &str,
    now: Micros,
) -> store::Request {
    store::Request {
        request_id: request_id.to_owned(),
        invoice_id: invoice_id.to_owned(),
        etag: etag.to_owned(),
        body: request.encode_to_vec(),
        now,
    }
}

/// The service's one clock.
fn now() -> Micros {
    Micros(micros(SystemTime::now()))
}

/// The answer to a mutation whose request is the message `name`.
fn answered(
    name: &str,
    request: &impl Message,
    outcome: Result<Record, Error>,
) -> Result<Response<wire::Invoice>, Status> {
    match outcome {
        Ok(record) => message(&record).map(Response::new),
        Err(Error::RequestIdReused(first)) => {
            let name = format!("mizan.invoice.v1.{name}");
            let field = first_difference(&name, &first, &request.encode_to_vec());
            Err(reused(field.as_deref().unwrap_or("request_id")))
        }
        Err(error) => Err(status(error)),
    }
}

fn message(record: &Record) -> Result<wire::Invoice, Status> {
    answer::record(record).map_err(|error| {
        tracing::error!(%error, "an invoice does not fit its message");
        refused(Code::Internal, "INTERNAL", "the invoice cannot be written")
    })
}

fn reused(field: &str) -> Status {
    refused_field(
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
        field,
        "differs from the first request with this request_id",
    )
}

/// The one place where errors of the store become statuses.
fn status(error: Error) -> Status {
    match error {
        Error::Unavailable(unavailable) => {
            let cause = std::error::Error::source(&unavailable).map(ToString::to_string);
            tracing::error!(cause, "store unavailable");
            let message = unavailable.to_string();
            retry_later(Code::Unavailable, "STORE_UNAVAILABLE", message, STORE_RETRY)
        }
        Error::Refused(refusal) => refused_by_state(refusal),
        Error::NotFound => refused_field(
            Code::NotFound,
            "INVOICE_NOT_FOUND",
            "invoice_id",
            "is not the id of an invoice",
        ),
        Error::EtagMismatch => refused_field(
            Code::Aborted,
            "ETAG_MISMATCH",
            "etag",
            "is not the invoice's current one",
        ),
        Error::RequestIdReused(_) => reused("request_id"),
    }
}

fn refused_by_state(refusal: Refusal) -> Status {
    let code = Code::FailedPrecondition;
    match refusal {
        Refusal::Overpayment => {
            refused_field(code, refusal.reason(), "amount", "is more than is due")
        }
        Refusal::CurrencyMismatch => refused_field(
            code,
            refusal.reason(),
            "amount",
            "is in another currency than the invoice",
        ),
        Refusal::NotDraft
        | Refusal::NotOpen
        | Refusal::Paid
        | Refusal::Voided
        | Refusal::PaymentApplied => refused(code, refusal.reason(), refusal.to_string()),
    }
}
