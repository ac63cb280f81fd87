//! What a document says: tax, adjustments, dates, series; changing it; writing it out.

use mizan_contracts::invoice::v1::{
    Address, Adjustment, CreateInvoiceRequest, ExportFormat, ExportInvoiceRequest, InvoiceLine,
    InvoiceState, ListInvoicesRequest, Party, Tax, TaxCategory,
};
use prost_types::Timestamp;
use tonic::Code;

use super::harness::*;

fn standard(rate: &str) -> Option<Tax> {
    Some(Tax {
        category: TaxCategory::Standard.into(),
        rate_percent: rate.to_owned(),
        ..Tax::default()
    })
}

fn off(amount: i64, tax: Option<Tax>) -> Adjustment {
    Adjustment {
        amount: pounds(amount, 0),
        tax,
        ..Adjustment::default()
    }
}

fn percent(percent: &str, base: i64, tax: Option<Tax>) -> Adjustment {
    Adjustment {
        percent: percent.to_owned(),
        base: pounds(base, 0),
        tax,
        ..Adjustment::default()
    }
}

fn party() -> Party {
    Party {
        name: "Acme Ltd".to_owned(),
        tax_id: "GB123".to_owned(),
        legal_id: "1234567".to_owned(),
        address: Some(Address {
            country_code: "GB".to_owned(),
            ..Address::default()
        }),
        endpoint_id: "7300010000001".to_owned(),
        endpoint_scheme: "0088".to_owned(),
        ..Party::default()
    }
}

/// Peppol's Allowance-example.xml.
fn example(id: &str) -> CreateInvoiceRequest {
    let adjusted = |price| InvoiceLine {
        tax: standard("25"),
        charges: vec![percent("1", 100, None)],
        allowances: vec![off(101, None)],
        ..line("item", 10, pounds(price, 0))
    };
    let exempt = Tax {
        category: TaxCategory::Exempt.into(),
        exemption_reason: "training".to_owned(),
        ..Tax::default()
    };
    let by_two = InvoiceLine {
        base_quantity: "2".to_owned(),
        tax: Some(exempt),
        ..line("item", 10, pounds(200, 0))
    };
    CreateInvoiceRequest {
        party: Some(party()),
        lines: vec![adjusted(410), by_two, adjusted(100)],
        charges: vec![percent("20", 1_000, standard("25"))],
        allowances: vec![off(200, standard("25"))],
        prepaid: pounds(1_000, 0),
        due_time: Some(Timestamp {
            seconds: 1_000_000_000,
            nanos: 0,
        }),
        series: "INV-2001".to_owned(),
        note: "thank you".to_owned(),
        ..hundred(id)
    }
}

#[tokio::test]
async fn peppols_example_adds_up_over_the_wire_and_is_paid_and_kept() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let draft = create(&client, example("i-1")).await.unwrap();
    let amounts: Vec<_> = draft.lines.iter().map(|l| l.amount.clone()).collect();
    assert_eq!(amounts, [pounds(4_000, 0), pounds(1_000, 0), pounds(900, 0)]);
    let totals = draft.totals.clone().unwrap();
    assert_eq!(totals.lines, pounds(5_900, 0));
    assert_eq!((totals.allowances, totals.charges), (pounds(200, 0), pounds(200, 0)));
    assert_eq!((totals.net, totals.tax), (pounds(5_900, 0), pounds(1_225, 0)));
    assert_eq!((totals.gross, totals.due), (pounds(7_125, 0), pounds(6_125, 0)));
    let parts = draft.tax_breakdown.iter();
    let parts: Vec<_> = parts.map(|p| (p.taxable.clone(), p.amount.clone())).collect();
    let expected = [(pounds(4_900, 0), pounds(1_225, 0)), (pounds(1_000, 0), pounds(0, 0))];
    assert_eq!(parts, expected);
    assert!(!draft.overdue);

    let open = finalize(&client, finalizing("f", "i-1")).await.unwrap();
    assert_eq!(open.number, "INV-2001-00000001");
    assert!(open.overdue, "due in 2001");
    assert_eq!(open.amount_due, pounds(6_125, 0));
    let overdue = ListInvoicesRequest {
        overdue: true,
        ..ListInvoicesRequest::default()
    };
    assert_eq!(page(&client, overdue.clone()).await.unwrap().0, ["i-1"]);
    let paid = pay(&client, paying("p", "i-1", pounds(6_125, 0))).await.unwrap();
    assert_eq!((paid.state(), paid.overdue), (InvoiceState::Paid, false));
    assert!(page(&client, overdue).await.unwrap().0.is_empty());
    let fresh = fresh.restart().await;
    assert_eq!(get(&fresh.client(), "i-1").await.unwrap(), paid);
    fresh.server.stop().await;
}

#[tokio::test]
async fn what_was_all_paid_in_advance_is_paid_when_finalized() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let request = CreateInvoiceRequest {
        prepaid: pounds(100, 0),
        ..hundred("i-1")
    };
    create(&client, request).await.unwrap();
    let paid = finalize(&client, finalizing("f", "i-1")).await.unwrap();
    assert_eq!((paid.state(), paid.amount_paid), (InvoiceState::Paid, pounds(0, 0)));
    assert!(paid.paid_time.is_some());
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_draft_is_replaced_as_it_is_read_and_only_a_draft() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let draft = create(&client, example("i-1")).await.unwrap();
    let mut changed = draft.clone();
    changed.note = "thanks".to_owned();
    changed.lines[1].quantity_decimal = "7.5".to_owned();
    changed.lines[1].quantity = 0;
    let updated = update(&client, "u", changed.clone()).await.unwrap();
    assert_eq!(updated.note, "thanks");
    assert_eq!(updated.lines[1].amount, pounds(750, 0));
    assert_eq!((updated.lines[1].quantity, &*updated.lines[1].quantity_decimal), (0, "7.5"));
    assert_eq!(updated.totals.clone().unwrap().gross, pounds(6_875, 0));
    assert_eq!(updated.party, draft.party);
    assert_ne!(updated.etag, draft.etag);
    assert_eq!(update(&client, "u", changed.clone()).await.unwrap(), updated, "a repeat");
    let old = update(&client, "u2", changed.clone()).await;
    assert_eq!(refusal(old), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    let mut other = updated.clone();
    other.document_type = 2;
    let other = update(&client, "u3", other).await;
    assert_eq!(refusal(other), precondition("DOCUMENT_TYPE_CHANGED"));
    let mut bad = updated.clone();
    bad.lines[0].tax = standard("0");
    assert_eq!(fields(update(&client, "u4", bad).await), ["invoice.lines[0].tax.rate_percent"]);

    finalize(&client, finalizing("f", "i-1")).await.unwrap();
    changed.etag = String::new();
    let late = update(&client, "u5", changed).await;
    assert_eq!(refusal(late), precondition("INVOICE_NOT_DRAFT"));
    fresh.server.stop().await;
}

#[tokio::test]
async fn bad_figures_are_told_by_field() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let bad = |field: &'static str, change: fn(&mut CreateInvoiceRequest)| {
        let mut request = example("i-1");
        change(&mut request);
        (field, request)
    };
    for (field, request) in [
        bad("lines[0].quantity_decimal", |r| r.lines[0].quantity_decimal = "1e3".to_owned()),
        bad("lines[0].quantity_decimal", |r| r.lines[0].quantity_decimal = "2".to_owned()),
        bad("lines[0].quantity_decimal", |r| {
            r.lines[0].quantity = 0;
            r.lines[0].quantity_decimal = "-1000001".to_owned();
        }),
        bad("lines[0].base_quantity", |r| r.lines[0].base_quantity = "0".to_owned()),
        bad("lines[0].unit_code", |r| r.lines[0].unit_code = "hour".to_owned()),
        bad("lines[0].tax.category", |r| r.lines[0].tax.as_mut().unwrap().category = 99),
        bad("lines[0].tax.rate_percent", |r| r.lines[0].tax = standard("101")),
        bad("lines[0].allowances[0].amount", |r| r.lines[0].allowances[0].amount = None),
        bad("lines[0].allowances[0].amount", |r| {
            r.lines[0].allowances[0].amount = money("USD", 1, 0);
        }),
        bad("lines[0].allowances[0].tax", |r| r.lines[0].allowances[0].tax = standard("25")),
        bad("lines[0].charges[0].percent", |r| r.lines[0].charges[0].percent = "x".to_owned()),
        bad("lines[1].tax.exemption_reason", |r| {
            r.lines[1].tax.as_mut().unwrap().exemption_reason.clear();
        }),
        bad("lines", |r| r.lines[1].tax = None),
        bad("allowances[0].base", |r| r.allowances[0].base = pounds(1, 0)),
        bad("prepaid", |r| r.prepaid = pounds(7_126, 0)),
        bad("rounding", |r| r.rounding = pounds(-7_125, 0)),
        bad("series", |r| r.series = "inv".to_owned()),
        bad("series", |r| r.series = "INV-".to_owned()),
        bad("note", |r| r.note = "\u{7}".to_owned()),
        bad("due_time", |r| r.due_time = Some(Timestamp { seconds: 0, nanos: -1 })),
        bad("party.address.country_code", |r| {
            let address = r.party.as_mut().unwrap().address.as_mut();
            address.unwrap().country_code = "gb".to_owned();
        }),
    ] {
        let answer = create(&client, request).await;
        assert_eq!(answer.as_ref().unwrap_err().code(), Code::InvalidArgument, "{field}");
        assert_eq!(fields(answer), [field]);
    }
    fresh.server.stop().await;
}

#[tokio::test]
async fn an_invoice_is_written_as_ubl_and_as_json() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    create(&client, example("i-1")).await.unwrap();
    let asked = |id: &str, format: ExportFormat| ExportInvoiceRequest {
        invoice_id: id.to_owned(),
        format: format.into(),
        seller: Some(party()),
        payee_account_id: "GB29NWBK60161331926819".to_owned(),
    };
    let ubl = |id: &str| asked(id, ExportFormat::Ubl);
    assert_eq!(refusal(export(&client, ubl("i-1")).await), precondition("INVOICE_NOT_OPEN"));
    finalize(&client, finalizing("f", "i-1")).await.unwrap();
    let exported = export(&client, ubl("i-1")).await.unwrap();
    assert_eq!(exported.file_name, "INV-2001-00000001.xml");
    assert_eq!(exported.media_type, "application/xml");
    let xml = roxmltree::Document::parse(&exported.content).unwrap();
    let payable = xml.descendants().find(|n| n.tag_name().name() == "PayableAmount");
    assert_eq!(payable.unwrap().text(), Some("6125.00"));

    credit(&client, crediting("c-1", "i-1", pounds(1, 0))).await.unwrap();
    let note = export(&client, ubl("c-1")).await.unwrap();
    let xml = roxmltree::Document::parse(&note.content).unwrap();
    assert_eq!(xml.root_element().tag_name().name(), "CreditNote");
    assert!(note.content.contains("<cbc:ID>INV-2001-00000001</cbc:ID>"));

    let json = export(&client, asked("i-1", ExportFormat::Json)).await.unwrap();
    assert_eq!(json.file_name, "i-1.json");
    let value: serde_json::Value = serde_json::from_str(&json.content).unwrap();
    assert_eq!(value["number"], "INV-2001-00000001");
    assert_eq!(value["state"], "INVOICE_STATE_OPEN");
    assert_eq!(value["totals"]["due"]["units"], "6125");
    assert_eq!(value["dueTime"], "2001-09-09T01:46:40Z");

    let unnamed = ExportInvoiceRequest {
        seller: None,
        ..ubl("i-1")
    };
    assert_eq!(fields(export(&client, unnamed).await), ["seller"]);
    let mut homeless = ubl("i-1");
    homeless.seller.as_mut().unwrap().address = None;
    assert_eq!(fields(export(&client, homeless).await), ["seller.address.country_code"]);
    open(&client, "i-2").await;
    let bare = export(&client, ubl("i-2")).await;
    assert_eq!(fields(bare.clone()), ["party.address.country_code"]);
    assert_eq!(refusal(bare), precondition("NOT_EXPORTABLE"));
    let unknown = export(&client, ubl("x")).await;
    assert_eq!(refusal(unknown), (Code::NotFound, "INVOICE_NOT_FOUND".to_owned()));
    fresh.server.stop().await;
}

#[tokio::test]
async fn lists_are_limited_by_all_that_is_asked_and_ordered() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    for n in 0..4 {
        let mut request = hundred(&format!("i{n}"));
        request.party.as_mut().unwrap().party_id = format!("p{}", n % 2);
        request.metadata = [("n".to_owned(), n.to_string()), ("k".to_owned(), "v".to_owned())].into();
        request.due_time = Some(Timestamp { seconds: 1_000 + n, nanos: 0 });
        request.document_type = if n == 3 { 2 } else { 1 };
        create(&client, request).await.unwrap();
    }
    finalize(&client, finalizing("f", "i1")).await.unwrap();
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let pair = |k: &str, v: &str| [(k.to_owned(), v.to_owned())].into();
    let all = ListInvoicesRequest::default;
    let far = 4_000_000_000;
    for (request, expected) in [
        (ListInvoicesRequest { order: 2, ..all() }, &["i0", "i1", "i2", "i3"][..]),
        (ListInvoicesRequest { party_id: "p1".to_owned(), ..all() }, &["i3", "i1"]),
        (ListInvoicesRequest { document_type: 2, ..all() }, &["i3"]),
        (ListInvoicesRequest { number: "INV-00000001".to_owned(), ..all() }, &["i1"]),
        (ListInvoicesRequest { number: "INV-1".to_owned(), ..all() }, &[]),
        (ListInvoicesRequest { metadata: pair("n", "2"), ..all() }, &["i2"]),
        (ListInvoicesRequest { metadata: pair("n", "v"), ..all() }, &[]),
        (
            ListInvoicesRequest { due_time_from: at(1_001), due_time_until: at(1_003), ..all() },
            &["i2", "i1"],
        ),
        (ListInvoicesRequest { create_time_from: at(far), ..all() }, &[]),
        (
            ListInvoicesRequest { create_time_from: at(0), create_time_until: at(far), ..all() },
            &["i3", "i2", "i1", "i0"],
        ),
        (ListInvoicesRequest { finalize_time_from: at(0), ..all() }, &["i1"]),
        (ListInvoicesRequest { finalize_time_until: at(1), ..all() }, &[]),
        (
            ListInvoicesRequest {
                state: InvoiceState::Draft.into(),
                party_id: "p1".to_owned(),
                metadata: pair("k", "v"),
                ..all()
            },
            &["i3"],
        ),
    ] {
        let mut ids = Vec::new();
        let mut next = ListInvoicesRequest { page_size: 1, ..request.clone() };
        loop {
            let (some, token) = page(&client, next.clone()).await.unwrap();
            ids.extend(some);
            if token.is_empty() {
                break;
            }
            next.page_token = token;
        }
        assert_eq!(ids, expected, "{request:?}");
    }
    fresh.server.stop().await;
}
