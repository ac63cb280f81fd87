//! One file: which line is its header, what separates its cells, and then its rows.

use money::Currency;

use super::{
    columns::Columns,
    records::{Record, Records},
    row::{self, Row, Unpayable},
};

/// What may separate cells. The one that gives the fullest header is it.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How many records may come before the header: titles and remarks.
const PREAMBLE_MAX: usize = 50;

/// A line that names this many facts of a payment is the header: there is no need to look further.
const COLUMNS_PLENTY: usize = 4;

/// No line of the beginning of a file is a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no header found in its first {PREAMBLE_MAX} lines: looked for a column of transaction numbers \
     (such as \"Trans No\", \"Transaction Number\", \"Voucher\", \"Reference\") and a column of \
     amounts (such as \"Amount\", \"Net Amount\", \"Value\", \"Total\")"
)]
pub(crate) struct NoHeader;

/// A file's text, understood.
#[derive(Debug)]
pub(crate) struct Sheet<'a> {
    text: &'a str,
    separator: u8,
    columns: Columns,
    header_line: u64,
}

impl<'a> Sheet<'a> {
    /// Finds the header.
    ///
    /// # Errors
    /// [`NoHeader`].
    pub(crate) fn read(text: &'a str) -> Result<Self, NoHeader> {
        let mut best: Option<Self> = None;
        let plenty = |best: &Option<Self>| {
            best.as_ref()
                .is_some_and(|best| best.columns.found() >= COLUMNS_PLENTY)
        };
        for separator in SEPARATORS {
            for record in Records::new(text, separator).take(PREAMBLE_MAX) {
                let columns = Columns::read(&record.cells);
                let better = best
                    .as_ref()
                    .is_none_or(|best| columns.found() > best.columns.found());
                if columns.is_header() && !record.open_quote && better {
                    best = Some(Self {
                        text,
                        separator,
                        columns,
                        header_line: record.line,
                    });
                }
                if plenty(&best) {
                    return best.ok_or(NoHeader);
                }
            }
        }
        best.ok_or(NoHeader)
    }

    /// The rows below the header, in order. Blank lines are not rows.
    pub(crate) fn rows(&self, currency: Currency) -> impl Iterator<Item = Result<Row, Unpayable>> {
        self.records()
            .map(move |record| row::read(&record, &self.columns, currency))
    }

    /// How many rows there are.
    pub(crate) fn row_count(&self) -> u64 {
        self.records().map(|_| 1).sum()
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        let header_line = self.header_line;
        Records::new(self.text, self.separator)
            .filter(move |record| record.line > header_line && !record.is_blank())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::replay::text::decode;

    fn gbp() -> Currency {
        "GBP".parse().unwrap()
    }

    /// Each row as `line reference amount supplier`, or `line reason`.
    fn rows(bytes: &[u8]) -> Vec<String> {
        let text = decode(bytes);
        let sheet = Sheet::read(&text).unwrap();
        let rows: Vec<String> = sheet
            .rows(gbp())
            .map(|row| match row {
                Ok(row) => format!(
                    "{} {} {} {}",
                    row.line,
                    row.reference.as_str(),
                    row.amount.to_decimal(),
                    row.supplier_name
                ),
                Err(unpayable) => format!("{} {}", unpayable.line, unpayable.reason),
            })
            .collect();
        assert_eq!(sheet.row_count(), u64::try_from(rows.len()).unwrap());
        rows
    }

    #[test]
    fn titles_blank_lines_and_totals_around_the_rows_are_told_apart() {
        let text = "\u{feff}Spend over £500,,,\r\n,,,\r\n\r\nJuly to September,,,\r\n\
                    Payee,Voucher,Date Paid,Value\r\n\
                    Acme,V1,01/07/2016,\"1,234.50\"\r\n,,,\r\n\r\n\
                    \"Bolt\r\nand Nut\",V2,02/07/2016,£5\r\n\
                    Total,,,\"1,239.50\"\r\n,,,\r\n";
        assert_eq!(
            rows(text.as_bytes()),
            [
                "6 V1 1234.50 Acme",
                "9 V2 5.00 Bolt and Nut",
                "11 has no transaction number (a total)",
            ]
        );
    }

    #[test]
    fn semicolons_tabs_and_bars_separate_too() {
        for separator in [";", "\t", "|"] {
            let text = "Trans No,Amount,Supplier\n1,12.5,Smith\n2,(3.00),Jones\n";
            let text = text.replace(',', separator);
            assert_eq!(
                rows(text.as_bytes()),
                ["2 1 12.50 Smith", "3 2 -3.00 Jones"]
            );
        }
        let text = "Ref;Net Amount;Vendor Name\n1;\"1.234,50\";Müller, Söhne\n";
        assert_eq!(rows(text.as_bytes()), ["2 1 1234.50 Müller, Söhne"]);
    }

    #[test]
    fn every_encoding_is_read() {
        let text = "Ref,Amount,Payee\n1,£2.00,Café\n";
        let utf16: Vec<u8> = [0xFF, 0xFE]
            .into_iter()
            .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        let latin = b"Ref,Amount,Payee\n1,\xA32.00,Caf\xE9\n";
        for bytes in [text.as_bytes(), &utf16, latin] {
            assert_eq!(rows(bytes), ["2 1 2.00 Café"]);
        }
    }

    #[test]
    fn the_fullest_line_is_the_header() {
        let text = "Ref,Total\n,\nTrans No,Amount,Supplier Name\n1,2,Smith\n";
        assert_eq!(rows(text.as_bytes()), ["4 1 2.00 Smith"]);
    }

    #[test]
    fn an_open_quote_loses_no_row() {
        let text = "Ref,Amount,Payee\n1,2,\"Smith\n2,3,Jones\n3,4,Brown\n";
        assert_eq!(
            rows(text.as_bytes()),
            [
                "2 has a quote that is never closed",
                "3 2 3.00 Jones",
                "4 3 4.00 Brown"
            ]
        );
    }

    #[test]
    fn a_file_without_a_header_says_what_was_looked_for() {
        for text in [
            "",
            "1,2,3\n4,5,6\n",
            "Supplier,Date\nAcme,01/01/2016\n",
            "\0\0\0",
        ] {
            let error = Sheet::read(text).unwrap_err().to_string();
            assert!(
                error.contains("Trans No") && error.contains("Amount"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let text = decode(&bytes);
            if let Ok(sheet) = Sheet::read(&text) {
                let _ = sheet.rows(gbp()).count();
            }
        }

        #[test]
        fn any_text_under_a_header_is_answered_row_by_row(body in "[0-9a,;\"\r\n.£() -]{0,120}") {
            let text = format!("Ref,Amount,Payee\n{body}");
            let sheet = Sheet::read(&text).unwrap();
            let count = u64::try_from(sheet.rows(gbp()).count()).unwrap();
            prop_assert_eq!(count, sheet.row_count());
        }
    }
}
