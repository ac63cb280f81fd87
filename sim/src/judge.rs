//! Whether a run was right. Pure; what it finds is what the platform promises never happens.

use std::collections::{BTreeMap, BTreeSet};

use mizan_contracts::{
    accounting::v1::{Side, Transaction},
    invoice::v1::{Invoice, InvoiceState},
    payment::v1::{Payment, PaymentState},
    r#type::v1::Money,
};

use crate::{
    books::Books,
    clients::Record,
    plan::{Intent, Kind, Plan},
};

/// Everything that is wrong, a line each.
pub(crate) fn judge(plan: &Plan, record: &Record, books: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    for intent in &plan.intents {
        once(intent, record, books, &mut wrong);
    }
    for (id, payment) in &books.payments {
        invariant(id, payment, books, &mut wrong);
    }
    strangers(books, &mut wrong);
    balance(books, &mut wrong);
    numbers(books, &mut wrong);
    wrong
}

/// What was wanted was done once, and everybody was told the same.
fn once(intent: &Intent, record: &Record, books: &Books, wrong: &mut Vec<String>) {
    let id = &intent.id;
    let payments = books
        .payments
        .values()
        .filter(|payment| payment.reference == *id);
    let made: Vec<&Payment> = payments.collect();
    if made.len() != 1 {
        wrong.push(format!("{id}: {} payments were made of it", made.len()));
    }
    let expected = |state| match intent.kind {
        Kind::Paid | Kind::Refund => state == PaymentState::Completed,
        Kind::Refused => matches!(state, PaymentState::Compensated | PaymentState::Failed),
    };
    for payment in made {
        if !expected(payment.state()) {
            wrong.push(format!(
                "{id}: it ended {:?}: {:?}",
                payment.state(),
                payment.failure
            ));
        }
        let told = record.ended.get(&payment.payment_id);
        let now = BTreeSet::from([payment.state()]);
        if told.is_some_and(|told| *told != now) {
            wrong.push(format!("{id}: {told:?} was told, and it is {now:?}"));
        }
    }
    for (refused, why) in &record.refused {
        if refused == id {
            wrong.push(format!("{id}: refused: {why}"));
        }
    }
}

/// Exactly one of: an invoice and one transaction; or no invoice, or a void one, and no money moved.
fn invariant(id: &str, payment: &Payment, books: &Books, wrong: &mut Vec<String>) {
    let invoices: Vec<&Invoice> = books
        .invoices
        .iter()
        .filter(|invoice| invoice.reference == id)
        .collect();
    let transactions: Vec<&Transaction> = books
        .transactions
        .iter()
        .filter(|transaction| transaction.reference == id)
        .collect();
    let standing = invoices
        .iter()
        .filter(|invoice| invoice.state() != InvoiceState::Void)
        .count();
    match payment.state() {
        PaymentState::Completed => {
            let ([invoice], [transaction]) = (invoices.as_slice(), transactions.as_slice()) else {
                wrong.push(format!(
                    "{id}: completed with {} invoices and {} transactions",
                    invoices.len(),
                    transactions.len()
                ));
                return;
            };
            if invoice.state() != InvoiceState::Paid || invoice.invoice_id != payment.invoice_id {
                wrong.push(format!(
                    "{id}: completed, and its invoice is {:?}",
                    invoice.state()
                ));
            }
            if transaction.transaction_id != payment.transaction_id {
                wrong.push(format!("{id}: its transaction is not the one it names"));
            }
            if invoice.total != payment.amount || moved(transaction) != payment.amount {
                wrong.push(format!("{id}: the amounts differ"));
            }
        }
        PaymentState::Compensated | PaymentState::Failed => {
            if standing > 0 || !transactions.is_empty() {
                wrong.push(format!(
                    "{id}: not made, with {standing} standing invoices and {} transactions",
                    transactions.len()
                ));
            }
        }
        state => wrong.push(format!("{id}: it has not ended, it is {state:?}")),
    }
}

/// What a transaction debits in all; `None` if its legs do not balance.
fn moved(transaction: &Transaction) -> Option<Money> {
    let side = |side: Side| {
        let mut legs = transaction.legs.iter().filter(|leg| leg.side() == side);
        match (legs.next(), legs.next()) {
            (Some(leg), None) => leg.amount.clone(),
            _ => None,
        }
    };
    let debited = side(Side::Debit);
    (debited == side(Side::Credit)).then_some(debited).flatten()
}

/// Nothing stands in the books that no payment made.
fn strangers(books: &Books, wrong: &mut Vec<String>) {
    let references = books.invoices.iter().map(|invoice| &invoice.reference);
    let posted = books
        .transactions
        .iter()
        .map(|transaction| &transaction.reference);
    for reference in references.chain(posted) {
        if !books.payments.contains_key(reference) {
            wrong.push(format!("{reference}: in the books, and no payment"));
        }
    }
}

/// Debits are credits, and what is counted is there.
fn balance(books: &Books, wrong: &mut Vec<String>) {
    let counted = i64::try_from(books.transactions.len());
    if counted != Ok(books.trial.transactions) {
        wrong.push(format!(
            "{} transactions are listed and {} counted",
            books.transactions.len(),
            books.trial.transactions
        ));
    }
    for total in &books.trial.totals {
        let zero = total
            .difference
            .as_ref()
            .is_some_and(|d| d.units == 0 && d.nanos == 0);
        if !zero || total.debits != total.credits {
            wrong.push(format!("the books do not balance: {total:?}"));
        }
    }
    let sequences: BTreeSet<i64> = books.transactions.iter().map(|t| t.sequence).collect();
    if !(1..)
        .zip(&sequences)
        .all(|(expected, found)| expected == *found)
        || sequences.len() != books.transactions.len()
    {
        wrong.push(format!("the journal's sequence has gaps: {sequences:?}"));
    }
}

/// The numbers of each series of invoices are 1 to n, each once.
fn numbers(books: &Books, wrong: &mut Vec<String>) {
    let mut series: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for invoice in &books.invoices {
        let number = invoice.number.as_str();
        if number.is_empty() {
            continue;
        }
        let name = number.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = number.get(name.len()..).unwrap_or_default();
        match digits.parse() {
            Ok(counted) => series.entry(name).or_default().push(counted),
            Err(_) => wrong.push(format!("{number:?} is not the number of an invoice")),
        }
    }
    for (name, mut counted) in series {
        counted.sort_unstable();
        if !(1..)
            .zip(&counted)
            .all(|(expected, found)| expected == *found)
        {
            wrong.push(format!(
                "the series {name} has gaps or doubles: {counted:?}"
            ));
        }
    }
}
