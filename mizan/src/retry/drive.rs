//! Runs the machine: starts attempts, waits for their ends and for pauses, gives the call's answer.
//!
//! Attempts that follow one another live inside the call's own future, so a call that goes well
//! the first time allocates nothing here. Only hedges, which run beside each other, are boxed.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use http::HeaderMap;
use tokio::time::sleep_until;
use tonic::{Code, Status};

use super::{
    policy::Policy,
    pushback::Pushback,
    replay::Replay,
    state::{Attempt, Attempts, End, Given, Next, Tally, Verdict},
    throttle::Throttle,
};

impl End {
    /// How an attempt ended that got these response headers. A response without a body carries its
    /// status in them and may still be retried; any other commits the call.
    pub(crate) fn of_response(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(Status::GRPC_STATUS) else {
            return Self::Answered;
        };
        match Code::from_bytes(value.as_bytes()) {
            Code::Ok => Self::Answered,
            code => Self::Failed {
                code,
                pushback: Pushback::read(headers),
            },
        }
    }

    /// How an attempt ended that was answered by something that does not speak gRPC.
    pub(crate) fn of_foreign(code: Code, headers: &HeaderMap) -> Self {
        Self::Failed {
            code,
            pushback: Pushback::read(headers),
        }
    }

    /// The same of a call that must not be made twice: nothing is tried again, here or by the callers
    /// above. What surely was not done stays as it is, and so does what the callee itself says to try
    /// again, by `grpc-retry-pushback-ms`. Its bare UNAVAILABLE says nothing of the kind, and may be
    /// that of a proxy which lost the callee's answer.
    pub(crate) fn once(self) -> Self {
        let pushback = Pushback::Stop;
        match self {
            Self::Failed {
                pushback: Pushback::After(_),
                ..
            } => self,
            Self::Failed { code, .. } => Self::Failed { code, pushback },
            Self::TimedOut => Self::Failed {
                code: Code::DeadlineExceeded,
                pushback,
            },
            other => other,
        }
    }

    /// How an attempt ended that got no response.
    pub(crate) fn of_code(code: Code) -> Self {
        let pushback = Pushback::None;
        Self::Failed { code, pushback }
    }
}

/// What an attempt came to.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    pub(crate) end: End,
    /// What the caller gets if this attempt's answer is the call's.
    pub(crate) answer: T,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Driven<T> {
    pub(crate) answer: T,
    /// Everything that may be tried was: mark the answer with
    /// [`mark_exhausted`](super::mark_exhausted).
    pub(crate) exhausted: bool,
    pub(crate) tally: Tally,
}

/// What one call is made under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) throttle: &'a Throttle,
    pub(crate) request: &'a Replay,
    pub(crate) deadline: Option<Instant>,
}

impl Terms<'_> {
    fn given(&self, now: Instant) -> Given {
        Given {
            now,
            jitter: fastrand::u32(..),
            affordable: self.throttle.allows(),
            sendable: self.request.can_be_sent(),
        }
    }

    /// Takes note of an end, in the order that matters: a failure is charged before it is asked
    /// whether another attempt is affordable.
    fn note(&self, attempts: &mut Attempts, id: u32, end: End) -> Given {
        if attempts.is_charged(end) {
            self.throttle.failed();
        }
        let given = self.given(now());
        attempts.ended(id, end, given);
        given
    }

    fn conclude<T>(&self, attempts: &Attempts, verdict: Verdict, answer: T) -> Driven<T> {
        self.request.commit(verdict.attempt);
        Driven {
            answer,
            exhausted: verdict.exhausted,
            tally: attempts.tally(),
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Makes a call's attempts by `attempt` until one's answer is the call's. Each attempt takes its
/// request from `terms.request` by its id and ends by itself when [`Attempt::until`] says; attempts that are no
/// longer needed are dropped. The first is always made, and so has to see itself whether it is too
/// late.
pub(crate) async fn drive<T, A, F>(terms: Terms<'_>, now: Instant, attempt: F) -> Driven<T>
where
    F: FnMut(Attempt) -> A,
    A: Future<Output = Ended<T>>,
{
    let (attempts, first) = Attempts::begin(terms.policy, terms.deadline, now);
    match terms.policy {
        Policy::Hedge(_) => Box::pin(side_by_side(terms, attempts, first, attempt)).await,
        Policy::Retry(_) | Policy::Never => one_by_one(terms, attempts, first, attempt).await,
    }
}

async fn one_by_one<T, A, F>(
    terms: Terms<'_>,
    mut attempts: Attempts,
    first: Attempt,
    mut attempt: F,
) -> Driven<T>
where
    F: FnMut(Attempt) -> A,
    A: Future<Output = Ended<T>>,
{
    let mut current = first;
    loop {
        let ended = attempt(current).await;
        if ended.end == End::Answered {
            let verdict = Verdict {
                attempt: current.id,
                exhausted: false,
            };
            return terms.conclude(&attempts, verdict, ended.answer);
        }
        let mut given = terms.note(&mut attempts, current.id, ended.end);
        current = loop {
            match attempts.next(given) {
                Next::Start(next) => break next,
                Next::WaitUntil(at) => {
                    sleep_until(at.into()).await;
                    given = terms.given(now());
                }
                Next::Done(verdict) => return terms.conclude(&attempts, verdict, ended.answer),
                // Nothing is under way that could be waited for.
                Next::Wait => {
                    let (attempt, exhausted) = (current.id, false);
                    let verdict = Verdict { attempt, exhausted };
                    return terms.conclude(&attempts, verdict, ended.answer);
                }
            }
        };
    }
}

/// Attempts under way, at most five unless the channel allows more.
struct Flights<A>(Vec<(u32, Pin<Box<A>>)>);

impl<T, A: Future<Output = Ended<T>>> Flights<A> {
    /// The end of whichever is over first; the earlier one if several are.
    fn poll_any(&mut self, context: &mut Context<'_>) -> Poll<(u32, Ended<T>)> {
        for index in 0..self.0.len() {
            if let Some((id, flight)) = self.0.get_mut(index)
                && let Poll::Ready(ended) = flight.as_mut().poll(context)
            {
                let id = *id;
                self.0.remove(index);
                return Poll::Ready((id, ended));
            }
        }
        Poll::Pending
    }
}

async fn side_by_side<T, A, F>(
    terms: Terms<'_>,
    mut attempts: Attempts,
    first: Attempt,
    mut attempt: F,
) -> Driven<T>
where
    F: FnMut(Attempt) -> A,
    A: Future<Output = Ended<T>>,
{
    let mut flights = Flights(vec![(first.id, Box::pin(attempt(first)))]);
    let mut kept = None;
    loop {
        let wait_until = loop {
            match attempts.next(terms.given(now())) {
                Next::Start(next) => flights.0.push((next.id, Box::pin(attempt(next)))),
                Next::WaitUntil(at) => break Some(at),
                Next::Wait => break None,
                Next::Done(verdict) => match kept.take() {
                    Some(answer) => {
                        // The others go first: their requests must not be read any further.
                        drop(flights);
                        return terms.conclude(&attempts, verdict, answer);
                    }
                    None => break None,
                },
            }
        };
        let Some((id, ended)) = any_end(&mut flights, wait_until).await else {
            continue;
        };
        // A request too large to be kept belongs to one attempt; the others ended for want of it.
        if let Some(only) = terms.request.committed_to() {
            flights.0.retain(|(id, _)| *id == only);
            attempts.committed();
            if id != only && !flights.0.is_empty() {
                continue;
            }
        }
        terms.note(&mut attempts, id, ended.end);
        if attempts.keeps(id) {
            kept = Some(ended.answer);
        }
    }
}

/// The next end of an attempt, or `None` once that time came.
async fn any_end<T, A>(flights: &mut Flights<A>, until: Option<Instant>) -> Option<(u32, Ended<T>)>
where
    A: Future<Output = Ended<T>>,
{
    let flown = poll_fn(|context| flights.poll_any(context));
    let Some(until) = until else {
        return Some(flown.await);
    };
    let mut flown = pin!(flown);
    let mut timer = pin!(sleep_until(until.into()));
    poll_fn(|context| {
        if let Poll::Ready(end) = flown.as_mut().poll(context) {
            return Poll::Ready(Some(end));
        }
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests;
