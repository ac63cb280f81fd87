//! How an attempt and how a call ended, told to everyone who counts: once, whatever happens.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Code;
use tracing::Span;

use super::route::Route;
use crate::{
    balance::load::{InFlight, Load},
    breaker::{self, Outcome, OwnedPermit},
    deadline::Deadline,
    limit::adaptive::{self, Slot},
    retry::{Tally, asked_pause},
    telemetry::{
        self,
        metrics::{MessageBytes, Retried},
    },
};

/// An attempt under way. Dropped, its caller lost interest: that says nothing about the callee.
#[derive(Debug)]
pub(super) struct AttemptEnding {
    route: Arc<Route>,
    begun: Instant,
    pub(super) span: Span,
    pub(super) slot: Option<Slot>,
    /// Of the service's or the method's breaker, and of the instance's.
    pub(super) permits: [Option<OwnedPermit>; 2],
    flight: Option<(InFlight, Given)>,
    /// For how long the callee wants to be left alone.
    asked: Option<Duration>,
    pub(super) sent: Sent,
    pub(super) received: MessageBytes,
    over: bool,
}

/// What an attempt was given when it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    sent: Instant,
    time: Option<Duration>,
    /// What the channel itself allows, if its own limit is the nearest.
    own: Option<Duration>,
}

impl Given {
    /// Sent `now`, to be over by `until`, which is the attempt's `own_limit` or the call's deadline.
    pub(super) fn at(
        now: Instant,
        until: Option<Instant>,
        own_limit: bool,
        deadline: &Deadline,
    ) -> Self {
        let time = until.map(|until| until.saturating_duration_since(now));
        let own = if own_limit { time } else { deadline.own };
        Self {
            sent: now,
            time,
            own,
        }
    }

    /// Whether an attempt that ran out of time says something about its callee, whose calls `usually`
    /// are over within that: it had as long as the channel allows, or half of it where it waited
    /// before, or as long as calls take that go well. Anything less is the caller's hurry.
    fn was_enough(&self, usually: Option<Duration>) -> bool {
        let Some(time) = self.time else { return true };
        self.own.is_some_and(|own| time >= own / 2) || usually.is_some_and(|usual| time >= usual)
    }

    /// Whether the time was over at `now`, or nearly: a callee that knows the deadline may be the first
    /// to say so.
    fn is_over(&self, now: Instant) -> bool {
        let took = now.saturating_duration_since(self.sent);
        self.time.is_some_and(|time| took >= time - time / 8)
    }
}

/// How many bytes of messages were sent.
#[derive(Debug)]
pub(super) enum Sent {
    Whole(u64),
    /// A stream counts as it goes.
    Stream(Arc<std::sync::atomic::AtomicU64>),
}

impl AttemptEnding {
    pub(super) fn begin(route: Arc<Route>, begun: Instant, span: Span) -> Self {
        route.metrics.attempt_started();
        Self {
            route,
            begun,
            span,
            slot: None,
            permits: [None, None],
            flight: None,
            asked: None,
            sent: Sent::Whole(0),
            received: MessageBytes::default(),
            over: false,
        }
    }

    /// From now on an instance carries it.
    pub(super) fn carried_by(&mut self, load: Arc<Load>, given: Given) {
        self.flight = Some((InFlight::begin(load), given));
    }

    /// These headers, or trailers, came with the callee's status: one that has had too much may have said when
    /// to come back.
    pub(super) fn asked_for(&mut self, code: Code, headers: &HeaderMap) {
        if code == Code::ResourceExhausted {
            self.asked = asked_pause(headers);
        }
    }

    /// The attempt ended with a callee's status, or with ours for want of one.
    pub(super) fn finish(&mut self, code: Code) {
        self.conclude(code, self.outcome(code));
    }

    /// The attempt ended by a limit of the channel's own, which the callee cannot know.
    pub(super) fn finish_by_own_limit(&mut self, code: Code) {
        self.conclude(code, Outcome::Excluded);
    }

    fn conclude(&mut self, code: Code, outcome: Outcome) {
        let well = match outcome {
            Outcome::Success => Some(true),
            Outcome::Failure => Some(false),
            Outcome::Excluded | Outcome::Limited => None,
        };
        let now = self.end(code, well);
        for permit in self.permits.iter_mut().filter_map(Option::take) {
            permit.record(outcome, now.into_std());
        }
        if let Some(slot) = self.slot.take() {
            let learned = match outcome {
                Outcome::Excluded => adaptive::Outcome::Ignored,
                _ => adaptive::outcome_of(code),
            };
            slot.finish(learned, now.into_std());
        }
    }

    /// What the end says about the callee.
    fn outcome(&self, code: Code) -> Outcome {
        let hurried = |(_, given): &(InFlight, Given)| {
            // A stream that was answered and lasted until its time was over is as it should be.
            let answered = self.received.total() > 0;
            given.is_over(Instant::now())
                && (answered || !given.was_enough(self.route.usual.bound()))
        };
        match code {
            Code::DeadlineExceeded if self.flight.as_ref().is_some_and(hurried) => {
                Outcome::Excluded
            }
            _ if self.asked.is_some() => Outcome::Limited,
            _ => breaker::outcome_of(code),
        }
    }

    /// Counts a call whose response had begun for the retry throttle; those before, retry counts
    /// itself.
    pub(super) fn settle(&self, code: Code) {
        let codes = self.route.settings.retry.codes();
        self.route.throttle.settle(codes, code);
    }

    /// The attempt ended before it reached the callee: nothing is known of it.
    pub(super) fn unsent(&mut self, code: Code) {
        self.end(code, None);
        self.permits = [None, None];
        self.slot = None;
    }

    fn end(&mut self, code: Code, well: Option<bool>) -> Instant {
        let now = Instant::now();
        if self.over {
            return now;
        }
        self.over = true;
        let took = now.saturating_duration_since(self.begun);
        if let Some((flight, given)) = self.flight.take() {
            if code == Code::Ok {
                let took = now.saturating_duration_since(given.sent);
                self.route.usual.note(took, fastrand::u32(..));
            }
            if let Some(pause) = self.asked {
                flight.rest(pause, now.into_std());
            }
            flight.finish(took, well, now.into_std());
        }
        let sent = match &self.sent {
            Sent::Whole(bytes) => *bytes,
            Sent::Stream(bytes) => bytes.load(std::sync::atomic::Ordering::Relaxed),
        };
        let received = self.received.total();
        self.route.metrics.attempt_ended(code, took, sent, received);
        telemetry::ended(&self.span, code);
        now
    }
}

impl Drop for AttemptEnding {
    fn drop(&mut self) {
        if !self.over {
            self.end(Code::Cancelled, None);
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct CallEnding {
    route: Arc<Route>,
    begun: Instant,
    span: Span,
    pub(super) tally: Tally,
    over: bool,
}

impl CallEnding {
    pub(super) fn begin(route: Arc<Route>, begun: Instant, span: Span) -> Self {
        Self {
            route,
            begun,
            span,
            tally: Tally::default(),
            over: false,
        }
    }

    pub(super) fn finish(&mut self, code: Code) {
        if self.over {
            return;
        }
        self.over = true;
        let retried = Retried {
            retries: self.tally.retries,
            transparent: self.tally.transparent,
            hedges: self.tally.hedges,
            delay: self.tally.paused,
        };
        let took = self.begun.elapsed();
        self.route.metrics.call_ended(code, took, &retried);
        telemetry::ended(&self.span, code);
    }
}

impl Drop for CallEnding {
    fn drop(&mut self) {
        self.finish(Code::Cancelled);
    }
}
