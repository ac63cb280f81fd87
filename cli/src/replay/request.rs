//! The request that a row becomes: the same for the same row, whichever file or line it is on.

use std::collections::BTreeMap;

use mizan_contracts::{
    payment::v1::{Counterparty, Direction, ProcessPaymentRequest},
    r#type::v1::Money,
};

use super::row::Row;

/// The contract's limits, in characters. What is only there for people is cut to them; a reference
/// that is too long is left for the service to refuse.
const NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 512;
const METADATA_VALUE_CHARS_MAX: usize = 512;

/// Stands where a file does not say whom it paid.
const UNNAMED: &str = "(not named)";

/// The request of a row; the amount's error if it does not fit the contract.
pub(crate) fn of(row: &Row) -> Result<ProcessPaymentRequest, money::Error> {
    let refund = row.amount.is_negative();
    let amount = if refund {
        row.amount.checked_neg()?
    } else {
        row.amount
    };
    let name = match row.supplier_name.as_str() {
        "" => UNNAMED,
        name => name,
    };
    let direction = if refund {
        Direction::Refund
    } else {
        Direction::Outgoing
    };
    Ok(ProcessPaymentRequest {
        request_id: row.reference.request_id(),
        amount: Some(Money::try_from(amount)?),
        direction: direction.into(),
        counterparty: Some(Counterparty {
            counterparty_id: row.supplier_id.clone(),
            name: cut(name, NAME_CHARS_MAX),
        }),
        description: cut(&description(row), DESCRIPTION_CHARS_MAX),
        reference: row.reference.as_str().to_owned(),
        metadata: metadata(row),
        effective_time: row.paid,
        ..ProcessPaymentRequest::default()
    })
}

fn description(row: &Row) -> String {
    match (row.category.as_str(), row.unit.as_str()) {
        ("", "") => format!("Payment {}", row.reference.as_str()),
        (one, "") | ("", one) => one.to_owned(),
        (category, unit) => format!("{category}, {unit}"),
    }
}

fn metadata(row: &Row) -> BTreeMap<String, String> {
    [
        ("unit", &row.unit),
        ("category", &row.category),
        ("code", &row.code),
        ("type", &row.kind),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), cut(value, METADATA_VALUE_CHARS_MAX)))
    .collect()
}

/// At most so many characters, the last an ellipsis where something is missing.
fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::sheet::Sheet;

    fn row(line: &str) -> Row {
        let text = format!(
            "Service Area,Category,Code,Paid Date,Trans No,Amount,Type,Supplier ID,Supplier\n{line}"
        );
        let sheet = Sheet::read(&text).unwrap();
        sheet.rows("GBP".parse().unwrap()).next().unwrap().unwrap()
    }

    #[test]
    fn a_payment_says_all_that_the_row_says() {
        let row = row("Parks,Plants,D1,05/04/2016,7 - 1,12.34,Revenue,77,Acme");
        let request = of(&row).unwrap();
        assert_eq!(request.request_id, row.reference.request_id());
        assert_eq!(request.direction(), Direction::Outgoing);
        let amount = request.amount.unwrap();
        assert_eq!((amount.units, amount.nanos), (12, 340_000_000));
        let counterparty = request.counterparty.unwrap();
        assert_eq!(
            (&*counterparty.counterparty_id, &*counterparty.name),
            ("77", "Acme")
        );
        assert_eq!(request.description, "Plants, Parks");
        assert_eq!(request.reference, "7-1");
        let metadata: Vec<String> = request
            .metadata
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            metadata,
            ["category=Plants", "code=D1", "type=Revenue", "unit=Parks"]
        );
        assert_eq!(
            request.effective_time.map(|t| t.seconds),
            Some(1_459_814_400)
        );
        assert_eq!(request.expense_account_id, "");
    }

    #[test]
    fn a_refund_is_a_positive_amount_the_other_way() {
        let request = of(&row(",,,,7,-0.01,,,")).unwrap();
        assert_eq!(request.direction(), Direction::Refund);
        assert_eq!(request.amount.unwrap().nanos, 10_000_000);
        assert_eq!(request.counterparty.unwrap().name, UNNAMED);
        assert_eq!(request.description, "Payment 7");
        assert!(request.metadata.is_empty());
    }

    #[test]
    fn what_is_for_people_is_cut_to_the_contract() {
        let long = "é".repeat(600);
        let request = of(&row(&format!(",{long},,,7,1,,,{long}"))).unwrap();
        assert_eq!(request.description.chars().count(), DESCRIPTION_CHARS_MAX);
        let name = request.counterparty.unwrap().name;
        assert_eq!(name.chars().count(), NAME_CHARS_MAX);
        assert!(name.ends_with('…'));
    }

    #[test]
    fn an_amount_beyond_the_contract_is_an_error() {
        let row = row(",,,,7,99999999999999999999,,,");
        assert_eq!(of(&row), Err(money::Error::Overflow));
    }
}
