//! Which column of a file is which, by the meaning of its header and not by its place.

use super::{
    roles::{ROLES, Role},
    words::Words,
};

/// A header that is longer than this is prose: a title, or a remark.
const HEADER_CHARS_MAX: usize = 60;

/// Where each fact is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    places: [Option<usize>; ROLES.len()],
    header: Vec<String>,
}

impl Columns {
    /// The columns under these header cells: for each role the column that says it best; of two
    /// that say it equally well, the first.
    pub(crate) fn read<S: AsRef<str>>(header: &[S]) -> Self {
        let words: Vec<Words> = header
            .iter()
            .map(|cell| match cell.as_ref() {
                prose if prose.chars().count() > HEADER_CHARS_MAX => Words::default(),
                cell => Words::read(cell),
            })
            .collect();
        let mut columns = Self {
            header: header.iter().map(|c| c.as_ref().to_owned()).collect(),
            ..Self::default()
        };
        // An earlier role has the first choice, and no column has two roles.
        let mut taken = Vec::new();
        for (place, role) in columns.places.iter_mut().zip(ROLES) {
            let mut best = 0;
            for (index, words) in words.iter().enumerate().filter(|(i, _)| !taken.contains(i)) {
                let fit = role.fit(*words);
                if fit > best {
                    (best, *place) = (fit, Some(index));
                }
            }
            taken.extend(*place);
        }
        columns
    }

    /// The column of a role.
    pub(crate) fn place(&self, role: Role) -> Option<usize> {
        let index = ROLES.iter().position(|r| *r == role)?;
        self.places[index]
    }

    /// How many columns the header has, unnamed ones included.
    pub(crate) fn width(&self) -> usize {
        self.header.len()
    }

    /// Whether these cells are those of the header again.
    pub(crate) fn repeats(&self, cells: &[String]) -> bool {
        self.header == cells
    }

    /// Whether this is the header of a spending file: without these two nothing can be paid.
    pub(crate) fn is_header(&self) -> bool {
        self.place(Role::Reference).is_some() && self.place(Role::Amount).is_some()
    }

    /// How many roles have a column.
    pub(crate) fn found(&self) -> usize {
        self.places.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Which header each role was given.
    fn named(header: &str, role: Role) -> Option<&str> {
        let cells: Vec<&str> = header.split(',').collect();
        Columns::read(&cells).place(role).map(|i| cells[i])
    }

    fn all(header: &str) -> [Option<&str>; ROLES.len()] {
        ROLES.map(|role| named(header, role))
    }

    #[test]
    fn a_header_in_the_style_of_a_database_is_read() {
        let header = "body_name,organisational_unit,expenditure_category,expenditure_code,\
                      paid_date,trans_no,amount,caporrev,supplier_id,supplier_name";
        let expected = [
            "trans_no",
            "amount",
            "",
            "supplier_name",
            "supplier_id",
            "paid_date",
            "expenditure_category",
            "expenditure_code",
            "organisational_unit",
            "caporrev",
        ];
        assert_eq!(all(header).map(Option::unwrap_or_default), expected);
    }

    #[test]
    fn a_header_with_its_slip_of_the_pen_is_read() {
        let header = "Client,Service Area,Expenditure Catergory,Expenditure Code,Paid Date,\
                      Trans No,Amount,Type of Expenditure,Supplier ID,Supplier Name";
        let expected = [
            "Trans No",
            "Amount",
            "",
            "Supplier Name",
            "Supplier ID",
            "Paid Date",
            "Expenditure Catergory",
            "Expenditure Code",
            "Service Area",
            "Type of Expenditure",
        ];
        assert_eq!(all(header).map(Option::unwrap_or_default), expected);
    }

    #[test]
    fn headers_of_other_publishers_are_read() {
        let whitehall = "Department family,Entity,Date,Expense type,Expense area,Supplier,\
                         Transaction number,Amount,Description,Supplier Postcode,\
                         Invoice number,VAT registration number";
        let expected = [
            "Transaction number",
            "Amount",
            "",
            "Supplier",
            "",
            "Date",
            "Description",
            "",
            "Department family",
            "Expense type",
        ];
        assert_eq!(all(whitehall).map(Option::unwrap_or_default), expected);

        let county = "Organisation Name,Organisation Code,Effective Date,Directorate,Service,\
                      Organisational Unit,Expenditure Category,Payment Date,Internal Reference,\
                      Net Amount,Irrecoverable VAT,Capital/Revenue,Supplier (Beneficiary) ID,\
                      Supplier (Beneficiary) Name";
        let expected = [
            "Internal Reference",
            "Net Amount",
            "",
            "Supplier (Beneficiary) Name",
            "Supplier (Beneficiary) ID",
            "Payment Date",
            "Expenditure Category",
            "",
            "Organisational Unit",
            "Capital/Revenue",
        ];
        assert_eq!(all(county).map(Option::unwrap_or_default), expected);
    }

    #[test]
    fn the_transaction_number_is_not_some_other_number() {
        for (header, expected) in [
            ("Card Transaction,Transaction ID", "Transaction ID"),
            ("Invoice Number,Trans Ref", "Trans Ref"),
            ("Supplier Ref,Voucher", "Voucher"),
            ("Document Type,Document Date,Document No", "Document No"),
            ("VAT Registration No,Our Ref", "Our Ref"),
            ("Company Number,Contract Ref,Payment No", "Payment No"),
            ("Transaction Date,Transaction Type,Reference", "Reference"),
            ("PO Number,Invoice No", "Invoice No"),
            ("TransactionNumber,Ref", "TransactionNumber"),
        ] {
            assert_eq!(named(header, Role::Reference), Some(expected), "{header}");
        }
        for header in [
            "PO Number",
            "Supplier Number",
            "Card Transaction",
            "No",
            "Paid Date",
        ] {
            assert_eq!(named(header, Role::Reference), None, "{header}");
        }
    }

    #[test]
    fn the_amount_is_not_the_tax_on_it() {
        for (header, expected) in [
            ("VAT Amount,Gross Amount,Net Amount", "Net Amount"),
            ("VAT,Gross", "Gross"),
            ("Irrecoverable VAT Amount,Amount £", "Amount £"),
            (
                "VAT Amount (£),Amount excl. VAT (£)",
                "Amount excl. VAT (£)",
            ),
            ("Amount incl VAT,Amount ex VAT", "Amount ex VAT"),
            ("Gross Value,VAT Value,Total", "Gross Value"),
            ("Value Date,Value", "Value"),
            ("Budget Amount,Sum", "Sum"),
            ("Net,Tax", "Net"),
            ("Total VAT,Total", "Total"),
            ("Net Amount,Amount", "Amount"),
            ("Discount Amount,Paid (£)", "Paid (£)"),
            ("Spend Category,Spend", "Spend"),
        ] {
            assert_eq!(named(header, Role::Amount), Some(expected), "{header}");
        }
        for header in [
            "VAT Amount",
            "Amount Code",
            "Contract Value",
            "Total VAT",
            "Cost Centre",
        ] {
            assert_eq!(named(header, Role::Amount), None, "{header}");
        }
    }

    #[test]
    fn the_supplier_is_told_from_its_numbers() {
        for header in [
            "Supplier ID,Supplier Name",
            "Supplier No,Supplier",
            "Vendor Code,Vendor Name",
            "Beneficiary Ref,Beneficiary",
            "Payee ID,Payee",
            "Suplier Number,Suplier",
        ] {
            let cells: Vec<&str> = header.split(',').collect();
            assert_eq!(named(header, Role::SupplierId), Some(cells[0]));
            assert_eq!(named(header, Role::SupplierName), Some(cells[1]));
        }
        for header in [
            "Supplier VAT Number",
            "Supplier Postcode",
            "Supplier Type",
            "Body Name",
        ] {
            assert_eq!(named(header, Role::SupplierName), None, "{header}");
            assert_eq!(named(header, Role::SupplierId), None, "{header}");
        }
    }

    #[test]
    fn the_day_of_payment_comes_before_other_days() {
        for (header, expected) in [
            ("Invoice Date,Paid Date", "Paid Date"),
            ("Date,Payment Date", "Payment Date"),
            ("Posting Date,Date", "Date"),
            ("Invoice Date,Amount", "Invoice Date"),
        ] {
            assert_eq!(named(header, Role::Date), Some(expected), "{header}");
        }
    }

    #[test]
    fn prose_is_no_header() {
        let title = "Payments over £500, with the transaction number, the supplier and the amount";
        assert!(!Columns::read(&[title, title]).is_header());
        assert!(!Columns::read(&["Infomill", "46289405_1", "2240"]).is_header());
        assert!(!Columns::read::<&str>(&[]).is_header());
    }

    proptest! {
        #[test]
        fn order_does_not_matter(turn in 0_usize..9) {
            let mut cells: Vec<&str> = "Service Area,Expenditure Category,Expenditure Code,\
                Paid Date,Trans No,Amount,Type,Supplier ID,Supplier Name".split(',').collect();
            let wanted = ROLES.map(|role| Columns::read(&cells).place(role).map(|i| cells[i]));
            cells.rotate_left(turn);
            let got = ROLES.map(|role| Columns::read(&cells).place(role).map(|i| cells[i]));
            prop_assert_eq!(got, wanted);
        }
    }
}
