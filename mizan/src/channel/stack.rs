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
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, body::Body};

use super::{request::Outgoing, response::Tracked};
use crate::{
    CallContext,
    balance::{Balancer, Picked, Wait, policy},
    breaker::{self, Breaker, Permit},
    connection::SendError,
    deadline,
    limit::Limiter,
    retry::{self, Budget, Policy, Pushback, Schedule},
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
    pub(super) budget: Arc<Mutex<Budget>>,
    pub(super) limiter: Option<Limiter>,
    pub(super) breaker: Option<Breaker>,
    pub(super) balancer: Balancer,
}

/// How an attempt ended.
enum Attempt {
    /// With a response, which is the caller's now, whatever it says.
    Answered(Response<Body>),
    /// With a status that another attempt may mend, and the response it came in, if one did.
    Failed(Status, Option<Response<Body>>),
    /// Before any server saw it: another attempt may find one that does.
    Unsent(Status),
    /// With a status that it may not.
    Refused(Status),
}

/// One call, from the generated client to the beginning of its response.
pub(super) async fn call(
    core: Arc<Core>,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let now = Instant::now();
    let deadline = deadline::nearest(core.deadline, request.headers(), now);
    let trace = CallContext::current().map_or_else(TraceContext::root, |c| c.trace.child());
    let mut outgoing = Outgoing::new(request).await?;
    if let Ok(value) = HeaderValue::try_from(trace.to_string()) {
        outgoing.headers_mut().insert(TraceContext::HEADER, value);
    }
    core.retried(&mut outgoing, deadline).await
}

impl Core {
    /// Attempts, until one is answered or none may follow.
    async fn retried(
        &self,
        outgoing: &mut Outgoing,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>, Status> {
        let mut schedule = Schedule::first(&self.retry);
        let mut tried: Vec<Arc<str>> = Vec::new();
        loop {
            let previous = schedule.previous();
            let attempt = self.attempt(outgoing, previous, &mut tried, deadline);
            // The budget spares the callee, so only what reached it is charged.
            let (status, response, in_budget) = match attempt.await {
                Attempt::Answered(response) => return Ok(response),
                Attempt::Refused(status) => return Err(status),
                Attempt::Failed(status, response) => {
                    (status, response, self.budget.lock().failed())
                }
                Attempt::Unsent(status) => (status, None, true),
            };
            let pushback = response
                .as_ref()
                .map_or(Pushback::None, |r| Pushback::read(r.headers()));
            let pause = match pushback {
                Pushback::Stop => None,
                Pushback::After(asked) => schedule.next(0, Some(asked)),
                Pushback::None => schedule.next(fastrand::u32(..), None),
            };
            let allowed = in_budget && outgoing.can_be_sent();
            let in_time = |pause: &Duration| deadline.is_none_or(|d| Instant::now() + *pause < d);
            match pause.filter(|pause| allowed && in_time(pause)) {
                Some(pause) => {
                    tracing::debug!(service = %self.service, code = ?status.code(), ?pause, "retrying");
                    sleep(pause).await;
                }
                // The last word is the callee's own answer, details and all, if it gave one.
                None => return response.map_or_else(|| Err(listed(status, &tried)), Ok),
            }
        }
    }

    /// One attempt: limiter, breaker, and instances until one processes it.
    async fn attempt(
        &self,
        outgoing: &mut Outgoing,
        previous: u32,
        tried: &mut Vec<Arc<str>>,
        deadline: Option<Instant>,
    ) -> Attempt {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Attempt::Refused(deadline::elapsed("before the call was sent"));
        }
        if let Some(limiter) = &self.limiter
            && let Err(refusal) = limiter.acquire(deadline).await
        {
            return Attempt::Refused(refusal);
        }
        // Not retried: the breaker stays open far longer than a pause.
        let mut permit = match self.breaker.as_ref().map(Breaker::admit).transpose() {
            Ok(permit) => permit,
            Err(refusal) => return Attempt::Refused(refusal),
        };
        let mut resends = 0;
        loop {
            let call = policy::Call {
                hash: None,
                random: fastrand::u64(..),
                now: Instant::now().into_std(),
            };
            let wait = Wait {
                deadline,
                for_ready: false,
            };
            let ready = match self.balancer.pick(&call, tried, wait).await {
                Ok(ready) => ready,
                // Nothing left, so the permit is dropped: it says nothing about the callee.
                Err(status) if status.code() == Code::Unavailable => {
                    return Attempt::Unsent(status);
                }
                Err(status) => return Attempt::Refused(status),
            };
            tried.push(ready.authority.clone());
            // Only now: waiting for a token or a connection has used some of the time.
            if let Err(late) = prepare(outgoing, previous, deadline) {
                return Attempt::Refused(late);
            }
            let Some(request) = outgoing.take() else {
                return Attempt::Refused(Status::internal(
                    "a request that is not kept was to be sent again",
                ));
            };
            match send(&ready, request, deadline).await {
                Ok(response) => return self.answered(response, ready, permit.take(), deadline),
                Err(SendError::Unknown(status)) => {
                    settle(permit.take(), status.code());
                    return if retry::retries(&self.retry, status.code()) {
                        Attempt::Failed(status, None)
                    } else {
                        Attempt::Refused(status)
                    };
                }
                Err(error) => {
                    let status = match error {
                        SendError::NotSent(status, Some(unsent)) => {
                            outgoing.put_back(*unsent);
                            status
                        }
                        error => error.into_status(),
                    };
                    resends += 1;
                    if resends > retry::RESENDS_MAX || !outgoing.can_be_sent() {
                        settle(permit.take(), status.code());
                        return Attempt::Unsent(status);
                    }
                }
            }
        }
    }

    /// A response began. One without a body carries its status in the headers and may still be
    /// retried; any other commits the call.
    fn answered(
        &self,
        response: Response<Body>,
        ready: Picked,
        permit: Option<Permit>,
        deadline: Option<Instant>,
    ) -> Attempt {
        if let Some(status) = Status::from_header_map(response.headers()) {
            settle(permit, status.code());
            if status.code() == Code::Ok {
                self.budget.lock().succeeded();
            } else if retry::retries(&self.retry, status.code()) {
                return Attempt::Failed(status, Some(response));
            }
            return Attempt::Answered(response);
        }
        let budget = self.budget.clone();
        Attempt::Answered(response.map(|body| {
            Body::new(Tracked::new(
                body,
                ready.authority.clone(),
                permit,
                budget,
                deadline,
            ))
        }))
    }
}

async fn send(
    ready: &Picked,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, SendError> {
    let sent = ready.send(request);
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

/// The headers that differ from attempt to attempt.
fn prepare(
    outgoing: &mut Outgoing,
    previous: u32,
    deadline: Option<Instant>,
) -> Result<(), Status> {
    let headers = outgoing.headers_mut();
    if let Some(deadline) = deadline {
        let now = Instant::now();
        if deadline <= now {
            return Err(deadline::elapsed("before the call was sent"));
        }
        headers.insert(deadline::HEADER, deadline::header(deadline, now));
    }
    if previous > 0 {
        headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
    }
    Ok(())
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
