//! UBL 2.1 as Peppol BIS Billing 3.0 uses it. The order of the elements is the schema's.
//!
//! What its rules ask for and the invoice or the request does not have is told, by field, before
//! anything is written.

mod parties;
#[cfg(test)]
mod tests;

use jiff::{Timestamp, tz::Offset};

use super::{Missing, xml::Xml};
use crate::domain::{
    Adjusted, Decimal, DocumentType, Invoice, Line, Micros, Party, Size, Tax, TaxCategory,
};

const CUSTOMIZATION: &str =
    "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0";
const PROFILE: &str = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0";
const AGGREGATE: &str = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2";
const BASIC: &str = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2";

/// What differs in the two documents.
struct Words {
    root: &'static str,
    schema: &'static str,
    type_element: &'static str,
    /// UNTDID 1001.
    type_code: &'static str,
    line: &'static str,
    quantity: &'static str,
    /// What is said of the payment when no day is set.
    terms: &'static str,
}

const INVOICE: Words = Words {
    root: "Invoice",
    schema: "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2",
    type_element: "cbc:InvoiceTypeCode",
    type_code: "380",
    line: "cac:InvoiceLine",
    quantity: "cbc:InvoicedQuantity",
    terms: "Due on receipt",
};

const CREDIT_NOTE: Words = Words {
    root: "CreditNote",
    schema: "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2",
    type_element: "cbc:CreditNoteTypeCode",
    type_code: "381",
    line: "cac:CreditNoteLine",
    quantity: "cbc:CreditedQuantity",
    terms: "Set off or paid back",
};

/// The document of a finalized invoice or credit note, which credits the invoice of the number
/// `credited`.
///
/// # Errors
/// [`Missing`] names what the document would not be valid without.
pub(super) fn write(
    invoice: &Invoice,
    credited: Option<&str>,
    seller: &Party,
    account: &str,
) -> Result<String, Missing> {
    parties::check(invoice, seller)?;
    let words = match invoice.document.document_type() {
        DocumentType::Invoice => &INVOICE,
        DocumentType::CreditNote => &CREDIT_NOTE,
    };
    let namespaces = [
        ("xmlns", words.schema),
        ("xmlns:cac", AGGREGATE),
        ("xmlns:cbc", BASIC),
    ];
    Ok(Xml::document(words.root, &namespaces, |xml| {
        head(xml, invoice, words, credited);
        let taxable = taxable(invoice);
        parties::write(xml, "cac:AccountingSupplierParty", seller, taxable);
        let buyer = &invoice.document.asked().party;
        parties::write(xml, "cac:AccountingCustomerParty", buyer, taxable);
        delivery(xml, invoice);
        payment(xml, invoice, words, account);
        for (charge, all) in [
            (false, invoice.document.allowances()),
            (true, invoice.document.charges()),
        ] {
            for one in all {
                adjustment(xml, charge, &one.adjusted, Some(&one.tax));
            }
        }
        totals(xml, invoice);
        for (line, id) in invoice.document.asked().lines.iter().zip(1_usize..) {
            self::line(xml, words, line, id);
        }
    }))
}

/// Whether the document is subject to tax: then it may tell the parties' tax ids (BR-O-2).
fn taxable(invoice: &Invoice) -> bool {
    let mut breakdown = invoice.document.breakdown().iter();
    breakdown.all(|s| s.tax.rate().category() != TaxCategory::OutOfScope)
}

fn head(xml: &mut Xml, invoice: &Invoice, words: &Words, credited: Option<&str>) {
    let asked = invoice.document.asked();
    xml.text("cbc:CustomizationID", CUSTOMIZATION);
    xml.text("cbc:ProfileID", PROFILE);
    xml.text("cbc:ID", &invoice.number().unwrap_or_default());
    let issued = invoice.times.finalize.unwrap_or(invoice.times.create);
    xml.text("cbc:IssueDate", &date(issued));
    if let (DocumentType::Invoice, Some(due)) = (asked.document_type, asked.due_time) {
        xml.text("cbc:DueDate", &date(due));
    }
    xml.text(words.type_element, words.type_code);
    xml.optional("cbc:Note", &asked.note);
    xml.text(
        "cbc:DocumentCurrencyCode",
        invoice.document.currency().code(),
    );
    // Peppol wants one (R003); the id is what we and the party have in common otherwise.
    let reference = match asked.reference.as_str() {
        "" => &invoice.id,
        reference => reference,
    };
    xml.text("cbc:BuyerReference", reference);
    if let Some(number) = credited {
        xml.with("cac:BillingReference", |xml| {
            xml.with("cac:InvoiceDocumentReference", |xml| {
                xml.text("cbc:ID", number);
            });
        });
    }
}

fn delivery(xml: &mut Xml, invoice: &Invoice) {
    let Some(delivered) = invoice.document.asked().delivery_time else {
        return;
    };
    let country = &invoice.document.asked().party.address.country_code;
    xml.with("cac:Delivery", |xml| {
        xml.text("cbc:ActualDeliveryDate", &date(delivered));
        xml.with("cac:DeliveryLocation", |xml| {
            xml.with("cac:Address", |xml| {
                xml.with("cac:Country", |xml| {
                    xml.text("cbc:IdentificationCode", country);
                });
            });
        });
    });
}

fn payment(xml: &mut Xml, invoice: &Invoice, words: &Words, account: &str) {
    if !account.is_empty() {
        xml.with("cac:PaymentMeans", |xml| {
            // UNTDID 4461: credit transfer.
            xml.text("cbc:PaymentMeansCode", "30");
            xml.text("cbc:PaymentID", &invoice.number().unwrap_or_default());
            xml.with("cac:PayeeFinancialAccount", |xml| {
                xml.text("cbc:ID", account);
            });
        });
    }
    let asked = invoice.document.asked();
    let dated = asked.document_type == DocumentType::Invoice && asked.due_time.is_some();
    // BR-CO-25.
    if !dated && invoice.document.totals().due.is_positive() {
        xml.with("cac:PaymentTerms", |xml| {
            xml.text("cbc:Note", words.terms);
        });
    }
}

fn adjustment(xml: &mut Xml, charge: bool, one: &Adjusted, tax: Option<&Tax>) {
    xml.with("cac:AllowanceCharge", |xml| {
        xml.text("cbc:ChargeIndicator", if charge { "true" } else { "false" });
        xml.optional("cbc:AllowanceChargeReasonCode", &one.asked.reason_code);
        let said = !one.asked.reason.is_empty() || !one.asked.reason_code.is_empty();
        let reason = match (said, charge) {
            (true, _) => one.asked.reason.as_str(),
            // One of the two has to be said (BR-33, BR-38, BR-42, BR-44).
            (false, false) => "Discount",
            (false, true) => "Charge",
        };
        xml.optional("cbc:AllowanceChargeReason", reason);
        if let Size::Percent { percent, .. } = one.asked.size {
            xml.text("cbc:MultiplierFactorNumeric", &percent.to_string());
        }
        xml.amount("cbc:Amount", one.amount);
        if let Some(base) = one.base {
            xml.amount("cbc:BaseAmount", base);
        }
        if let Some(tax) = tax {
            category(xml, "cac:TaxCategory", tax, false);
        }
    });
}

fn category(xml: &mut Xml, name: &str, tax: &Tax, reasoned: bool) {
    let rate = tax.rate();
    xml.with(name, |xml| {
        xml.text("cbc:ID", rate.category().code());
        // What is not subject to tax has no rate (BR-O-5).
        if rate.category() != TaxCategory::OutOfScope {
            xml.text("cbc:Percent", &rate.percent().to_string());
        }
        if reasoned {
            let (code, reason) = exemption(tax);
            xml.optional("cbc:TaxExemptionReasonCode", code);
            xml.optional("cbc:TaxExemptionReason", reason);
        }
        xml.with("cac:TaxScheme", |xml| xml.text("cbc:ID", "VAT"));
    });
}

/// The code and the reason why no tax is due: as given, or the code of the list VATEX that goes with
/// the category. What is taxed has none (BR-S-10, BR-Z-10, BR-AF-10, BR-AG-10).
fn exemption(tax: &Tax) -> (&str, &str) {
    let given = (tax.exemption_reason_code(), tax.exemption_reason());
    let general = match tax.rate().category() {
        TaxCategory::Standard | TaxCategory::ZeroRated | TaxCategory::Igic | TaxCategory::Ipsi => {
            return ("", "");
        }
        TaxCategory::Exempt => return given,
        TaxCategory::ReverseCharge => "VATEX-EU-AE",
        TaxCategory::IntraCommunity => "VATEX-EU-IC",
        TaxCategory::Export => "VATEX-EU-G",
        TaxCategory::OutOfScope => "VATEX-EU-O",
    };
    match given {
        ("", "") => (general, ""),
        given => given,
    }
}

fn totals(xml: &mut Xml, invoice: &Invoice) {
    let totals = invoice.document.totals();
    xml.with("cac:TaxTotal", |xml| {
        xml.amount("cbc:TaxAmount", totals.tax);
        for subtotal in invoice.document.breakdown() {
            xml.with("cac:TaxSubtotal", |xml| {
                xml.amount("cbc:TaxableAmount", subtotal.taxable);
                xml.amount("cbc:TaxAmount", subtotal.amount);
                category(xml, "cac:TaxCategory", &subtotal.tax, true);
            });
        }
    });
    xml.with("cac:LegalMonetaryTotal", |xml| {
        xml.amount("cbc:LineExtensionAmount", totals.lines);
        xml.amount("cbc:TaxExclusiveAmount", totals.net);
        xml.amount("cbc:TaxInclusiveAmount", totals.gross);
        for (name, amount) in [
            ("cbc:AllowanceTotalAmount", totals.allowances),
            ("cbc:ChargeTotalAmount", totals.charges),
            ("cbc:PrepaidAmount", totals.prepaid),
            ("cbc:PayableRoundingAmount", totals.rounding),
        ] {
            if !amount.is_zero() {
                xml.amount(name, amount);
            }
        }
        xml.amount("cbc:PayableAmount", totals.due);
    });
}

fn line(xml: &mut Xml, words: &Words, line: &Line, id: usize) {
    let asked = line.asked();
    let unit = match asked.unit_code.as_str() {
        "" => "C62",
        code => code,
    };
    let unit = [("unitCode", unit)];
    xml.with(words.line, |xml| {
        xml.text("cbc:ID", &id.to_string());
        xml.noted(words.quantity, &unit, &asked.quantity.to_string());
        xml.amount("cbc:LineExtensionAmount", line.amount());
        for (charge, all) in [(false, line.allowances()), (true, line.charges())] {
            for one in all {
                adjustment(xml, charge, one, None);
            }
        }
        xml.with("cac:Item", |xml| {
            xml.text("cbc:Name", &asked.description);
            category(xml, "cac:ClassifiedTaxCategory", &asked.tax, false);
        });
        xml.with("cac:Price", |xml| {
            xml.amount("cbc:PriceAmount", asked.unit_price);
            if asked.base_quantity != Decimal::ONE {
                xml.noted("cbc:BaseQuantity", &unit, &asked.base_quantity.to_string());
            }
        });
    });
}

/// The day of a moment, in UTC.
fn date(Micros(micros): Micros) -> String {
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::UTC.to_datetime(time).date().to_string()
}
