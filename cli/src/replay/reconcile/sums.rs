//! Three sums of one thing: what the files, the payments and the ledger come to.

use std::collections::BTreeMap;

use money::{Currency, Money};

use crate::replay::expected::Supplier;

/// Whose books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Book {
    Files,
    Payments,
    Ledger,
}

/// The three sums in one currency, payments less refunds, and how many of each there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ThreeSums {
    pub(crate) files: Money,
    pub(crate) payments: Money,
    pub(crate) ledger: Money,
    pub(crate) rows: u64,
    pub(crate) payment_count: u64,
    pub(crate) transaction_count: u64,
}

impl ThreeSums {
    fn zero(currency: Currency) -> Self {
        let zero = Money::zero(currency);
        Self {
            files: zero,
            payments: zero,
            ledger: zero,
            rows: 0,
            payment_count: 0,
            transaction_count: 0,
        }
    }

    /// Whether all three are the same.
    pub(crate) fn agree(&self) -> bool {
        self.files == self.payments
            && self.files == self.ledger
            && self.rows == self.payment_count
            && self.rows == self.transaction_count
    }

    fn add(&mut self, book: Book, amount: Money) -> Result<(), money::Error> {
        let (sum, count) = match book {
            Book::Files => (&mut self.files, &mut self.rows),
            Book::Payments => (&mut self.payments, &mut self.payment_count),
            Book::Ledger => (&mut self.ledger, &mut self.transaction_count),
        };
        *sum = sum.checked_add(amount)?;
        *count += 1;
        Ok(())
    }
}

/// The sums of one supplier in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SupplierSums {
    pub(crate) supplier: Supplier,
    pub(crate) sums: ThreeSums,
}

/// All sums.
#[derive(Debug, Default)]
pub(super) struct Sums {
    totals: BTreeMap<String, ThreeSums>,
    suppliers: BTreeMap<(Supplier, String), ThreeSums>,
    pub(super) overflow: bool,
}

impl Sums {
    /// Adds an amount to one of the three.
    pub(super) fn add(&mut self, book: Book, supplier: &Supplier, amount: Money) {
        let currency = amount.currency();
        let code = currency.code().to_owned();
        let total = self.totals.entry(code.clone());
        let total = total.or_insert_with(|| ThreeSums::zero(currency));
        let mut failed = total.add(book, amount).is_err();
        let of_supplier = self.suppliers.entry((supplier.clone(), code));
        let of_supplier = of_supplier.or_insert_with(|| ThreeSums::zero(currency));
        failed |= of_supplier.add(book, amount).is_err();
        self.overflow |= failed;
    }

    /// The totals and the suppliers' sums.
    pub(super) fn finish(self) -> (Vec<ThreeSums>, Vec<SupplierSums>) {
        let suppliers = self.suppliers.into_iter();
        let suppliers = suppliers.map(|((supplier, _), sums)| SupplierSums { supplier, sums });
        (self.totals.into_values().collect(), suppliers.collect())
    }
}
