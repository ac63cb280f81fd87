//! `mizan payments retry` and `cancel`: a person decides.
//!
//! Each decision has a `request_id`; the service remembers it, so a decision whose answer was lost
//! is sent again, by the channel or by the person (`--request-id`), and counts once.

use mizan::Channel;
use mizan_contracts::payment::v1::{
    CancelPaymentRequest, ListPaymentsRequest, Payment as Wire, PaymentState, RetryPaymentRequest,
    payment_service_client::PaymentServiceClient,
};
use serde::Serialize;
use tonic::Status;
use uuid::Uuid;

use super::{
    Common,
    service::{Trouble, client, is_refusal},
    text,
    view::Payment,
};
use crate::{
    replay::answer::describe,
    terminal::{print_json, print_lines, say},
};

/// The most payments that a page of parked ones has.
const PAGE: i32 = 1000;

/// Lets parked payments go on from where they stand, after what kept them was mended.
#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// The payments' ids.
    #[arg(value_name = "ID", required_unless_present = "all")]
    payment_ids: Vec<String>,

    /// All that are in NEEDS_ATTENTION.
    #[arg(long, conflicts_with = "payment_ids")]
    all: bool,

    /// The id of this decision, to repeat one whose answer was lost; a new one by default.
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    request_id: Option<String>,

    #[command(flatten)]
    common: Common,
}

/// Cancels payments that the ledger cannot have: they are undone and never made.
#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// The payments' ids.
    #[arg(value_name = "ID", required = true)]
    payment_ids: Vec<String>,

    /// Why; it is kept with the payment.
    #[arg(long, default_value = "cancelled by hand")]
    reason: String,

    /// The id of this decision, to repeat one whose answer was lost; a new one by default.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    #[command(flatten)]
    common: Common,
}

/// What became of one payment, as shown.
#[derive(Debug, Serialize)]
struct Steered {
    payment_id: String,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<Payment>,
    /// Why it could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Refusal>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    message: String,
    /// Whether asking again, the same, would be answered the same.
    #[serde(rename = "final")]
    is_final: bool,
}

/// Runs `mizan payments retry`.
pub(super) async fn retry(args: RetryArgs) -> Result<(), Trouble> {
    let mut client = client(&args.common).await?;
    let ids = match args.all {
        true => parked(&mut client).await?,
        false => args.payment_ids,
    };
    let ids = Ids::new(ids, args.request_id);
    let mut done = Vec::new();
    for (payment_id, request_id) in ids {
        let asked = RetryPaymentRequest {
            payment_id: payment_id.clone(),
            request_id: request_id.clone(),
        };
        let answer = client.retry_payment(asked).await;
        done.push(steered(
            payment_id,
            request_id,
            answer.map(|a| a.into_inner()),
        ));
    }
    tell(&args.common, &done)
}

/// Runs `mizan payments cancel`.
pub(super) async fn cancel(args: CancelArgs) -> Result<(), Trouble> {
    let mut client = client(&args.common).await?;
    let mut done = Vec::new();
    for (payment_id, request_id) in Ids::new(args.payment_ids, args.request_id) {
        let asked = CancelPaymentRequest {
            payment_id: payment_id.clone(),
            request_id: request_id.clone(),
            reason: args.reason.clone(),
        };
        let answer = client.cancel_payment(asked).await;
        done.push(steered(
            payment_id,
            request_id,
            answer.map(|a| a.into_inner()),
        ));
    }
    tell(&args.common, &done)
}

/// Payments, each with the id of the decision about it.
struct Ids {
    payments: std::vec::IntoIter<String>,
    given: Option<String>,
    several: bool,
}

impl Ids {
    fn new(payments: Vec<String>, given: Option<String>) -> Self {
        Self {
            several: payments.len() > 1,
            payments: payments.into_iter(),
            given,
        }
    }
}

impl Iterator for Ids {
    type Item = (String, String);

    fn next(&mut self) -> Option<Self::Item> {
        let payment = self.payments.next()?;
        let request = match &self.given {
            // One id is one request: of several payments each needs its own, and the same again.
            Some(given) if self.several => Uuid::new_v5(
                &Uuid::NAMESPACE_OID,
                format!("{given}/{payment}").as_bytes(),
            )
            .to_string(),
            Some(given) => given.clone(),
            None => Uuid::new_v4().to_string(),
        };
        Some((payment, request))
    }
}

async fn parked(client: &mut PaymentServiceClient<Channel>) -> Result<Vec<String>, Trouble> {
    let mut ids = Vec::new();
    let mut asked = ListPaymentsRequest {
        page_size: PAGE,
        state: PaymentState::NeedsAttention.into(),
        ..ListPaymentsRequest::default()
    };
    loop {
        let page = client.list_payments(asked.clone()).await?.into_inner();
        ids.extend(page.payments.into_iter().map(|payment| payment.payment_id));
        asked.page_token = page.next_page_token;
        if asked.page_token.is_empty() {
            return Ok(ids);
        }
    }
}

fn steered(payment_id: String, request_id: String, answer: Result<Wire, Status>) -> Steered {
    let (payment, error) = match answer {
        Ok(payment) => (Some(Payment::from(payment)), None),
        Err(status) => {
            say(&format!(
                "mizan payments: {payment_id}: {}",
                describe(&status)
            ));
            let refusal = Refusal {
                code: format!("{:?}", status.code()),
                reason: mizan::status::reason(&status),
                message: status.message().to_owned(),
                is_final: is_refusal(&status),
            };
            (None, Some(refusal))
        }
    };
    Steered {
        payment_id,
        request_id,
        payment,
        error,
    }
}

/// Tells what became of each; the trouble if some could not be done.
fn tell(common: &Common, done: &[Steered]) -> Result<(), Trouble> {
    if common.json {
        print_json(&format!("{}\n", serde_json::to_string_pretty(done)?));
    } else {
        print_lines(&lines(done));
    }
    let failed: Vec<&Refusal> = done.iter().filter_map(|one| one.error.as_ref()).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Trouble::Some {
            failed: failed.len(),
            asked: done.len(),
            refused: failed.iter().all(|refusal| refusal.is_final),
        }),
    }
}

fn lines(done: &[Steered]) -> String {
    if done.is_empty() {
        return "no payment needs attention\n".to_owned();
    }
    let told = done.iter().filter_map(|one| one.payment.as_ref());
    let line = |payment: &Payment| {
        let conclusion = text::conclusion(payment);
        let first = conclusion.lines().next().unwrap_or_default();
        format!("{} is {}: {first}\n", payment.payment_id, payment.state)
    };
    told.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_payment_has_a_decision_of_its_own_and_the_same_again() {
        let ids = |payments: &[&str], given: Option<&str>| -> Vec<String> {
            let payments = payments.iter().map(|id| (*id).to_owned()).collect();
            Ids::new(payments, given.map(str::to_owned))
                .map(|(_, request)| request)
                .collect()
        };
        assert_eq!(ids(&["p1"], Some("d")), ["d"]);
        let several = ids(&["p1", "p2"], Some("d"));
        assert_eq!(several, ids(&["p1", "p2"], Some("d")));
        assert_ne!(several[0], several[1]);
        assert_ne!(ids(&["p1"], None), ids(&["p1"], None));
    }
}
