//! Reads lines, allowances and charges, and how tax applies to them.

use mizan::status::Violations;
use mizan_contracts::{invoice::v1 as wire, r#type::v1 as types};
use money::Money;

use super::{plain_required, plain_text};
use crate::domain::{
    Adjustment, Decimal, Line, LineSpec, QUANTITY_MAX, Size, Tax, TaxCategory, TaxedAdjustment,
};

/// The most characters of a line's description and of any reason.
const TEXT_CHARS_MAX: usize = 512;
/// The most characters of the code of an exemption.
const EXEMPTION_CODE_CHARS_MAX: usize = 64;
/// The most characters of the code of an adjustment's reason.
const REASON_CODE_CHARS_MAX: usize = 16;
/// The most allowances, and the most charges, of a line.
const LINE_ADJUSTMENTS_MAX: usize = 16;

/// The line in a field.
pub(super) fn line(
    field: &str,
    line: &wire::InvoiceLine,
    violations: &mut Violations,
) -> Option<Line> {
    let at = |name: &str| format!("{field}.{name}");
    plain_required(
        TEXT_CHARS_MAX,
        &at("description"),
        &line.description,
        violations,
    );
    let unit_price = types::Money::read(line.unit_price.as_ref());
    let quantity = quantity(field, line, violations);
    let unit_price: Option<Money> = violations.keep(at("unit_price"), unit_price);
    let base_quantity = match line.base_quantity.as_str() {
        "" => Some(Decimal::ONE),
        base => violations.keep(at("base_quantity"), base.parse()),
    };
    let code = &line.unit_code;
    violations.require(
        code.len() <= 3
            && code
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()),
        at("unit_code"),
        "is not 1 to 3 characters of [A-Z0-9]",
    );
    let tax = tax(&at("tax"), line.tax.as_ref(), violations);
    let allowances = plain(&at("allowances"), &line.allowances, violations);
    let charges = plain(&at("charges"), &line.charges, violations);
    let asked = LineSpec {
        description: line.description.clone(),
        quantity: quantity?,
        unit_price: unit_price?,
        base_quantity: base_quantity?,
        unit_code: code.clone(),
        tax: tax?,
        allowances: allowances?,
        charges: charges?,
    };
    Line::new(asked)
        .map_err(|invalid| {
            let name = match invalid.field.as_str() {
                "quantity" if !line.quantity_decimal.is_empty() => "quantity_decimal",
                name => name,
            };
            violations.add(at(name), invalid.problem.to_string());
        })
        .ok()
}

/// How many: the decimal, or the whole number, of which 0 means 1.
fn quantity(field: &str, line: &wire::InvoiceLine, violations: &mut Violations) -> Option<Decimal> {
    let whole = match i32::try_from(line.quantity) {
        Ok(0) => Some(1),
        Ok(whole) if (1..=QUANTITY_MAX).contains(&whole) => Some(whole),
        _ => {
            let rule = format!("is not from 1 to {QUANTITY_MAX}");
            violations.add(format!("{field}.quantity"), rule);
            None
        }
    };
    let whole = Decimal::whole(whole?);
    if line.quantity_decimal.is_empty() {
        return Some(whole);
    }
    let at = format!("{field}.quantity_decimal");
    let decimal: Decimal = violations.keep(&at, line.quantity_decimal.parse())?;
    let agree = line.quantity == 0 || decimal == whole;
    violations.require(agree, at, "differs from quantity");
    Some(decimal)
}

/// Adjustments of a line, to which the line's tax applies.
fn plain(
    field: &str,
    adjustments: &[wire::Adjustment],
    violations: &mut Violations,
) -> Option<Vec<Adjustment>> {
    if adjustments.len() > LINE_ADJUSTMENTS_MAX {
        let rule = format!("has more than {LINE_ADJUSTMENTS_MAX} elements");
        violations.add(field, rule);
        return None;
    }
    let read = adjustments.iter().enumerate().map(|(index, one)| {
        let at = format!("{field}[{index}]");
        let unset = one.tax.is_none();
        violations.require(
            unset,
            format!("{at}.tax"),
            "is set, though the line's applies",
        );
        adjustment(&at, one, violations)
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

/// An adjustment of the whole document.
pub(super) fn taxed(
    field: &str,
    one: &wire::Adjustment,
    violations: &mut Violations,
) -> Option<TaxedAdjustment> {
    let adjustment = adjustment(field, one, violations);
    let tax = tax(&format!("{field}.tax"), one.tax.as_ref(), violations);
    Some(TaxedAdjustment {
        adjustment: adjustment?,
        tax: tax?,
    })
}

fn adjustment(
    field: &str,
    one: &wire::Adjustment,
    violations: &mut Violations,
) -> Option<Adjustment> {
    let at = |name: &str| format!("{field}.{name}");
    let size = if one.percent.is_empty() {
        let no_base = one.base.is_none();
        violations.require(no_base, at("base"), "is given without percent");
        let amount = types::Money::read(one.amount.as_ref());
        violations.keep(at("amount"), amount).map(Size::Amount)
    } else {
        // With a percentage the amount is output only.
        let base = match &one.base {
            None => Some(None),
            base => {
                let base = types::Money::read(base.as_ref());
                violations.keep(at("base"), base).map(Some)
            }
        };
        let percent = violations.keep(at("percent"), one.percent.parse());
        match (percent, base) {
            (Some(percent), Some(base)) => Some(Size::Percent { percent, base }),
            _ => None,
        }
    };
    plain_text(TEXT_CHARS_MAX, &at("reason"), &one.reason, violations);
    plain_text(
        REASON_CODE_CHARS_MAX,
        &at("reason_code"),
        &one.reason_code,
        violations,
    );
    Some(Adjustment {
        size: size?,
        reason: one.reason.clone(),
        reason_code: one.reason_code.clone(),
    })
}

fn tax(field: &str, tax: Option<&wire::Tax>, violations: &mut Violations) -> Option<Tax> {
    let Some(tax) = tax else {
        return Some(Tax::none());
    };
    let at = |name: &str| format!("{field}.{name}");
    let category = category(&at("category"), tax.category, violations);
    let percent = match tax.rate_percent.as_str() {
        "" => Some(Decimal::ZERO),
        percent => violations.keep(at("rate_percent"), percent.parse()),
    };
    let (reason, code) = (&tax.exemption_reason, &tax.exemption_reason_code);
    plain_text(TEXT_CHARS_MAX, &at("exemption_reason"), reason, violations);
    plain_text(
        EXEMPTION_CODE_CHARS_MAX,
        &at("exemption_reason_code"),
        code,
        violations,
    );
    Tax::new(category?, percent?, reason.clone(), code.clone())
        .map_err(|invalid| violations.add(at(&invalid.field), invalid.problem.to_string()))
        .ok()
}

fn category(field: &str, value: i32, violations: &mut Violations) -> Option<TaxCategory> {
    use wire::TaxCategory as Wire;
    Some(match Wire::try_from(value) {
        Ok(Wire::Standard) => TaxCategory::Standard,
        Ok(Wire::ZeroRated) => TaxCategory::ZeroRated,
        Ok(Wire::Exempt) => TaxCategory::Exempt,
        Ok(Wire::ReverseCharge) => TaxCategory::ReverseCharge,
        Ok(Wire::IntraCommunity) => TaxCategory::IntraCommunity,
        Ok(Wire::Export) => TaxCategory::Export,
        Ok(Wire::Unspecified | Wire::OutOfScope) => TaxCategory::OutOfScope,
        Ok(Wire::Igic) => TaxCategory::Igic,
        Ok(Wire::Ipsi) => TaxCategory::Ipsi,
        Err(_) => {
            violations.add(field, "is not a TaxCategory");
            return None;
        }
    })
}
