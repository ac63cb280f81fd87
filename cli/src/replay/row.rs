//! What one row of a file says of a payment.

use money::{Currency, Money};
use prost_types::Timestamp;

use super::{
    amount,
    columns::Columns,
    date,
    records::Record,
    reference::{Reference, Unreadable},
    roles::Role,
};

/// A row that can be paid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) reference: Reference,
    /// Below zero for a refund; never zero.
    pub(crate) amount: Money,
    pub(crate) supplier_name: String,
    pub(crate) supplier_id: String,
    pub(crate) paid: Option<Timestamp>,
    pub(crate) category: String,
    pub(crate) code: String,
    pub(crate) unit: String,
    pub(crate) kind: String,
}

/// A row that cannot be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpayable {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// Reads a record that is not blank. `currency` is that of a row that names none.
pub(crate) fn read(
    record: &Record,
    columns: &Columns,
    currency: Currency,
) -> Result<Row, Unpayable> {
    let unpayable = |reason: String| Unpayable {
        line: record.line,
        reason,
    };
    if record.open_quote {
        return Err(unpayable("has a quote that is never closed".to_owned()));
    }
    let named = columns.width();
    // A separator too many within a cell shifts what follows it: then no cell can be trusted.
    if record.cells.iter().skip(named).any(|cell| !cell.is_empty()) {
        let cells = record.cells.len();
        return Err(unpayable(format!(
            "has {cells} cells under a header of {named}"
        )));
    }
    if columns.repeats(&record.cells) {
        return Err(unpayable("repeats the header".to_owned()));
    }
    let cell = |role| {
        let place = columns.place(role);
        place
            .and_then(|index| record.cells.get(index))
            .map_or("", String::as_str)
    };
    let reference = Reference::read(cell(Role::Reference)).map_err(|error| {
        let total = || record.cells.iter().any(|cell| is_total(cell));
        let remark = match error {
            Unreadable::Missing if total() => " (a total)",
            Unreadable::Missing | Unreadable::Control(_) => "",
        };
        unpayable(format!("{error}{remark}"))
    })?;
    let currency = match cell(Role::Currency) {
        "" => currency,
        code => code
            .parse()
            .map_err(|e| unpayable(format!("currency {code:?} {e}")))?,
    };
    let amount =
        amount::read(cell(Role::Amount), currency).map_err(|e| unpayable(format!("amount {e}")))?;
    let text = |role| plain(cell(role));
    Ok(Row {
        line: record.line,
        reference,
        amount,
        supplier_name: text(Role::SupplierName),
        supplier_id: text(Role::SupplierId),
        paid: date::read(cell(Role::Date)),
        category: text(Role::Category),
        code: text(Role::Code),
        unit: text(Role::Unit),
        kind: text(Role::Kind),
    })
}

fn is_total(cell: &str) -> bool {
    let cell = cell.to_lowercase();
    ["total", "grand total", "sub total", "subtotal"]
        .iter()
        .any(|word| cell.starts_with(word))
}

/// The cell on one line: whitespace of any kind becomes a single space, control characters go.
fn plain(cell: &str) -> String {
    let words: Vec<&str> = cell
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [&str; 9] = [
        "Service Area",
        "Expenditure Category",
        "Expenditure Code",
        "Paid Date",
        "Trans No",
        "Amount",
        "Type",
        "Supplier ID",
        "Supplier Name",
    ];

    fn row(cells: &[&str]) -> Result<Row, Unpayable> {
        let record = Record {
            line: 7,
            cells: cells.iter().map(|&c| c.to_owned()).collect(),
            open_quote: false,
        };
        read(&record, &Columns::read(&HEADER), "GBP".parse().unwrap())
    }

    fn reason(cells: &[&str]) -> String {
        row(cells).unwrap_err().reason
    }

    #[test]
    fn a_whole_row_is_read() {
        let row = row(&[
            "Parks",
            "Plants\n and  trees",
            "D1",
            "05/04/2016",
            "1 - 2",
            "-1,000.50",
            "Revenue",
            "77",
            "Acme",
        ])
        .unwrap();
        assert_eq!((row.line, row.reference.as_str()), (7, "1-2"));
        assert_eq!(row.amount.to_string(), "-1000.50 GBP");
        assert_eq!(row.category, "Plants and trees");
        assert_eq!((&*row.supplier_id, &*row.supplier_name), ("77", "Acme"));
        assert_eq!(
            (&*row.unit, &*row.code, &*row.kind),
            ("Parks", "D1", "Revenue")
        );
        assert_eq!(row.paid.map(|t| t.seconds), Some(1_459_814_400));
    }

    #[test]
    fn what_may_be_missing_is_missing_without_harm() {
        let row = row(&["", "", "", "soon", "1", "5"]).unwrap();
        assert_eq!((row.supplier_name.as_str(), row.paid), ("", None));
    }

    #[test]
    fn what_cannot_be_paid_is_told_why() {
        assert_eq!(
            reason(&["Total", "", "", "", "", "5,000.00"]),
            "has no transaction number (a total)"
        );
        assert_eq!(
            reason(&["Parks", "", "", "", " ", "5"]),
            "has no transaction number"
        );
        assert_eq!(reason(&["Parks", "", "", "", "1"]), "amount is missing");
        assert_eq!(reason(&["", "", "", "", "1", "0.00"]), "amount is zero");
        assert_eq!(
            reason(&["", "", "", "", "1", "n/a"]),
            "amount is not a number: \"n/a\""
        );
        assert_eq!(
            reason(&["", "", "", "", "1\u{7}-2", "5"]),
            "transaction number has a control character: \"1\\u{7}-2\""
        );
        assert_eq!(reason(&HEADER), "repeats the header");
    }

    #[test]
    fn a_row_that_is_wider_than_its_header_is_not_trusted() {
        let cells = ["", "", "", "", "1", "5", "", "", "Smith", "Jones Ltd"];
        assert_eq!(reason(&cells), "has 10 cells under a header of 9");
        assert!(row(&["", "", "", "", "1", "5", "", "", "Smith", "", ""]).is_ok());
    }

    #[test]
    fn a_currency_column_decides_its_row() {
        let columns = Columns::read(&["Trans No", "Amount", "Currency"]);
        let read = |code: &str| {
            let record = Record {
                line: 2,
                cells: ["1", "300", code].map(str::to_owned).to_vec(),
                open_quote: false,
            };
            read(&record, &columns, "GBP".parse().unwrap()).map(|r| r.amount.to_string())
        };
        assert_eq!(read("JPY").unwrap(), "300 JPY");
        assert_eq!(read("").unwrap(), "300.00 GBP");
        assert!(read("pounds").is_err());
    }
}
