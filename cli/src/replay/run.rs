//! The run: every row through ProcessPayment, so many at a time; then the books.

use std::{cell::Cell, io};

use futures_util::{StreamExt as _, stream};
use mizan_contracts::{accounting::v1::TrialBalance as Books, r#type::v1::Money as WireMoney};

use super::{
    Args,
    expected::{Known, Rows},
    outage::Outage,
    patience::End,
    progress::Progress,
    reconcile::{Reconciler, Reconciliation},
    report::{CurrencyTotal, TrialBalance},
    services::Services,
    sheet::Sheet,
    sources::{Step, steps},
    tally::{Outcome, Tally},
};
use crate::signals::Signals;

/// Why a run ended before its rows did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The payments that exist cannot be asked for.
    #[error("cannot ask for the payments that exist already: {0}")]
    Known(String),
    /// Asked to stop twice.
    #[error("interrupted; rows in flight may be paid yet, run again to know")]
    Interrupted,
    /// The system does not give signals.
    #[error("cannot listen for signals")]
    Signals(#[from] io::Error),
}

/// Pays rows. There is one for a run.
#[derive(Debug)]
pub(crate) struct Payer<'a> {
    args: &'a Args,
    services: &'a Services<'a>,
    progress: &'a Progress,
    /// The rows' payments that there were before this run.
    known: Known,
    outage: Outage,
    /// No row is begun any more.
    stopped: Cell<bool>,
}

impl<'a> Payer<'a> {
    /// Learns which of the rows were asked for already: those that are completed cost no call.
    pub(crate) async fn new(
        args: &'a Args,
        services: &'a Services<'a>,
        rows: &Rows,
        progress: &'a Progress,
    ) -> Result<Self, RunError> {
        let mut known = Known::default();
        services
            .payments(|payment| known.note(rows, payment))
            .await
            .map_err(RunError::Known)?;
        Ok(Self {
            args,
            services,
            progress,
            known,
            outage: Outage::default(),
            stopped: Cell::new(false),
        })
    }

    /// Pays all rows. One whose end could not be known is noted, and the others go on. After an
    /// interrupt, or when the services are away, no further row is begun; those in flight are
    /// finished.
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
            Step::Pay { request, amount } if self.known.completed(&request) => {
                return Outcome::AlreadyPaid { amount, took: None };
            }
            Step::Pay { .. } if self.args.check => return Outcome::OnlyChecked,
            Step::Pay { .. } if self.stopped.get() => return Outcome::NotSent,
            Step::Pay { request, amount } => (request, amount),
        };
        let asked = self.outage.asks();
        let end = self.services.pay(&request).await;
        if !matches!(end, End::Unknown(_)) {
            self.outage.settled(asked);
        } else if self.outage.waited_in_vain(asked) && !self.stopped.replace(true) {
            self.progress
                .notice("out of patience, and nothing is settled; no further row is begun");
        }
        match end {
            End::Done { took, .. } if self.known.has(&request.request_id) => Outcome::AlreadyPaid {
                amount,
                took: Some(took),
            },
            End::Done { took, .. } => Outcome::Paid { amount, took },
            End::Refused(reason) => Outcome::Refused(reason),
            End::Unknown(why) => Outcome::Unknown(why),
        }
    }
}

/// Holds files, payments and ledger against each other.
pub(crate) async fn reconcile(
    services: &Services<'_>,
    rows: &Rows,
    nothing_else: bool,
) -> Result<Reconciliation, String> {
    let mut reconciler = Reconciler::new(rows, nothing_else);
    services
        .transactions(|transaction| reconciler.transaction(transaction))
        .await?;
    services
        .payments(|payment| reconciler.payment(payment))
        .await?;
    Ok(reconciler.finish())
}

/// The ledger's own check of all it holds.
pub(crate) async fn trial_balance(services: &Services<'_>) -> Result<TrialBalance, String> {
    let books = services.trial_balance().await?;
    read_books(&books).map_err(|e| format!("its answer {e}"))
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
