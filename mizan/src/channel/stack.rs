//! The order of the layers: the only place that composes them.
//!
//! ```text
//! call ─► trace ─► deadline ─► retry ─► limiter ─► breaker ─► pick an instance ─► HTTP/2
//!                     │          └──── each attempt passes everything to its right ────┘
//!                     └─ bounds all attempts, their pauses, and the response's body
//! ```
//!
//! | layer | why here | what breaks if moved |
//! |---|---|---|
//! | trace | one span for the call, whatever it takes | inside retry, each attempt would be a call |
//! | deadline | the caller waits for the call, not for an attempt | inside retry, three attempts take three deadlines |
//! | retry | sees every refusal and failure to its right | inside the breaker, a retry storm is one call to it |
//! | limiter | a retry is a call too | outside retry, retries exceed the rate |
//! | breaker | a call that waits for a token is not under way | outside the limiter, it holds probes that wait |
//! | pick | as late as possible: the newest snapshot | any earlier, the instance may be gone |

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body};

use super::response::Tracked;
use crate::{
    CallContext,
    balance::{Balancer, Ready},
    breaker::{self, Breaker, Permit},
    connection::SendError,
    deadline,
    limit::Limiter,
    retry::{self, Attempt, End, Ended, Memory, Policy, Replay, Tally, Terms, Throttle},
    status,
    telemetry::TraceContext,
};

/// gRFC A6: how many attempts came before this one; absent on the first.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// What a channel's clones share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) service: String,
    pub(super) deadline: Option<Duration>,
    pub(super) retry: Policy,
    pub(super) throttle: Arc<Throttle>,
    pub(super) memory: Memory,
    pub(super) limiter: Option<Limiter>,
    pub(super) breaker: Option<Breaker>,
    pub(super) balancer: Balancer,
}

/// What the caller of an attempt gets.
type Answer = Result<Response<Body>, Status>;

/// One call, from the generated client to the beginning of its response.
pub(super) async fn call(
    core: Arc<Core>,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let now = Instant::now();
    let deadline = deadline::nearest(core.deadline, request.headers(), now);
    let trace = CallContext::current().map_or_else(TraceContext::root, |c| c.trace.child());
    let mut request = Replay::new(request, &core.memory).await?;
    if let Ok(value) = HeaderValue::try_from(trace.to_string()) {
        request.headers_mut().insert(TraceContext::HEADER, value);
    }
    core.retried(&request, now, deadline).await
}

impl Core {
    /// Attempts, until one is answered or none may follow.
    async fn retried(&self, request: &Replay, now: Instant, deadline: Option<Instant>) -> Answer {
        let tried = Mutex::new(Vec::new());
        let terms = Terms {
            policy: &self.retry,
            throttle: &self.throttle,
            request,
            deadline: deadline.map(Instant::into_std),
        };
        let attempt = |attempt| self.attempt(attempt, request, &tried, deadline);
        let driven = retry::drive(terms, now.into_std(), attempt).await;
        if driven.tally != Tally::default() {
            tracing::debug!(service = %self.service, tally = ?driven.tally, "tried again");
        }
        match driven.answer {
            Ok(mut response) => {
                if driven.exhausted {
                    retry::mark_exhausted_headers(response.headers_mut());
                }
                Ok(response)
            }
            Err(status) => {
                // The caller's own error is the cause of all others.
                let own = request.broken_off();
                let mut status = own.unwrap_or_else(|| listed(status, &tried.lock()));
                if driven.exhausted {
                    retry::mark_exhausted(&mut status);
                }
                Err(status)
            }
        }
    }

    /// One attempt: limiter, breaker, and one instance.
    async fn attempt(
        &self,
        attempt: Attempt,
        request: &Replay,
        tried: &Mutex<Vec<Arc<str>>>,
        deadline: Option<Instant>,
    ) -> Ended<Answer> {
        let ended = |end, status| Ended {
            end,
            answer: Err(status),
        };
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let late = deadline::elapsed("before the call was sent");
            return ended(End::Declined, late);
        }
        if let Some(limiter) = &self.limiter
            && let Err(refusal) = limiter.acquire(deadline).await
        {
            return ended(End::Declined, refusal);
        }
        // Not retried: the breaker stays open far longer than a pause.
        let permit = match self.breaker.as_ref().map(Breaker::admit).transpose() {
            Ok(permit) => permit,
            Err(refusal) => return ended(End::Declined, refusal),
        };
        let seen = tried.lock().clone();
        // Where there is nobody the permit is dropped: it says nothing about the callee.
        let ready = match self.balancer.pick(&seen, deadline).await {
            Ok(ready) => ready,
            Err(status) if status.code() == Code::Unavailable => {
                return ended(End::NoInstance, status);
            }
            Err(status) => return ended(End::Declined, status),
        };
        tried.lock().push(ready.authority.clone());
        let Some(mut outgoing) = request.attempt(attempt.id) else {
            let message = "a request that is not kept was to be sent again";
            return ended(End::Declined, Status::internal(message));
        };
        // Only now: waiting for a token or a connection has used some of the time.
        let (until, own_limit) = match prepare(&mut outgoing, attempt, deadline) {
            Ok(limit) => limit,
            Err(late) => return ended(End::Declined, late),
        };
        match send(&ready, outgoing, until).await {
            Ok(response) => self.answered(response, ready, permit, deadline),
            Err(SendError::Unknown(status)) => {
                settle(permit, status.code());
                let end = match status.code() {
                    Code::DeadlineExceeded if own_limit => End::TimedOut,
                    code => End::of_code(code),
                };
                ended(end, status)
            }
            // Whether it is given back or not, the request is kept.
            Err(SendError::NotProcessed(status, Some(_))) => ended(End::NeverSent, status),
            Err(SendError::NotProcessed(status, None)) => ended(End::RefusedUnseen, status),
        }
    }

    /// A response began. One without a body carries its status in the headers and may still be
    /// retried; any other commits the call.
    fn answered(
        &self,
        response: Response<Body>,
        ready: Ready,
        permit: Option<Permit>,
        deadline: Option<Instant>,
    ) -> Ended<Answer> {
        let end = End::of_response(response.headers());
        if let Some(status) = Status::from_header_map(response.headers()) {
            settle(permit, status.code());
            if status.code() == Code::Ok {
                self.throttle.succeeded();
            }
            return Ended {
                end,
                answer: Ok(response),
            };
        }
        let throttle = self.throttle.clone();
        let codes = self.retry.codes();
        let tracked = |body| Tracked::new(body, ready.authority, permit, throttle, codes, deadline);
        Ended {
            end,
            answer: Ok(response.map(|body| Body::new(tracked(body)))),
        }
    }
}

async fn send(
    ready: &Ready,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, SendError> {
    let sent = ready.connection.send(request);
    let Some(deadline) = deadline else {
        return sent.await;
    };
    let late = |_| {
        SendError::Unknown(deadline::elapsed(&format!(
            "waiting for {}",
            ready.authority
        )))
    };
    timeout_at(deadline, sent).await.map_err(late)?
}

/// The headers that differ from attempt to attempt. Answers when the attempt must be over, and
/// whether by its own limit.
fn prepare(
    outgoing: &mut Request<Body>,
    attempt: Attempt,
    deadline: Option<Instant>,
) -> Result<(Option<Instant>, bool), Status> {
    let now = Instant::now();
    let headers = outgoing.headers_mut();
    if let Some(deadline) = deadline {
        if deadline <= now {
            return Err(deadline::elapsed("before the call was sent"));
        }
        headers.insert(deadline::HEADER, deadline::header(deadline, now));
    }
    if attempt.previous > 0 {
        headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(attempt.previous));
    }
    let (until, own_limit) = attempt.until(now.into_std());
    Ok((until.map(Instant::from_std), own_limit))
}

fn settle(permit: Option<Permit>, code: Code) {
    if let Some(permit) = permit {
        permit.record(breaker::outcome_of(code));
    }
}

/// A failure of ours, with the instances that were tried.
fn listed(status: Status, tried: &[Arc<str>]) -> Status {
    if tried.len() < 2 {
        return status;
    }
    let message = format!("{} (tried {})", status.message(), tried.join(", "));
    match status::reason(&status) {
        Some(reason) => status::refused(status.code(), &reason, message),
        None => Status::new(status.code(), message),
    }
}
