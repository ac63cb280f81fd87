//! What the reconciliation found, as data for `--json` and as text.

use std::fmt::{self, Formatter};

use serde::Serialize;

use super::reconcile::{Difference, Kind, Reconciliation, SupplierSums, ThreeSums};

/// The three-way reconciliation. Amounts are exact decimal strings.
#[derive(Debug, Serialize)]
pub(crate) struct ReconciliationReport {
    /// Whether nothing differs.
    pub(crate) agree: bool,
    /// Rows that are to be paid: each transaction number once.
    pub(crate) rows: u64,
    pub(crate) payments: u64,
    pub(crate) transactions: u64,
    pub(crate) totals: Vec<SumsReport>,
    /// How many suppliers there are, each counted once for a currency.
    pub(crate) supplier_count: usize,
    pub(crate) suppliers: Vec<SupplierReport>,
    pub(crate) differences: Vec<DifferenceReport>,
    /// What the books hold besides, of other files and other callers.
    pub(crate) other_payments: u64,
    pub(crate) other_transactions: u64,
}

/// Three sums, payments less refunds.
#[derive(Debug, Serialize)]
pub(crate) struct SumsReport {
    pub(crate) currency: String,
    pub(crate) files: String,
    pub(crate) payments: String,
    pub(crate) ledger: String,
    pub(crate) rows: u64,
    pub(crate) payment_count: u64,
    pub(crate) transaction_count: u64,
    pub(crate) agree: bool,
}

/// The sums of a supplier.
#[derive(Debug, Serialize)]
pub(crate) struct SupplierReport {
    pub(crate) supplier: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) supplier_id: String,
    #[serde(flatten)]
    pub(crate) sums: SumsReport,
}

/// A difference. What does not apply is left out.
#[derive(Debug, Serialize)]
pub(crate) struct DifferenceReport {
    pub(crate) kind: Kind,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reference: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) payment_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) transaction_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) files: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) payments: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) ledger: String,
}

impl ReconciliationReport {
    /// `names` are the files' names.
    pub(crate) fn new(found: Reconciliation, names: &[String]) -> Self {
        let suppliers: Vec<_> = found.suppliers.into_iter().map(of_supplier).collect();
        let differences = found.differences.into_iter();
        Self {
            agree: differences.len() == 0,
            rows: found.rows,
            payments: found.payments,
            transactions: found.transactions,
            totals: found.totals.into_iter().map(sums).collect(),
            supplier_count: suppliers.len(),
            suppliers,
            differences: differences.map(|one| of_difference(one, names)).collect(),
            other_payments: found.other_payments,
            other_transactions: found.other_transactions,
        }
    }
}

fn sums(three: ThreeSums) -> SumsReport {
    SumsReport {
        currency: three.files.currency().code().to_owned(),
        agree: three.agree(),
        files: three.files.to_decimal(),
        payments: three.payments.to_decimal(),
        ledger: three.ledger.to_decimal(),
        rows: three.rows,
        payment_count: three.payment_count,
        transaction_count: three.transaction_count,
    }
}

fn of_supplier(one: SupplierSums) -> SupplierReport {
    SupplierReport {
        supplier: one.supplier.name,
        supplier_id: one.supplier.id,
        sums: sums(one.sums),
    }
}

fn of_difference(one: Difference, names: &[String]) -> DifferenceReport {
    let name = one.place.and_then(|place| names.get(place.file));
    DifferenceReport {
        kind: one.kind,
        file: name.cloned().unwrap_or_default(),
        line: one.place.map(|place| place.line),
        reference: one.reference,
        payment_id: one.payment_id,
        transaction_id: one.transaction_id,
        files: one.files,
        payments: one.payments,
        ledger: one.ledger,
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::PaymentMissing => "no payment",
            Self::PaymentNotCompleted => "payment not completed",
            Self::PaymentAmount => "paid another amount",
            Self::PaymentSupplier => "paid to another supplier",
            Self::PaymentExtra => "payment that no row asks for",
            Self::TransactionMissing => "not in the ledger",
            Self::TransactionAmount => "another amount in the ledger",
            Self::TransactionSupplier => "another supplier in the ledger",
            Self::TransactionNotStanding => "does not stand in the ledger",
            Self::TransactionExtra => "transaction that no payment explains",
        }
    }
}

/// The text: totals, the suppliers that do not agree, every difference.
pub(crate) fn text(found: Option<&ReconciliationReport>, f: &mut Formatter<'_>) -> fmt::Result {
    let Some(found) = found else {
        return Ok(());
    };
    writeln!(f, "\nFiles, payments and ledger, payments less refunds")?;
    for total in &found.totals {
        line("in total", total, f)?;
    }
    let disagreeing = found.suppliers.iter().filter(|one| !one.sums.agree);
    let mut count = 0_usize;
    for one in disagreeing {
        count += 1;
        let name = match one.supplier_id.as_str() {
            "" => one.supplier.clone(),
            id => format!("{} ({id})", one.supplier),
        };
        line(&name, &one.sums, f)?;
    }
    writeln!(
        f,
        "  {} of {} suppliers agree",
        found.supplier_count - count,
        found.supplier_count
    )?;
    if found.other_payments + found.other_transactions > 0 {
        writeln!(
            f,
            "  besides, of others: {} payments, {} transactions",
            found.other_payments, found.other_transactions
        )?;
    }
    writeln!(f, "  {} differences", found.differences.len())?;
    for one in &found.differences {
        difference(one, f)?;
    }
    Ok(())
}

fn line(name: &str, sums: &SumsReport, f: &mut Formatter<'_>) -> fmt::Result {
    let agree = if sums.agree { "agree" } else { "DIFFER" };
    writeln!(
        f,
        "  {name}: files {} ({}), payments {} ({}), ledger {} ({}) {}: {agree}",
        sums.files,
        sums.rows,
        sums.payments,
        sums.payment_count,
        sums.ledger,
        sums.transaction_count,
        sums.currency,
    )
}

fn difference(one: &DifferenceReport, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "  ")?;
    if let Some(line) = one.line {
        write!(f, "{}:{line}  ", one.file)?;
    }
    write!(f, "{}", one.kind.words())?;
    for (name, value) in [
        ("", &one.reference),
        ("payment ", &one.payment_id),
        ("transaction ", &one.transaction_id),
        ("files: ", &one.files),
        ("payments: ", &one.payments),
        ("ledger: ", &one.ledger),
    ] {
        if !value.is_empty() {
            write!(f, "; {name}{value}")?;
        }
    }
    writeln!(f)
}
