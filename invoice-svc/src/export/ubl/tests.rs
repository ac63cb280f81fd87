//! The XML read back: well formed, in the schema's order, and adding up by EN 16931.

use money::Money;
use roxmltree::{Document as Xml, Node};

use super::*;
use crate::domain::{
    Address, CreditNote, Credited, Document, DocumentSpec, LineSpec, Part, issue,
    samples::{amount, line, pounds, spec, tax, taxed},
};

fn party(name: &str) -> Party {
    Party {
        id: "p & q".to_owned(),
        name: name.to_owned(),
        tax_id: "DE123456789".to_owned(),
        legal_id: "HRB 1".to_owned(),
        address: Address {
            street: "Main street <1>".to_owned(),
            additional: "2nd floor".to_owned(),
            city: "Köln".to_owned(),
            postal_code: "50667".to_owned(),
            subdivision: "NRW".to_owned(),
            country_code: "DE".to_owned(),
        },
        endpoint_id: "7300010000001".to_owned(),
        endpoint_scheme: "0088".to_owned(),
    }
}

/// All that a document can have.
fn full() -> DocumentSpec {
    let percent = crate::domain::Adjustment {
        size: Size::Percent {
            percent: "12.5".parse().unwrap(),
            base: None,
        },
        reason: "volume".to_owned(),
        reason_code: "95".to_owned(),
    };
    let adjusted = LineSpec {
        allowances: vec![percent.clone()],
        charges: vec![amount(7)],
        base_quantity: "3".parse().unwrap(),
        unit_code: "HUR".to_owned(),
        ..line("2.5", 1_001, "25")
    };
    DocumentSpec {
        party: party("Buyer \"B\" & Co"),
        allowances: vec![taxed(percent, "25")],
        charges: vec![taxed(amount(99), "5.5")],
        prepaid: Some(pounds(100)),
        rounding: Some(pounds(-1)),
        due_time: Some(Micros(1_800_000_000_000_000)),
        delivery_time: Some(Micros(1_790_000_000_000_000)),
        note: "two\nlines".to_owned(),
        ..spec(&[
            adjusted,
            line("-1", 50, "5.5"),
            line("1", 20_000, "5.5"),
            line("3", 333, "0"),
        ])
    }
}

fn open(asked: DocumentSpec) -> Invoice {
    let document = Document::new(asked).unwrap();
    let draft = Invoice::draft("i-1".to_owned(), document, Micros(0)).unwrap();
    draft.finalize(1, Micros(1_795_000_000_000_000)).unwrap()
}

fn written(invoice: &Invoice, credited: Option<&str>) -> String {
    let xml = write(invoice, credited, &party("Seller"), "DE02 1203").unwrap();
    validate(&xml);
    xml
}

/// By the schemas of OASIS themselves, where `MIZAN_TEST_UBL_XSD` names the folder `xsd` of a UBL 2.1
/// release and `xmllint` is installed.
fn validate(xml: &str) {
    let Ok(folder) = std::env::var("MIZAN_TEST_UBL_XSD") else {
        return;
    };
    let root = Xml::parse(xml).unwrap();
    let name = root.root_element().tag_name().name().to_owned();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, xml.as_bytes()).unwrap();
    let told = std::process::Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .arg(format!("{folder}/maindoc/UBL-{name}-2.1.xsd"))
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{said}\n{xml}");
    eprintln!("{name}: {}", said.trim().rsplit('/').next().unwrap());
}

/// The children that UBL 2.1 gives each element, of those that are written, in its order.
const ORDER: &[(&str, &str)] = &[
    (
        "Invoice",
        "CustomizationID ProfileID ID IssueDate DueDate InvoiceTypeCode Note DocumentCurrencyCode BuyerReference BillingReference AccountingSupplierParty AccountingCustomerParty Delivery PaymentMeans PaymentTerms AllowanceCharge TaxTotal LegalMonetaryTotal InvoiceLine",
    ),
    (
        "CreditNote",
        "CustomizationID ProfileID ID IssueDate CreditNoteTypeCode Note DocumentCurrencyCode BuyerReference BillingReference AccountingSupplierParty AccountingCustomerParty Delivery PaymentMeans PaymentTerms AllowanceCharge TaxTotal LegalMonetaryTotal CreditNoteLine",
    ),
    ("BillingReference", "InvoiceDocumentReference"),
    ("InvoiceDocumentReference", "ID"),
    ("AccountingSupplierParty", "Party"),
    ("AccountingCustomerParty", "Party"),
    (
        "Party",
        "EndpointID PartyIdentification PartyName PostalAddress PartyTaxScheme PartyLegalEntity",
    ),
    ("PartyIdentification", "ID"),
    ("PartyName", "Name"),
    (
        "PostalAddress",
        "StreetName AdditionalStreetName CityName PostalZone CountrySubentity Country",
    ),
    ("Address", "Country"),
    ("Country", "IdentificationCode"),
    ("PartyTaxScheme", "CompanyID TaxScheme"),
    ("PartyLegalEntity", "RegistrationName CompanyID"),
    ("TaxScheme", "ID"),
    ("Delivery", "ActualDeliveryDate DeliveryLocation"),
    ("DeliveryLocation", "Address"),
    (
        "PaymentMeans",
        "PaymentMeansCode PaymentID PayeeFinancialAccount",
    ),
    ("PayeeFinancialAccount", "ID"),
    ("PaymentTerms", "Note"),
    (
        "AllowanceCharge",
        "ChargeIndicator AllowanceChargeReasonCode AllowanceChargeReason MultiplierFactorNumeric Amount BaseAmount TaxCategory",
    ),
    (
        "TaxCategory",
        "ID Percent TaxExemptionReasonCode TaxExemptionReason TaxScheme",
    ),
    ("ClassifiedTaxCategory", "ID Percent TaxScheme"),
    ("TaxTotal", "TaxAmount TaxSubtotal"),
    ("TaxSubtotal", "TaxableAmount TaxAmount TaxCategory"),
    (
        "LegalMonetaryTotal",
        "LineExtensionAmount TaxExclusiveAmount TaxInclusiveAmount AllowanceTotalAmount ChargeTotalAmount PrepaidAmount PayableRoundingAmount PayableAmount",
    ),
    (
        "InvoiceLine",
        "ID InvoicedQuantity LineExtensionAmount AllowanceCharge Item Price",
    ),
    (
        "CreditNoteLine",
        "ID CreditedQuantity LineExtensionAmount AllowanceCharge Item Price",
    ),
    ("Item", "Name ClassifiedTaxCategory"),
    ("Price", "PriceAmount BaseQuantity"),
];

/// Each element's children come in the schema's order, and no leaf is empty.
fn check_order(node: Node<'_, '_>) {
    let name = node.tag_name().name();
    let children: Vec<_> = node.children().filter(Node::is_element).collect();
    if children.is_empty() {
        let text = node.text().unwrap_or_default();
        assert!(!text.trim().is_empty(), "{name} is empty");
        return;
    }
    let (_, order) = ORDER
        .iter()
        .find(|(parent, _)| *parent == name)
        .unwrap_or_else(|| panic!("{name} has children"));
    let places: Vec<_> = children
        .iter()
        .map(|child| {
            let child = child.tag_name().name();
            let place = order.split(' ').position(|known| known == child);
            place.unwrap_or_else(|| panic!("{child} in {name}"))
        })
        .collect();
    assert!(places.is_sorted(), "{name}: {places:?}");
    children.into_iter().for_each(check_order);
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|c| c.tag_name().name() == name)
}

fn all<'a>(node: Node<'a, 'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |c| c.tag_name().name() == name)
}

/// An amount in smallest units; zero where there is none.
fn minor(node: Node<'_, '_>, path: &str) -> i128 {
    let mut found = Some(node);
    for name in path.split('/') {
        found = found.and_then(|node| node.children().find(|c| c.tag_name().name() == name));
    }
    found.map_or(0, |node| {
        let currency = node.attribute("currencyID").unwrap().parse().unwrap();
        Money::parse(node.text().unwrap(), currency)
            .unwrap()
            .minor()
    })
}

fn text<'a>(node: Node<'a, 'a>, path: &str) -> &'a str {
    let mut found = node;
    for name in path.split('/') {
        found = child(found, name).unwrap_or_else(|| panic!("{path}"));
    }
    found.text().unwrap()
}

/// EN 16931's BR-CO-10 to BR-CO-17 on what is written.
fn check_sums(root: Node<'_, '_>) {
    let total = |name: &str| minor(root, &format!("LegalMonetaryTotal/{name}"));
    let lines = root
        .children()
        .filter(|c| c.tag_name().name().ends_with("Line"));
    let lines: i128 = lines.map(|line| minor(line, "LineExtensionAmount")).sum();
    assert_eq!(total("LineExtensionAmount"), lines, "BR-CO-10");
    let adjusted = |indicator: &str| -> i128 {
        let all = root
            .children()
            .filter(|c| c.tag_name().name() == "AllowanceCharge");
        let all = all.filter(|one| {
            let said = one
                .children()
                .find(|c| c.tag_name().name() == "ChargeIndicator");
            said.and_then(|c| c.text()) == Some(indicator)
        });
        all.map(|one| minor(one, "Amount")).sum()
    };
    assert_eq!(total("AllowanceTotalAmount"), adjusted("false"), "BR-CO-11");
    assert_eq!(total("ChargeTotalAmount"), adjusted("true"), "BR-CO-12");
    let net = lines - adjusted("false") + adjusted("true");
    assert_eq!(total("TaxExclusiveAmount"), net, "BR-CO-13");
    let subtotals = root
        .descendants()
        .filter(|n| n.tag_name().name() == "TaxSubtotal");
    let mut tax = 0;
    for subtotal in subtotals {
        let (taxable, amount) = (
            minor(subtotal, "TaxableAmount"),
            minor(subtotal, "TaxAmount"),
        );
        let rate = subtotal
            .descendants()
            .find(|n| n.tag_name().name() == "Percent");
        let rate: Decimal = rate.map_or(Decimal::ZERO, |n| n.text().unwrap().parse().unwrap());
        // Twice the distance from the exact tax is at most one unit, in hundred-millionths.
        let exact = taxable * i128::from(rate.millionths());
        assert!(
            (amount * 100_000_000 - exact).abs() * 2 <= 100_000_000,
            "BR-CO-17"
        );
        tax += amount;
    }
    assert_eq!(minor(root, "TaxTotal/TaxAmount"), tax, "BR-CO-14");
    assert_eq!(total("TaxInclusiveAmount"), net + tax, "BR-CO-15");
    let due = net + tax - total("PrepaidAmount") + total("PayableRoundingAmount");
    assert_eq!(total("PayableAmount"), due, "BR-CO-16");
}

#[test]
fn an_invoice_is_in_the_schemas_order_and_adds_up() {
    let invoice = open(full());
    let text_ = written(&invoice, None);
    let xml = Xml::parse(&text_).unwrap();
    let root = xml.root_element();
    assert_eq!(root.tag_name().namespace(), Some(INVOICE.schema));
    check_order(root);
    check_sums(root);
    assert_eq!(
        minor(root, "LegalMonetaryTotal/PayableAmount"),
        invoice.standing.payable().minor()
    );
    assert_eq!(text(root, "ID"), "INV-00000001");
    assert_eq!(text(root, "IssueDate"), "2026-11-18");
    assert_eq!(text(root, "DueDate"), "2027-01-15");
    assert_eq!(text(root, "Note"), "two\nlines");
    assert_eq!(
        text(root, "BuyerReference"),
        "i-1",
        "where there is no other"
    );
    assert_eq!(
        text(root, "AccountingCustomerParty/Party/PartyName/Name"),
        "Buyer \"B\" & Co"
    );
    let first = all(root, "InvoiceLine").next().unwrap();
    let quantity = child(first, "InvoicedQuantity").unwrap();
    assert_eq!(
        (quantity.text(), quantity.attribute("unitCode")),
        (Some("2.5"), Some("HUR"))
    );
    assert_eq!(text(first, "Price/BaseQuantity"), "3");
    assert!(child(root, "PaymentTerms").is_none(), "a day is set");
    let for_all = |name: &str| {
        root.descendants()
            .filter(|n| n.tag_name().name() == name)
            .count()
    };
    assert_eq!(for_all("TaxSubtotal"), 3);
    assert_eq!(
        for_all("TaxExemptionReason"),
        1,
        "only what is exempt has one"
    );
}

#[test]
fn a_credit_note_names_the_invoice_that_it_credits() {
    let asked = CreditNote {
        part: Part::Whole,
        reason: "returned".to_owned(),
        series: "CRN".to_owned(),
        reference: "r".to_owned(),
        metadata: std::collections::BTreeMap::new(),
    };
    let (_, note) = issue(
        open(full()),
        &Credited::default(),
        "c".to_owned(),
        asked,
        (7, Micros(1)),
    )
    .unwrap();
    let text_ = written(&note, Some("INV-00000001"));
    let xml = Xml::parse(&text_).unwrap();
    let root = xml.root_element();
    assert_eq!(root.tag_name().namespace(), Some(CREDIT_NOTE.schema));
    check_order(root);
    check_sums(root);
    assert_eq!(text(root, "CreditNoteTypeCode"), "381");
    let reference = "BillingReference/InvoiceDocumentReference/ID";
    assert_eq!(text(root, reference), "INV-00000001");
    assert_eq!(all(root, "CreditNoteLine").count(), 4);
}

#[test]
fn what_is_not_subject_to_tax_has_no_rate_and_tells_no_tax_ids() {
    let untaxed = LineSpec {
        tax: Tax::none(),
        ..line("1", 100, "0")
    };
    let asked = DocumentSpec {
        party: party("Buyer"),
        ..spec(&[untaxed])
    };
    let text_ = written(&open(asked), None);
    let xml = Xml::parse(&text_).unwrap();
    check_order(xml.root_element());
    check_sums(xml.root_element());
    for absent in ["Percent", "PartyTaxScheme"] {
        assert!(!text_.contains(absent), "{absent}");
    }
    assert!(text_.contains("VATEX-EU-O"));
    assert!(text_.contains("Due on receipt"));
}

#[test]
fn what_a_valid_document_needs_is_named() {
    let invoice = open(full());
    let refused = |change: fn(&mut Party)| {
        let mut seller = party("Seller");
        change(&mut seller);
        write(&invoice, None, &seller, "").unwrap_err()
    };
    let asked = |field| Missing::Asked(field);
    assert_eq!(
        refused(|p| p.endpoint_id.clear()),
        asked("seller.endpoint_id")
    );
    assert_eq!(
        refused(|p| p.endpoint_scheme.clear()),
        asked("seller.endpoint_scheme")
    );
    assert_eq!(refused(|p| p.tax_id.clear()), asked("seller.tax_id"));
    assert_eq!(
        refused(|p| p.address.country_code.clear()),
        asked("seller.address.country_code")
    );
    let kept = |change: fn(&mut DocumentSpec)| {
        let mut asked = full();
        change(&mut asked);
        write(&open(asked), None, &party("Seller"), "").unwrap_err()
    };
    let missing = |field| Missing::Kept(field);
    assert_eq!(
        kept(|d| d.party.endpoint_id.clear()),
        missing("party.endpoint_id")
    );
    assert_eq!(
        kept(|d| d.party.address.country_code.clear()),
        missing("party.address.country_code")
    );
    let intra = |d: &mut DocumentSpec| {
        let tax = Tax::new(
            TaxCategory::IntraCommunity,
            Decimal::ZERO,
            String::new(),
            String::new(),
        );
        let line = LineSpec {
            tax: tax.unwrap(),
            ..line("1", 1_000, "0")
        };
        d.lines.push(Line::new(line).unwrap());
        d.delivery_time = None;
    };
    assert_eq!(kept(intra), missing("delivery_time"));
    assert_eq!(tax("0").rate().category(), TaxCategory::Exempt);
}
