//! The run: every row through ProcessPayment, so many at a time, and the books' check at the end.

use std::{cell::Cell, io, time::Duration};

use futures_util::{StreamExt as _, stream};
use mizan::{Channel, InvalidChannel};
use mizan_contracts::{
    accounting::v1::{
        GetTrialBalanceRequest, TrialBalance as Books,
        accounting_service_client::AccountingServiceClient,
    },
    payment::v1::{ListPaymentsRequest, Payment, payment_service_client::PaymentServiceClient},
    r#type::v1::Money as WireMoney,
};

use super::{
    Args,
    answer::{Instant, instant, judge_payment, judge_read},
    patience::{End, until_known},
    progress::Progress,
    report::{CurrencyTotal, TrialBalance},
    sheet::Sheet,
    sources::{Step, steps},
    tally::{Outcome, Tally},
};
use crate::signals::Signals;

/// How long one call may take, retries of the channel included.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// How many of the newest payments the mark is taken from; the most that a page holds. Payments are
/// listed in the order in which they were stored, and each has the time at which it came: of those
/// that were on their way together, the last one stored need not be the last that came. So the mark
/// is exact as long as fewer than this were on their way at once when the newest was stored.
const NEWEST: i32 = 1000;

/// Pays rows. There is one for a run.
#[derive(Debug)]
pub(crate) struct Payer<'a> {
    args: &'a Args,
    payment: PaymentServiceClient<Channel>,
    progress: &'a Progress,
    /// When the newest payment was accepted that existed before this run, by the server's clock:
    /// what was accepted no later was paid before.
    mark: Option<Instant>,
    /// No row is begun any more.
    stopped: Cell<bool>,
}

/// Why a run ended before its rows did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The payments that exist cannot be asked for.
    #[error("cannot ask for the payments that exist already: {0}")]
    Mark(String),
    /// Asked to stop twice.
    #[error("interrupted; rows in flight may be paid yet, run again to know")]
    Interrupted,
    /// The system does not give signals.
    #[error("cannot listen for signals")]
    Signals(#[from] io::Error),
}

impl<'a> Payer<'a> {
    /// Learns which payments there are already.
    pub(crate) async fn new(args: &'a Args, progress: &'a Progress) -> Result<Self, RunError> {
        let payment = channel(args, "payment").map_err(|e| RunError::Mark(e.to_string()))?;
        let payment = PaymentServiceClient::new(payment);
        let newest = ListPaymentsRequest {
            page_size: NEWEST,
            ..ListPaymentsRequest::default()
        };
        let end = until_known(
            || {
                let (mut client, request) = (payment.clone(), newest.clone());
                async move { client.list_payments(request).await.map(|r| r.into_inner()) }
            },
            judge_read,
            args.patience(),
            |why| progress.waiting(why),
        )
        .await;
        let page = match end {
            End::Done { value, .. } => value,
            End::Refused(why) | End::Unknown(why) => return Err(RunError::Mark(why)),
        };
        let mark = latest(&page.payments);
        Ok(Self {
            args,
            payment,
            progress,
            mark,
            stopped: Cell::new(false),
        })
    }

    /// Pays all rows. After an interrupt, or a row whose end could not be known, no further row is
    /// begun; those in flight are finished.
    pub(crate) async fn pay_all(&self, sheets: &[Sheet<'_>]) -> Result<Tally, RunError> {
        let mut signals = Signals::new()?;
        let mut tally = Tally::new(sheets.len());
        let concurrency = usize::from(self.args.concurrency);
        let outcomes = stream::iter(steps(sheets, self.args.currency))
            .map(|(place, step)| async move { (place, self.take(step).await) })
            .buffer_unordered(concurrency);
        let mut outcomes = std::pin::pin!(outcomes);
        loop {
            tokio::select! {
                next = outcomes.next() => match next {
                    Some((place, outcome)) => {
                        tally.add(place, outcome);
                        self.progress.advance();
                    }
                    None => return Ok(tally),
                },
                () = signals.next() => {
                    if self.stopped.replace(true) {
                        return Err(RunError::Interrupted);
                    }
                    self.progress.notice("stopping after the rows in flight; again to leave at once");
                }
            }
        }
    }

    async fn take(&self, step: Step) -> Outcome {
        let (request, amount) = match step {
            Step::Done(outcome) => return outcome,
            Step::Pay { .. } if self.stopped.get() => return Outcome::NotSent,
            Step::Pay { request, amount } => (request, amount),
        };
        let end = until_known(
            || {
                let (mut client, request) = (self.payment.clone(), (*request).clone());
                async move {
                    client
                        .process_payment(request)
                        .await
                        .map(|r| r.into_inner())
                }
            },
            judge_payment,
            self.args.patience(),
            |why| self.progress.waiting(why),
        )
        .await;
        match end {
            End::Done { value, took } if self.existed(value) => {
                Outcome::AlreadyPaid { amount, took }
            }
            End::Done { took, .. } => Outcome::Paid { amount, took },
            End::Refused(reason) => Outcome::Refused(reason),
            End::Unknown(why) => {
                if !self.stopped.replace(true) {
                    self.progress
                        .notice("out of patience; no further row is begun");
                }
                Outcome::Unknown(why)
            }
        }
    }

    /// Whether a payment that was accepted then existed before this run.
    fn existed(&self, accepted: Option<Instant>) -> bool {
        accepted.zip(self.mark).is_some_and(|(at, mark)| at <= mark)
    }
}

/// When the last of these came.
fn latest(payments: &[Payment]) -> Option<Instant> {
    let times = payments.iter().filter_map(|p| p.create_time.as_ref());
    times.map(instant).max()
}

/// A channel without a breaker: each row waits and tries again by itself for as long as patience
/// lasts, and an open breaker would only keep it from noticing that the service is back.
fn channel(args: &Args, service: &str) -> Result<Channel, InvalidChannel> {
    Channel::builder(service)
        .registry(args.registry.registry.clone())
        .deadline(CALL_DEADLINE)
        .no_breaker()
        .connect()
}

/// The ledger's own check of all it holds.
pub(crate) async fn trial_balance(
    args: &Args,
    progress: &Progress,
) -> Result<TrialBalance, String> {
    let accounting = channel(args, "accounting").map_err(|e| e.to_string())?;
    let accounting = AccountingServiceClient::new(accounting);
    let end = until_known(
        || {
            let mut client = accounting.clone();
            async move {
                let request = GetTrialBalanceRequest::default();
                client
                    .get_trial_balance(request)
                    .await
                    .map(|r| r.into_inner())
            }
        },
        judge_read,
        args.patience(),
        |why| progress.waiting(why),
    )
    .await;
    match end {
        End::Done { value, .. } => read_books(&value).map_err(|e| format!("its answer {e}")),
        End::Refused(why) | End::Unknown(why) => Err(why),
    }
}

fn read_books(books: &Books) -> Result<TrialBalance, money::Error> {
    let read = |amount: &Option<WireMoney>| WireMoney::read(amount.as_ref());
    let mut totals = Vec::new();
    let mut balanced = true;
    for total in &books.totals {
        let debits = read(&total.debits)?;
        let difference = read(&total.difference)?;
        balanced &= difference.is_zero();
        totals.push(CurrencyTotal {
            currency: debits.currency().to_string(),
            debits: debits.to_decimal(),
            credits: read(&total.credits)?.to_decimal(),
            difference: difference.to_decimal(),
        });
    }
    Ok(TrialBalance {
        transactions: books.transactions,
        balanced,
        totals,
    })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn the_mark_is_the_latest_time_whatever_the_order_of_storing() {
        let at = |seconds, nanos| Payment {
            create_time: Some(Timestamp { seconds, nanos }),
            ..Payment::default()
        };
        let listed = [at(7, 1), at(7, 3), at(7, 2), Payment::default()];
        assert_eq!(latest(&listed), Some((7, 3)));
        assert_eq!(latest(&[]), None);
    }
}
