//! Documents for the tests of the domain.

use std::collections::BTreeMap;

use money::Money;

use super::{
    Adjustment, Decimal, Document, DocumentSpec, DocumentType, Invalid, Line, LineSpec, Party,
    Size, Tax, TaxCategory, TaxedAdjustment,
};

pub(crate) fn pounds(minor: i128) -> Money {
    Money::from_minor(minor, "GBP".parse().unwrap())
}

/// Without tax for 0, else at the standard rate.
pub(crate) fn tax(percent: &str) -> Tax {
    let percent: Decimal = percent.parse().unwrap();
    if percent == Decimal::ZERO {
        let reason = "why".to_owned();
        return Tax::new(TaxCategory::Exempt, percent, reason, String::new()).unwrap();
    }
    Tax::new(TaxCategory::Standard, percent, String::new(), String::new()).unwrap()
}

pub(crate) fn amount(minor: i128) -> Adjustment {
    Adjustment {
        size: Size::Amount(pounds(minor)),
        reason: String::new(),
        reason_code: String::new(),
    }
}

pub(crate) fn taxed(adjustment: Adjustment, percent: &str) -> TaxedAdjustment {
    TaxedAdjustment {
        adjustment,
        tax: tax(percent),
    }
}

pub(crate) fn line(quantity: &str, minor: i128, percent: &str) -> LineSpec {
    LineSpec {
        description: "paper".to_owned(),
        quantity: quantity.parse().unwrap(),
        unit_price: pounds(minor),
        base_quantity: Decimal::ONE,
        unit_code: String::new(),
        tax: tax(percent),
        allowances: Vec::new(),
        charges: Vec::new(),
    }
}

pub(crate) fn spec(lines: &[LineSpec]) -> DocumentSpec {
    let lines = lines.iter().cloned().map(|line| Line::new(line).unwrap());
    DocumentSpec {
        document_type: DocumentType::Invoice,
        series: "INV".to_owned(),
        party: Party {
            name: "Acme".to_owned(),
            ..Party::default()
        },
        lines: lines.collect(),
        allowances: Vec::new(),
        charges: Vec::new(),
        prepaid: None,
        rounding: None,
        due_time: None,
        delivery_time: None,
        note: String::new(),
        reference: String::new(),
        metadata: BTreeMap::new(),
    }
}

pub(crate) fn document(lines: &[LineSpec]) -> Result<Document, Invalid> {
    Document::new(spec(lines))
}

/// Two at 50.00, without tax.
pub(crate) fn hundred(document_type: DocumentType) -> Document {
    let asked = spec(&[LineSpec {
        tax: Tax::none(),
        ..line("2", 5_000, "0")
    }]);
    Document::new(DocumentSpec {
        document_type,
        series: document_type.series().to_owned(),
        ..asked
    })
    .unwrap()
}
