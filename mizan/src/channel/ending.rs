//! How an attempt and how a call ended, told to everyone who counts: once, whatever happens.

use std::sync::Arc;

use tokio::time::Instant;
use tonic::Code;
use tracing::Span;

use super::route::Route;
use crate::{
    balance::load::{InFlight, Load},
    breaker::{self, OwnedPermit},
    limit::adaptive::{self, Slot},
    retry::Tally,
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
    flight: Option<InFlight>,
    pub(super) sent: Sent,
    pub(super) received: MessageBytes,
    over: bool,
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
            sent: Sent::Whole(0),
            received: MessageBytes::default(),
            over: false,
        }
    }

    /// From now on an instance carries it.
    pub(super) fn carried_by(&mut self, load: Arc<Load>) {
        self.flight = Some(InFlight::begin(load));
    }

    /// The attempt ended with a callee's status, or with ours for want of one.
    pub(super) fn finish(&mut self, code: Code) {
        let outcome = breaker::outcome_of(code);
        let well = match outcome {
            breaker::Outcome::Success => Some(true),
            breaker::Outcome::Failure => Some(false),
            breaker::Outcome::Excluded => None,
        };
        let now = self.end(code, well);
        for permit in self.permits.iter_mut().filter_map(Option::take) {
            permit.record(outcome, now.into_std());
        }
        if let Some(slot) = self.slot.take() {
            slot.finish(adaptive::outcome_of(code), now.into_std());
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
        if let Some(flight) = self.flight.take() {
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
