//! `mizan payments list`.

use clap::ValueEnum;
use mizan_contracts::payment::v1::{
    ListPaymentsRequest, PaymentState, payment_service_client::PaymentServiceClient,
};
use prost_types::Timestamp;
use serde::Serialize;

use super::{
    Common,
    service::{Trouble, client},
    text, time, view,
};
use crate::terminal::{print_json, print_lines};

/// Lists payments and refunds, newest first; those that wait for a person first of all.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only those in this state.
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<State>,

    /// Only those accepted then or later: 2026-11-25 or 2026-11-25T07:30:00Z.
    #[arg(long, value_name = "TIME", value_parser = time::read)]
    since: Option<Timestamp>,

    /// Only those accepted before.
    #[arg(long, value_name = "TIME", value_parser = time::read)]
    until: Option<Timestamp>,

    /// Only those with this reference.
    #[arg(long, default_value = "", value_name = "REFERENCE")]
    reference: String,

    /// Only the refunds of this payment.
    #[arg(long, default_value = "", value_name = "ID")]
    refunds_of: String,

    /// How many to show.
    #[arg(
        long,
        default_value_t = 50,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    page_size: u16,

    /// The page after the one that ended with this token, with the same filters.
    #[arg(long, default_value = "", value_name = "TOKEN")]
    page_token: String,

    #[command(flatten)]
    common: Common,
}

/// The states by their names on the command line: `needs-attention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Accepted,
    Invoiced,
    Recorded,
    Completed,
    Compensating,
    Compensated,
    Failed,
    NeedsAttention,
}

impl From<State> for PaymentState {
    fn from(state: State) -> Self {
        match state {
            State::Accepted => Self::Accepted,
            State::Invoiced => Self::Invoiced,
            State::Recorded => Self::Recorded,
            State::Completed => Self::Completed,
            State::Compensating => Self::Compensating,
            State::Compensated => Self::Compensated,
            State::Failed => Self::Failed,
            State::NeedsAttention => Self::NeedsAttention,
        }
    }
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Listing {
    /// Those that wait for a person, by the same filters. Left out when a state was asked for, and
    /// on the pages after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_attention: Option<Page>,
    #[serde(flatten)]
    all: Page,
}

#[derive(Debug, Serialize)]
struct Page {
    payments: Vec<view::Payment>,
    /// Empty on the last page.
    next_page_token: String,
}

impl Args {
    fn request(&self, state: PaymentState) -> ListPaymentsRequest {
        ListPaymentsRequest {
            page_size: i32::from(self.page_size),
            page_token: String::new(),
            state: state.into(),
            reference: self.reference.clone(),
            refunded_payment_id: self.refunds_of.clone(),
            create_time_from: self.since,
            create_time_until: self.until,
        }
    }
}

/// Runs the command.
pub(super) async fn run(args: Args) -> Result<(), Trouble> {
    let mut client = client(&args.common).await?;
    let first_of_all = args.state.is_none() && args.page_token.is_empty();
    let needs_attention = match first_of_all {
        true => Some(page(&mut client, args.request(PaymentState::NeedsAttention)).await?),
        false => None,
    };
    let state = args.state.map_or(PaymentState::Unspecified, Into::into);
    let asked = ListPaymentsRequest {
        page_token: args.page_token.clone(),
        ..args.request(state)
    };
    let listing = Listing {
        needs_attention,
        all: page(&mut client, asked).await?,
    };
    if args.common.json {
        print_json(&format!("{}\n", serde_json::to_string_pretty(&listing)?));
    } else {
        print_lines(&shown(&listing));
    }
    Ok(())
}

async fn page(
    client: &mut PaymentServiceClient<mizan::Channel>,
    request: ListPaymentsRequest,
) -> Result<Page, Trouble> {
    let answer = client.list_payments(request).await?.into_inner();
    Ok(Page {
        payments: answer.payments.into_iter().map(Into::into).collect(),
        next_page_token: answer.next_page_token,
    })
}

fn shown(listing: &Listing) -> String {
    let mut text = String::new();
    let waiting = listing.needs_attention.as_ref();
    if let Some(waiting) = waiting.filter(|page| !page.payments.is_empty()) {
        let count = waiting.payments.len();
        let many = match (count, waiting.next_page_token.is_empty()) {
            (1, true) => "1 payment needs".to_owned(),
            (_, true) => format!("{count} payments need"),
            // More than a page of them: which are shown are the newest.
            (_, false) => format!("more than {count} payments need"),
        };
        text.push_str(&format!(
            "{many} attention: mizan payments show, retry or cancel ID\n\n{}\nALL\n",
            text::payments(&waiting.payments)
        ));
    }
    match listing.all.payments.is_empty() {
        true => text.push_str("no payments\n"),
        false => text.push_str(&text::payments(&listing.all.payments)),
    }
    if !listing.all.next_page_token.is_empty() {
        let token = &listing.all.next_page_token;
        text.push_str(&format!("\nmore: the same with --page-token {token}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use mizan_contracts::payment::v1::Payment;

    use super::*;

    fn page(ids: &[&str], next_page_token: &str) -> Page {
        let payment = |id: &&str| {
            view::Payment::from(Payment {
                payment_id: (*id).to_owned(),
                state: PaymentState::NeedsAttention.into(),
                ..Payment::default()
            })
        };
        Page {
            payments: ids.iter().map(payment).collect(),
            next_page_token: next_page_token.to_owned(),
        }
    }

    #[test]
    fn those_that_wait_for_a_person_come_first() {
        let listing = Listing {
            needs_attention: Some(page(&["p1"], "")),
            all: page(&["p2", "p1"], "t"),
        };
        let text = shown(&listing);
        let place = |what: &str| text.find(what).unwrap_or(usize::MAX);
        assert!(text.starts_with("1 payment needs attention: "), "{text}");
        assert!(place("p1") < place("ALL\n") && place("ALL\n") < place("p2"));
        assert!(text.ends_with("--page-token t\n"), "{text}");
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let listing = Listing {
            needs_attention: Some(page(&[], "")),
            all: page(&[], ""),
        };
        assert_eq!(shown(&listing), "no payments\n");
    }

    #[test]
    fn every_state_of_the_contract_can_be_asked_for() {
        let all = State::value_variants().iter().copied();
        let states: Vec<PaymentState> = all.map(PaymentState::from).collect();
        for number in 1.. {
            let Ok(state) = PaymentState::try_from(number) else {
                break;
            };
            assert!(states.contains(&state), "{state:?}");
        }
    }
}
