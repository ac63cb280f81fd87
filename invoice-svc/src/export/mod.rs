//! One invoice as a document: UBL 2.1 for the party's books, JSON for one's own.

mod json;
mod ubl;
mod xml;

use mizan::status::{Violations, refused, refused_field};
use mizan_contracts::invoice::v1::{self as wire, ExportInvoiceRequest, ExportInvoiceResponse};
use tonic::{Code, Status};

use crate::{
    domain::{Invoice, Party, Record, Refusal},
    request::{party, plain_text},
};

/// The most characters of an account's id.
const ACCOUNT_CHARS_MAX: usize = 64;

/// How a document is to be written.
#[derive(Debug)]
pub(crate) enum Form {
    /// As UBL, sold by this party, to be paid to this account, if one is named.
    Ubl(Box<Party>, String),
    /// As JSON.
    Json,
}

/// What is missing for a UBL document to be valid, by the path of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// In the request.
    Asked(&'static str),
    /// In the invoice.
    Kept(&'static str),
}

/// Reads how.
pub(crate) fn form(request: &ExportInvoiceRequest, violations: &mut Violations) -> Option<Form> {
    let account = &request.payee_account_id;
    plain_text(ACCOUNT_CHARS_MAX, "payee_account_id", account, violations);
    match wire::ExportFormat::try_from(request.format) {
        Ok(wire::ExportFormat::Unspecified | wire::ExportFormat::Ubl) => {
            let seller = party("seller", request.seller.as_ref(), violations)?;
            Some(Form::Ubl(Box::new(seller), account.clone()))
        }
        Ok(wire::ExportFormat::Json) => Some(Form::Json),
        Err(_) => {
            violations.add("format", "is not an ExportFormat");
            None
        }
    }
}

/// The document of a record, whose message this is. `credited` is the invoice that a credit note
/// credits.
pub(crate) fn export(
    record: &Record,
    message: &wire::Invoice,
    credited: Option<&Invoice>,
    form: &Form,
) -> Result<ExportInvoiceResponse, Status> {
    let Form::Ubl(seller, account) = form else {
        let content = json::write(message).map_err(|error| {
            tracing::error!(%error, "an invoice does not fit its JSON");
            refused(Code::Internal, "INTERNAL", "the invoice cannot be written")
        })?;
        return Ok(named(&message.invoice_id, "json", content));
    };
    let invoice = record.clone().invoice().map_err(by_state)?;
    let number = invoice.number().ok_or_else(|| by_state(Refusal::NotOpen))?;
    if invoice.times.void.is_some() {
        return Err(by_state(Refusal::Voided));
    }
    let credited = credited.and_then(Invoice::number);
    let content = ubl::write(&invoice, credited.as_deref(), seller, account);
    let content = content.map_err(|missing| match missing {
        Missing::Asked(field) => mizan::status::invalid(field, "is required"),
        Missing::Kept(field) => refused_field(
            Code::FailedPrecondition,
            "NOT_EXPORTABLE",
            field,
            "is missing in the invoice, and a UBL document needs it",
        ),
    })?;
    Ok(named(&number, "xml", content))
}

fn by_state(refusal: Refusal) -> Status {
    refused(
        Code::FailedPrecondition,
        refusal.reason(),
        refusal.to_string(),
    )
}

fn named(name: &str, kind: &str, content: String) -> ExportInvoiceResponse {
    ExportInvoiceResponse {
        content,
        media_type: format!("application/{kind}"),
        // An id may hold a colon, which some file systems do not take.
        file_name: format!("{}.{kind}", name.replace(':', "_")),
    }
}
