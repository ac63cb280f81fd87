//! A call that is repeated until its end is known, or patience is over.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};
use tonic::Status;

use super::answer::Verdict;

/// The first wait between two tries; it doubles up to the longest. Short, since a killed instance
/// is replaced by its twin at once; bounded, since the service comes back without telling.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(2);

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End<T> {
    /// It is done.
    Done { value: T, took: Duration },
    /// It will never be done.
    Refused(String),
    /// Patience ended first. It may be done yet.
    Unknown(String),
}

/// Calls `ask` until `judge` says that its answer is an end, for at most `patience`. Each time it
/// must wait it tells `waiting` why.
pub(crate) async fn until_known<A, T, F>(
    mut ask: impl FnMut() -> F,
    judge: impl Fn(Result<A, Status>) -> Verdict<T>,
    patience: Duration,
    waiting: impl Fn(&str),
) -> End<T>
where
    F: Future<Output = Result<A, Status>>,
{
    let began = Instant::now();
    let mut backoff = BACKOFF_FIRST;
    loop {
        match judge(ask().await) {
            Verdict::Done(value) => {
                let took = began.elapsed();
                return End::Done { value, took };
            }
            Verdict::Refused(reason) => return End::Refused(reason),
            Verdict::Again { why, after } => {
                let left = patience.saturating_sub(began.elapsed());
                if left.is_zero() {
                    return End::Unknown(why);
                }
                waiting(&why);
                sleep(with_jitter(backoff).max(after).min(left)).await;
                backoff = (backoff * 2).min(BACKOFF_LONGEST);
            }
        }
    }
}

/// The same, give or take a fifth, so that rows that failed together do not come back together.
pub(crate) fn with_jitter(wait: Duration) -> Duration {
    wait * fastrand::u32(80..=120) / 100
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use mizan::status::retry_later;
    use mizan_contracts::payment::v1::{Payment, PaymentState};
    use tonic::Code;

    use super::*;
    use crate::replay::answer::judge_payment;

    type PaymentEnd = End<Option<(i64, i32)>>;

    const PATIENCE: Duration = Duration::from_secs(120);

    fn payment(state: PaymentState) -> Payment {
        Payment {
            state: state.into(),
            ..Payment::default()
        }
    }

    /// Plays the answers in order; the last again and again. Gives the end and the tries.
    async fn play(answers: Vec<Result<Payment, Status>>) -> (PaymentEnd, usize) {
        let tries = Cell::new(0);
        let end = until_known(
            || {
                let index = tries.get().min(answers.len() - 1);
                tries.set(tries.get() + 1);
                std::future::ready(answers[index].clone())
            },
            judge_payment,
            PATIENCE,
            |_| (),
        )
        .await;
        (end, tries.get())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_end_is_asked_again_until_it_is_known() {
        let answers = vec![
            Err(Status::unavailable("down")),
            Ok(payment(PaymentState::Recorded)),
            Ok(payment(PaymentState::Completed)),
        ];
        let (end, tries) = play(answers).await;
        assert!(matches!(end, End::Done { .. }), "{end:?}");
        assert_eq!(tries, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_asked_again() {
        let (end, tries) = play(vec![Err(Status::invalid_argument("no"))]).await;
        assert!(matches!(end, End::Refused(_)));
        assert_eq!(tries, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let began = Instant::now();
        let (end, tries) = play(vec![Err(Status::unavailable("down"))]).await;
        assert_eq!(end, End::Unknown("Unavailable: down".to_owned()));
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        // Five short waits, then about two seconds each.
        assert!((50..=80).contains(&tries), "{tries}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_service_decides_how_long_to_wait() {
        let after = Duration::from_secs(9);
        let busy = retry_later(Code::ResourceExhausted, "RATE_LIMITED", "busy", after);
        let heard = RefCell::new(Vec::new());
        let answers = RefCell::new(vec![Ok(payment(PaymentState::Completed)), Err(busy)]);
        let end = until_known(
            || std::future::ready(answers.borrow_mut().pop().unwrap()),
            judge_payment,
            PATIENCE,
            |why| heard.borrow_mut().push(why.to_owned()),
        )
        .await;
        assert!(matches!(end, End::Done { took, .. } if took >= after));
        assert_eq!(*heard.borrow(), ["RATE_LIMITED: busy"]);
    }
}
