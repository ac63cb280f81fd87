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
        refunds(intent, record, books, &mut wrong);
        cancelled(intent, record, books, &mut wrong);
    }
    for (id, payment) in &books.payments {
        told(id, payment, record, &mut wrong);
        invariant(id, payment, books, &mut wrong);
    }
    if !books.journal.valid || !books.journal.complete {
        let faults = &books.journal.faults;
        wrong.push(format!("the journal is damaged: {faults:?}"));
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
        Kind::Refused => is_undone(state),
        Kind::Cancelled(_) => state == PaymentState::Completed || is_undone(state),
    };
    for payment in made {
        if !expected(payment.state()) {
            wrong.push(format!(
                "{id}: it ended {:?}: {:?}",
                payment.state(),
                payment.failure
            ));
        }
    }
    for (refused, why) in &record.refused {
        if refused == id {
            wrong.push(format!("{id}: refused: {why}"));
        }
    }
}

const fn is_undone(state: PaymentState) -> bool {
    matches!(state, PaymentState::Compensated | PaymentState::Failed)
}

/// Everybody who was told an end was told this one.
fn told(id: &str, payment: &Payment, record: &Record, wrong: &mut Vec<String>) {
    let told = record.ended.get(id);
    let now = BTreeSet::from([payment.state()]);
    if told.is_some_and(|told| *told != now) {
        wrong.push(format!("{id}: {told:?} was told, and it is {now:?}"));
    }
}

/// A cancel that was acknowledged is one; and nothing else undoes a payment that can be made.
fn cancelled(intent: &Intent, record: &Record, books: &Books, wrong: &mut Vec<String>) {
    let id = &intent.id;
    let (Kind::Cancelled(_), Some(payment)) = (intent.kind, books.payments.get(id)) else {
        return;
    };
    let acknowledged = record.cancelled.contains(id);
    let perhaps = record.perhaps_cancelled.contains(id);
    let undone = is_undone(payment.state());
    if acknowledged && !undone {
        wrong.push(format!(
            "{id}: its cancelling was acknowledged, and it is made"
        ));
    }
    if undone {
        let reason = payment.failure.as_ref().map(|failure| &*failure.reason);
        if reason != Some("CANCELLED") || !(acknowledged || perhaps) {
            wrong.push(format!("{id}: undone by {reason:?}, and not by its client"));
        }
    }
}

/// What was asked back was paid back or refused for want of money; together never more than was
/// paid; each as a credit note on the invoice and a transaction that goes the other way.
fn refunds(intent: &Intent, record: &Record, books: &Books, wrong: &mut Vec<String>) {
    let Some(paid) = books.payments.get(&intent.id) else {
        return;
    };
    let of = |payment: &&Payment| payment.refunded_payment_id == intent.id;
    let made: Vec<&Payment> = books.payments.values().filter(of).collect();
    let back: i64 = made
        .iter()
        .map(|refund| pence(refund.amount.as_ref()))
        .sum();
    if back > intent.amount {
        let paid = intent.amount;
        wrong.push(format!("{}: {back} were paid back of {paid}", intent.id));
    }
    for part in &intent.refunds {
        let id = &part.id;
        let refused = record.refused.get(id);
        match (books.payments.get(id), refused) {
            (Some(refund), None) => {
                if refund.state() != PaymentState::Completed {
                    wrong.push(format!("{id}: the refund is {:?}", refund.state()));
                }
                reverses(refund, paid, books, wrong);
            }
            (None, Some(why)) if why.contains("REFUND_TOO_LARGE") => {
                if back + part.amount.unwrap_or(1) <= intent.amount {
                    wrong.push(format!("{id}: refused, and {back} only were paid back"));
                }
            }
            // Nobody asks back what is not paid, nor by another id than the payment's.
            (None, None) if !record.sent.contains(id) => {}
            (found, why) => {
                let found = found.map(Payment::state);
                wrong.push(format!("{id}: the refund is {found:?}, refused: {why:?}"));
            }
        }
    }
}

/// The refund's note is on the payment's invoice, and its transaction has the legs swapped.
fn reverses(refund: &Payment, paid: &Payment, books: &Books, wrong: &mut Vec<String>) {
    let note = |invoice: &&Invoice| invoice.invoice_id == refund.invoice_id;
    let note = books.invoices.iter().find(note);
    if note.map(|note| &note.credited_invoice_id) != Some(&paid.invoice_id) {
        let id = &refund.payment_id;
        wrong.push(format!("{id}: its note is not on the payment's invoice"));
    }
    let sides = |payment: &Payment| {
        let transaction = books
            .transactions
            .iter()
            .find(|transaction| transaction.transaction_id == payment.transaction_id);
        let legs = transaction.map(|transaction| &transaction.legs);
        let account = |side: Side| {
            let leg = legs?.iter().find(|leg| leg.side() == side)?;
            Some(leg.account_id.clone())
        };
        (account(Side::Debit), account(Side::Credit))
    };
    let (debit, credit) = sides(paid);
    if sides(refund) != (credit, debit) {
        let id = &refund.payment_id;
        wrong.push(format!("{id}: its transaction does not go the other way"));
    }
}

/// What an amount of pounds is in pence.
fn pence(amount: Option<&Money>) -> i64 {
    amount.map_or(0, |m| m.units * 100 + i64::from(m.nanos) / 10_000_000)
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
    let documents: BTreeSet<&str> = books
        .payments
        .values()
        .map(|payment| payment.invoice_id.as_str())
        .collect();
    // One that was voided before it was made names nothing but its own id.
    let is_tombstone =
        |invoice: &&Invoice| invoice.state() == InvoiceState::Void && invoice.reference.is_empty();
    let (tombstones, invoices): (Vec<_>, Vec<_>) = books.invoices.iter().partition(is_tombstone);
    for invoice in tombstones {
        if !documents.contains(invoice.invoice_id.as_str()) {
            wrong.push(format!("{}: fenced, and no payment", invoice.invoice_id));
        }
    }
    let references = invoices.into_iter().map(|invoice| &invoice.reference);
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
