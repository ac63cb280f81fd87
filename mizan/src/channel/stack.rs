//! The order of the layers: the only place that composes them.
//!
//! ```text
//! call ─► trace ─► deadline ─► retry/hedge ─► limiter ─► breaker ─► pick ─► attempt timeout ─► HTTP/2
//!                     │            └───── each attempt passes everything to its right ────────┘
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

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant as StdInstant},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body};

use super::{
    ending::{AttemptEnding, CallEnding, Given, Sent},
    message_size::Scanner,
    outgoing::Counted,
    response::{Tracked, refused},
    route::{Route, Routes},
};
use crate::{
    CallContext,
    balance::{
        Balancer, Picked, Wait,
        policy::{self, hash_of_header},
    },
    connection::{Came, Incoming, Payload, SendError},
    deadline::{self, Deadline, Shape},
    received,
    retry::{self, Attempt, End, Ended, Kind, Memory, Policy, Replay, Terms},
    status, telemetry,
    telemetry::TraceContext,
};

/// gRFC A6: how many attempts came before this one; absent on the first.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// For how long a response is held back: the connections of a process that was killed close some
/// milliseconds later. The first stream of a method that streams is given out so much later.
const HOLD_MAX: Duration = Duration::from_millis(50);

/// What a channel's clones share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) service: String,
    pub(super) routes: Routes,
    pub(super) memory: Memory,
    pub(super) balancer: Balancer,
}

/// What an attempt gives to its call.
type Answer = Result<Response<Tracked>, Status>;

/// A call, as all its attempts see it.
struct Call<'a> {
    core: &'a Core,
    route: &'a Arc<Route>,
    request: &'a Replay,
    path: &'a str,
    trace: &'a TraceContext,
    /// The hash of the key that the call is bound to.
    hash: Option<u64>,
    /// The instances that did not do. Hedges are noted as they begin, others when they failed.
    tried: Mutex<Vec<Arc<str>>>,
    deadline: Deadline,
}

/// One call, from the generated client to the beginning of its response.
pub(super) async fn call(
    core: Arc<Core>,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let now = Instant::now();
    let path = request.uri().clone();
    let path = path.path();
    let route = core.routes.of(path);
    let trace = CallContext::send_on(request.headers_mut());
    let span = telemetry::sent(path, &trace);
    let mut ending = CallEnding::begin(route.clone(), now, span.clone());
    let called = {
        let called = pin!(async {
            let header = route.hash_header.as_ref();
            let hash = header.and_then(|name| hash_of_header(request.headers(), name));
            let patience = route.settings.patience;
            let shape = route.contract.shape;
            let deadline = Deadline::of(patience, shape, request.headers(), now);
            let request = Replay::new(request, &core.memory).await?;
            let deadline = match request.whole() {
                Some(_) => deadline,
                None => deadline.of_a_stream(),
            };
            fits(&request, &route)?;
            let call = Call {
                core: &core,
                route: &route,
                request: &request,
                path,
                trace: &trace,
                hash,
                tried: Mutex::default(),
                deadline,
            };
            call.attempts(now, &mut ending).await
        });
        telemetry::within(&span, called).await
    };
    match called {
        Ok(response) => Ok(response.map(|mut body| {
            body.answers(ending);
            Body::new(body)
        })),
        Err(status) => {
            ending.finish(status.code());
            Err(status)
        }
    }
}

/// Refuses a message above the limit before anything is sent.
fn fits(request: &Replay, route: &Route) -> Result<(), Status> {
    match (request.whole(), route.settings.request_bytes_max) {
        (Some(bytes), Some(max)) => Scanner::new(max)
            .scan(bytes)
            .map_err(|too_large| refused(too_large, "to be sent")),
        _ => Ok(()),
    }
}

impl Call<'_> {
    /// Attempts, until one's answer is the call's.
    async fn attempts(&self, now: Instant, ending: &mut CallEnding) -> Answer {
        let terms = Terms {
            policy: &self.route.settings.retry,
            throttle: &self.route.throttle,
            request: self.request,
            deadline: self.deadline.nearest().map(Instant::into_std),
        };
        let timeout = self.route.settings.attempt_timeout;
        let begin = |attempt: Attempt| self.attempt(attempt.within(timeout));
        let driven = retry::drive(terms, now.into_std(), begin).await;
        ending.tally = driven.tally;
        if driven.exhausted {
            CallContext::note_gave_up();
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
                let own = self.request.broken_off();
                let mut status = own.unwrap_or_else(|| listed(status, &self.tried.lock()));
                if driven.exhausted {
                    retry::mark_exhausted(&mut status);
                }
                Err(status)
            }
        }
    }

    /// One attempt, in a span of its own.
    async fn attempt(&self, attempt: Attempt) -> Ended<Answer> {
        let transparent = attempt.kind == Kind::Transparent;
        let trace = self.trace.child();
        let span = telemetry::attempt(self.path, &trace, attempt.previous, transparent);
        let ending = AttemptEnding::begin(self.route.clone(), Instant::now(), span.clone());
        let attempted = pin!(self.attempt_as(attempt, &trace, ending));
        telemetry::within(&span, attempted).await
    }

    async fn attempt_as(
        &self,
        attempt: Attempt,
        trace: &TraceContext,
        mut ending: AttemptEnding,
    ) -> Ended<Answer> {
        let picked = match self.admitted(&mut ending).await {
            Ok(picked) => picked,
            Err((end, status)) => {
                ending.unsent(status.code());
                return Ended {
                    end,
                    answer: Err(status),
                };
            }
        };
        if matches!(self.route.settings.retry, Policy::Hedge(_)) {
            self.tried.lock().push(picked.authority.clone());
        }
        let now = Instant::now();
        let (until, own_limit) = attempt.until(now.into_std());
        let given = Given::at(now, until.map(Instant::from_std), own_limit, &self.deadline);
        let (head, payload) = match self.outgoing(attempt, trace, (now, until), &mut ending) {
            Ok(outgoing) => outgoing,
            Err(status) => {
                ending.unsent(status.code());
                return Ended {
                    end: End::Declined,
                    answer: Err(status),
                };
            }
        };
        ending.carried_by(picked.load.clone(), given);
        let authority = picked.authority.clone();
        let sent = send(picked, head, payload, until).await;
        let late = Late { until, own_limit };
        let ended = match self.held(sent).await {
            Ok(response) => self.answered(response, &authority, late, ending),
            Err(error) => {
                let ended = failed(error, &authority, late, ending);
                Ended {
                    end: self.unless_done(ended.end),
                    ..ended
                }
            }
        };
        if ended.end != End::Answered && !matches!(self.route.settings.retry, Policy::Hedge(_)) {
            self.tried.lock().push(authority);
        }
        ended
    }

    /// Limiter, breaker and an instance; what they gave out is in `ending`.
    async fn admitted(&self, ending: &mut AttemptEnding) -> Result<Picked, (End, Status)> {
        let route = self.route;
        let declined = |status| (End::Declined, status);
        let mut now = Instant::now();
        let deadline = self.deadline.nearest();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(declined(deadline::elapsed("before the call was sent")));
        }
        if let Some(limiter) = &route.limiter {
            // Not to the last moment: a call that left then would only be late, and nobody would know
            // whether it was done.
            let left = |deadline: Instant| deadline.saturating_duration_since(now);
            let until = deadline.map(|deadline| deadline - left(deadline) / 10);
            match limiter.acquire(until).await {
                Ok(waited) if waited.is_zero() => {}
                Ok(waited) => {
                    route.client.limiter_waited(waited);
                    // Or the wait would count as the callee's slowness.
                    now = Instant::now();
                }
                Err(refusal) => {
                    route.client.limiter_refused();
                    return Err(declined(refusal));
                }
            }
        }
        let now = now.into_std();
        if let Some(limit) = &route.concurrency {
            ending.slot = Some(limit.try_enter(now).map_err(declined)?);
        }
        // Not retried: the breaker stays open far longer than a pause.
        if let Some(breaker) = &route.breaker {
            let permit = breaker
                .admit_owned(now)
                .map_err(|open| declined(open.into()))?;
            ending.permits[0] = Some(permit);
        }
        let picked = self.pick(now).await?;
        if let Some(breaker) = &picked.breaker {
            // It was open a moment ago: another instance may do.
            let open = |open: crate::breaker::Open| (End::NeverSent, open.into());
            // Anew: waiting for the instance is no slowness of its own.
            let now = Instant::now().into_std();
            ending.permits[1] = Some(breaker.admit_owned(now).map_err(open)?);
        }
        Ok(picked)
    }

    async fn pick(&self, now: StdInstant) -> Result<Picked, (End, Status)> {
        let call = policy::Call {
            hash: self.hash,
            random: fastrand::u64(..),
            now,
        };
        let wait = Wait {
            deadline: self.deadline.nearest(),
            for_ready: self.route.settings.wait_for_ready,
        };
        // Nobody was tried, as a rule, and then this allocates nothing.
        let tried = self.tried.lock().clone();
        let picked = self.core.balancer.pick(&call, &tried, wait).await;
        picked.map_err(|status| match status.code() {
            Code::Unavailable => (End::NoInstance, status),
            _ => (End::Declined, status),
        })
    }

    /// The request of one attempt, with the headers that differ.
    fn outgoing(
        &self,
        attempt: Attempt,
        trace: &TraceContext,
        (now, until): (Instant, Option<StdInstant>),
        ending: &mut AttemptEnding,
    ) -> Result<(Request<()>, Payload), Status> {
        let payload = if let Some(bytes) = self.request.whole() {
            ending.sent = Sent::Whole(telemetry::metrics::message_bytes(bytes));
            Payload::Whole(bytes.clone())
        } else {
            let Some(body) = self.request.reader(attempt.id) else {
                let message = "a request that is not kept was to be sent again";
                return Err(Status::internal(message));
            };
            let total = Arc::new(AtomicU64::new(0));
            ending.sent = Sent::Stream(total.clone());
            let max = self.route.settings.request_bytes_max;
            let counted = Body::new(Counted::new(body, total, max));
            Payload::Stream(VecDeque::new(), counted)
        };
        let mut head = self.request.head();
        let headers = head.headers_mut();
        headers.insert(TraceContext::HEADER, trace.header_value());
        if attempt.previous > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(attempt.previous));
        }
        // Only now: waiting for a token or a connection has used some of the time.
        if let Some(until) = until.map(Instant::from_std) {
            if until <= now {
                return Err(deadline::elapsed("before the call was sent"));
            }
            // A callee would end a stream by what is meant for the beginning of its answer.
            let told = match self.route.contract.shape {
                Shape::Unary => Some(until),
                Shape::Stream | Shape::Unknown => self.deadline.said(),
            };
            if let Some(told) = told {
                headers.insert(deadline::HEADER, deadline::header(told, now));
            }
        }
        Ok((head, payload))
    }

    /// Holds back a response until it is there to its end: a server that is killed in the middle of it
    /// sends nothing more, and as long as the caller has nothing of it either, another may answer.
    /// Nothing on the wire tells a method that streams; one whose response takes its time is taken for
    /// one from then on, and given out as it comes.
    async fn held(
        &self,
        sent: Result<Response<Incoming>, SendError>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut response = sent?;
        let may_be_retried = matches!(self.route.settings.retry, Policy::Retry(_));
        if may_be_retried
            && self.request.whole().is_some()
            && !self.route.streams.load(Ordering::Relaxed)
            && response.status() == StatusCode::OK
            && !response.headers().contains_key(Status::GRPC_STATUS)
        {
            let held = response
                .body_mut()
                .hold(HOLD_MAX, self.deadline.said())
                .await;
            let ours = response.body().is_ours();
            let failed = if ours {
                SendError::Ours
            } else {
                SendError::Unknown
            };
            if held.map_err(failed)? == Came::Slowly {
                self.route.streams.store(true, Ordering::Relaxed);
            }
        }
        Ok(response)
    }

    /// An end of a call that the callee may have done all the same: it is not done again where the
    /// contract does not say that it may be, unless somebody chose so.
    fn unless_done(&self, end: End) -> End {
        let may = self.route.settings.retry_chosen || self.route.contract.repeatable;
        if may { end } else { end.once() }
    }

    /// A response began. One without a body carries its status in the headers and may still be
    /// retried; any other commits the call.
    fn answered(
        &self,
        response: Response<Incoming>,
        authority: &str,
        late: Late,
        mut ending: AttemptEnding,
    ) -> Ended<Answer> {
        let status = response.headers().get(Status::GRPC_STATUS);
        if status.is_none() && response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            // The caller's own doing: it says nothing of the callee, and helps nobody again.
            let message = format!("{authority} takes less request metadata; send less");
            // gRPC knows no status for 431.
            let code = Code::Unknown;
            ending.unsent(code);
            return Ended {
                end: End::Declined,
                answer: Err(status::refused(code, "METADATA_TOO_LARGE", message)),
            };
        }
        if status.is_none()
            && let Some(code) = code_of_http(response.status())
        {
            // A proxy's page: it is no message, so it commits nothing.
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                ending.asked_for(Code::ResourceExhausted, response.headers());
            }
            ending.finish(code);
            let message = format!("{authority}: HTTP status {}, no gRPC", response.status());
            // It may be about a service that lost the connection, and not about one that did nothing.
            let end = End::of_foreign(code, response.headers());
            return Ended {
                end: self.unless_done(end),
                answer: Err(status::refused(code, "HTTP_STATUS", message)),
            };
        }
        let mut response = response;
        let early = not_yet(&mut response);
        let status = response.headers().get(Status::GRPC_STATUS);
        let end = match End::of_response(response.headers()) {
            // Nobody would make any other again.
            end @ End::Failed { code, .. } if self.route.settings.retry.codes().contains(code) => {
                self.unless_done(end)
            }
            end => end,
        };
        let code = status.map(|code| Code::from_bytes(code.as_bytes()));
        if code == Some(Code::Cancelled) && late.has_passed() {
            // The callee's clock was first.
            let error = SendError::Unknown(Status::cancelled(""));
            return failed(error, authority, late, ending);
        }
        if let Some(code) = code {
            ending.asked_for(code, response.headers());
            if code != Code::Ok {
                received::mark(response.headers_mut());
            }
        }
        let max = self.route.settings.response_bytes_max;
        let response = response.map(|body| match code {
            Some(code) => Tracked::ended(body, ending, code),
            None => {
                let tracked = Tracked::new(body, ending, max, self.deadline.said());
                match early {
                    Some(status) => tracked.with_early(status),
                    None => tracked,
                }
            }
        });
        Ended {
            end,
            answer: Ok(response),
        }
    }
}

/// A status among headers that are not the end of the response, taken out of them.
fn not_yet(response: &mut Response<Incoming>) -> Option<HeaderMap> {
    if response.body().is_end_stream() || !response.headers().contains_key(Status::GRPC_STATUS) {
        return None;
    }
    let mut status = HeaderMap::new();
    for name in [
        Status::GRPC_STATUS,
        Status::GRPC_MESSAGE,
        Status::GRPC_STATUS_DETAILS,
    ] {
        if let Some(value) = response.headers_mut().remove(&name) {
            status.insert(name, value);
        }
    }
    Some(status)
}

/// Until when an attempt may take, and whether that is its own limit rather than the call's.
#[derive(Debug, Clone, Copy)]
struct Late {
    until: Option<StdInstant>,
    own_limit: bool,
}

impl Late {
    /// Whether its time is over, also if our own timer has not said so yet.
    fn has_passed(self) -> bool {
        self.until
            .is_some_and(|until| deadline::has_passed(until.into(), Instant::now()))
    }
}

/// No response began.
fn failed(
    error: SendError,
    authority: &str,
    late: Late,
    mut ending: AttemptEnding,
) -> Ended<Answer> {
    let (end, status) = match error {
        SendError::NotSent(status) => {
            ending.unsent(status.code());
            (End::NeverSent, status)
        }
        SendError::RefusedUnseen(status) => {
            ending.unsent(status.code());
            (End::RefusedUnseen, status)
        }
        SendError::Ours(status) => {
            ending.unsent(status.code());
            (End::Declined, status)
        }
        SendError::Unknown(status) => {
            // The callee sees the same deadline, and may be quicker to say so than our timer; and
            // whatever else broke then, the call is late.
            let status = match late.has_passed() {
                true => deadline::elapsed(&format!("waiting for {authority}")),
                false => status,
            };
            let code = status.code();
            ending.finish(code);
            let own = late.own_limit && code == Code::DeadlineExceeded;
            let end = if own {
                End::TimedOut
            } else {
                End::of_code(code)
            };
            (end, status)
        }
    };
    Ended {
        end,
        answer: Err(status),
    }
}

async fn send(
    picked: Picked,
    head: Request<()>,
    payload: Payload,
    until: Option<StdInstant>,
) -> Result<Response<Incoming>, SendError> {
    let sent = picked.exchange(head, payload);
    let Some(until) = until else {
        return sent.await;
    };
    let late = |_| SendError::Unknown(deadline::elapsed("waiting for the answer"));
    timeout_at(until.into(), sent).await.map_err(late)?
}

/// gRPC's reading of an HTTP status that came without one of its own ("HTTP to gRPC Status Code
/// Mapping"), as proxies and load balancers answer; `None` for 200.
fn code_of_http(status: StatusCode) -> Option<Code> {
    Some(match status.as_u16() {
        200 => return None,
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    })
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
