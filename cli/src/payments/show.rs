//! `mizan payments show`.

use std::fmt::Write as _;

use mizan_contracts::payment::v1::GetPaymentRequest;

use super::{
    Common,
    service::{Trouble, client},
    text, timeline,
    view::Payment,
};
use crate::terminal::{print_json, print_lines};

/// Shows one payment: where it stands, what follows from that, and every step, attempt and error.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The payment's id.
    #[arg(value_name = "ID")]
    payment_id: String,

    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub(super) async fn run(args: Args) -> Result<(), Trouble> {
    let request = GetPaymentRequest {
        payment_id: args.payment_id,
    };
    let answer = client(&args.common).await?.get_payment(request).await?;
    let payment = Payment::from(answer.into_inner());
    if args.common.json {
        print_json(&format!("{}\n", serde_json::to_string_pretty(&payment)?));
    } else {
        print_lines(&shown(&payment));
    }
    Ok(())
}

fn shown(payment: &Payment) -> String {
    let mut page = format!("Payment {}\n\n", payment.payment_id);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(page, "{name:<14}{value}");
        }
    };
    let parked = match payment.parked_state.as_str() {
        "" => payment.state.clone(),
        state => format!("{}, parked in {state}", payment.state),
    };
    line("state", &parked);
    let why = payment.attention.iter().chain(&payment.failure);
    for failure in why {
        line("because", &text::failure(failure));
    }
    line("that means", &text::conclusion(payment));
    line("amount", &text::signed(payment));
    let to = match payment.counterparty_id.as_str() {
        "" => payment.counterparty.clone(),
        id => format!("{} ({id})", payment.counterparty),
    };
    line("to", &text::plain(&to));
    line("for", &text::plain(&payment.description));
    line("reference", &text::plain(&payment.reference));
    for (key, value) in &payment.metadata {
        line("metadata", &text::plain(&format!("{key}={value}")));
    }
    line("debits", &payment.expense_account_id);
    line("credits", &payment.cash_account_id);
    line("invoice", &payment.invoice_id);
    line("transaction", &payment.transaction_id);
    line("refunds", &payment.refunded_payment_id);
    line("effective", &payment.effective_time);
    line("accepted", &payment.create_time);
    line("changed", &payment.update_time);
    page.push('\n');
    page.push_str(&timeline::text(payment));
    page
}
