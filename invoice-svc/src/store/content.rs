//! What a document says, as JSON: the shape of the column `content`. It only grows; whatever is
//! empty is left out. Amounts are whole smallest units of the document's currency.

use std::collections::BTreeMap;

use money::{Currency, Money};
use serde::{Deserialize, Serialize};

use crate::domain::{
    Address, Adjustment, Decimal, Document, DocumentSpec, DocumentType, Line, LineSpec, Micros,
    Party, Size, Tax, TaxCategory, TaxedAdjustment,
};

#[derive(Serialize, Deserialize)]
pub(super) struct Content {
    party: PartyRow,
    lines: Vec<LineRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allowances: Vec<AdjustmentRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    charges: Vec<AdjustmentRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prepaid: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rounding: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery_time: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct PartyRow {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tax_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    legal_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    street: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    additional: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    city: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    postal_code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subdivision: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    country_code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    endpoint_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    endpoint_scheme: String,
}

#[derive(Serialize, Deserialize)]
struct LineRow {
    description: String,
    quantity: String,
    unit_price: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_quantity: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    unit_code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tax: Option<TaxRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allowances: Vec<AdjustmentRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    charges: Vec<AdjustmentRow>,
}

/// With an amount, or with a percentage.
#[derive(Serialize, Deserialize)]
struct AdjustmentRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason_code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tax: Option<TaxRow>,
}

/// By the code of its category; none means not subject to tax.
#[derive(Serialize, Deserialize)]
struct TaxRow {
    category: String,
    rate: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason_code: String,
}

/// What a row says of a document beside its content.
pub(super) struct Beside {
    pub(super) document_type: DocumentType,
    pub(super) series: String,
    pub(super) currency: Currency,
    pub(super) due_time: Option<Micros>,
    pub(super) reference: String,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Content {
    /// The content of a document, whose amounts all fit.
    pub(super) fn of(document: &Document) -> Result<Self, String> {
        let asked = document.asked();
        let adjustments = |all: &[TaxedAdjustment]| -> Result<_, String> {
            all.iter()
                .map(|one| adjustment_row(&one.adjustment, Some(&one.tax)))
                .collect()
        };
        Ok(Self {
            party: party_row(&asked.party),
            lines: asked.lines.iter().map(line_row).collect::<Result<_, _>>()?,
            allowances: adjustments(&asked.allowances)?,
            charges: adjustments(&asked.charges)?,
            prepaid: asked.prepaid.map(minor).transpose()?,
            rounding: asked.rounding.map(minor).transpose()?,
            delivery_time: asked.delivery_time.map(|Micros(micros)| micros),
            note: asked.note.clone(),
        })
    }

    /// The document, worked out again.
    pub(super) fn document(self, beside: Beside) -> Result<Document, String> {
        let currency = beside.currency;
        let money = |minor: i64| Money::from_minor(minor.into(), currency);
        let lines = self.lines.into_iter().map(|row| row.line(currency));
        let adjustments = |rows: Vec<AdjustmentRow>| -> Result<Vec<_>, String> {
            rows.into_iter().map(|row| row.taxed(currency)).collect()
        };
        Document::new(DocumentSpec {
            document_type: beside.document_type,
            series: beside.series,
            party: self.party.party(),
            lines: lines.collect::<Result<_, _>>()?,
            allowances: adjustments(self.allowances)?,
            charges: adjustments(self.charges)?,
            prepaid: self.prepaid.map(money),
            rounding: self.rounding.map(money),
            due_time: beside.due_time,
            delivery_time: self.delivery_time.map(Micros),
            note: self.note,
            reference: beside.reference,
            metadata: beside.metadata,
        })
        .map_err(|e| e.to_string())
    }
}

fn party_row(party: &Party) -> PartyRow {
    let party = party.clone();
    PartyRow {
        id: party.id,
        name: party.name,
        tax_id: party.tax_id,
        legal_id: party.legal_id,
        street: party.address.street,
        additional: party.address.additional,
        city: party.address.city,
        postal_code: party.address.postal_code,
        subdivision: party.address.subdivision,
        country_code: party.address.country_code,
        endpoint_id: party.endpoint_id,
        endpoint_scheme: party.endpoint_scheme,
    }
}

impl PartyRow {
    fn party(self) -> Party {
        Party {
            id: self.id,
            name: self.name,
            tax_id: self.tax_id,
            legal_id: self.legal_id,
            address: Address {
                street: self.street,
                additional: self.additional,
                city: self.city,
                postal_code: self.postal_code,
                subdivision: self.subdivision,
                country_code: self.country_code,
            },
            endpoint_id: self.endpoint_id,
            endpoint_scheme: self.endpoint_scheme,
        }
    }
}

fn line_row(line: &Line) -> Result<LineRow, String> {
    let asked = line.asked();
    let rows = |all: &[Adjustment]| -> Result<_, String> {
        all.iter().map(|one| adjustment_row(one, None)).collect()
    };
    let base = asked.base_quantity;
    Ok(LineRow {
        description: asked.description.clone(),
        quantity: asked.quantity.to_string(),
        unit_price: minor(asked.unit_price)?,
        base_quantity: (base != Decimal::ONE).then(|| base.to_string()),
        unit_code: asked.unit_code.clone(),
        tax: tax_row(&asked.tax),
        allowances: rows(&asked.allowances)?,
        charges: rows(&asked.charges)?,
    })
}

impl LineRow {
    fn line(self, currency: Currency) -> Result<Line, String> {
        let rows = |rows: Vec<AdjustmentRow>| -> Result<Vec<_>, String> {
            rows.into_iter().map(|row| row.plain(currency)).collect()
        };
        Line::new(LineSpec {
            description: self.description,
            quantity: decimal(&self.quantity)?,
            unit_price: Money::from_minor(self.unit_price.into(), currency),
            base_quantity: match &self.base_quantity {
                None => Decimal::ONE,
                Some(base) => decimal(base)?,
            },
            unit_code: self.unit_code,
            tax: tax(self.tax)?,
            allowances: rows(self.allowances)?,
            charges: rows(self.charges)?,
        })
        .map_err(|e| e.to_string())
    }
}

fn adjustment_row(adjustment: &Adjustment, tax: Option<&Tax>) -> Result<AdjustmentRow, String> {
    let (amount, percent, base) = match adjustment.size {
        Size::Amount(amount) => (Some(amount), None, None),
        Size::Percent { percent, base } => (None, Some(percent.to_string()), base),
    };
    Ok(AdjustmentRow {
        amount: amount.map(minor).transpose()?,
        percent,
        base: base.map(minor).transpose()?,
        reason: adjustment.reason.clone(),
        reason_code: adjustment.reason_code.clone(),
        tax: tax.and_then(tax_row),
    })
}

impl AdjustmentRow {
    fn plain(self, currency: Currency) -> Result<Adjustment, String> {
        let money = |minor: i64| Money::from_minor(minor.into(), currency);
        let size = match (self.amount, self.percent) {
            (Some(amount), None) => Size::Amount(money(amount)),
            (None, Some(percent)) => Size::Percent {
                percent: decimal(&percent)?,
                base: self.base.map(money),
            },
            _ => return Err("an adjustment is neither an amount nor a percentage".to_owned()),
        };
        Ok(Adjustment {
            size,
            reason: self.reason,
            reason_code: self.reason_code,
        })
    }

    fn taxed(mut self, currency: Currency) -> Result<TaxedAdjustment, String> {
        let tax = tax(self.tax.take())?;
        let adjustment = self.plain(currency)?;
        Ok(TaxedAdjustment { adjustment, tax })
    }
}

fn tax_row(tax: &Tax) -> Option<TaxRow> {
    (*tax != Tax::none()).then(|| TaxRow {
        category: tax.rate().category().code().to_owned(),
        rate: tax.rate().percent().to_string(),
        reason: tax.exemption_reason().to_owned(),
        reason_code: tax.exemption_reason_code().to_owned(),
    })
}

fn tax(row: Option<TaxRow>) -> Result<Tax, String> {
    let Some(row) = row else {
        return Ok(Tax::none());
    };
    let category = TaxCategory::from_code(&row.category).ok_or("an unknown category of tax")?;
    let rate = decimal(&row.rate)?;
    Tax::new(category, rate, row.reason, row.reason_code).map_err(|e| e.to_string())
}

fn decimal(text: &str) -> Result<Decimal, String> {
    text.parse().map_err(|e| format!("{text:?} {e}"))
}

/// The smallest units as they are kept: all amounts of a document fit.
pub(super) fn minor(amount: Money) -> Result<i64, String> {
    i64::try_from(amount.minor()).map_err(|e| e.to_string())
}
