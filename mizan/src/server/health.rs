//! `GET /health`, for people, load balancers and scripts that speak no gRPC.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::serving::Reporter;

/// Why the registries do not know a server that has not asked them yet.
const NOT_YET: &str = "not registered yet: nobody discovers this instance";

/// What a server knows of itself; clones share it.
#[derive(Debug, Clone)]
pub(super) struct State(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    draining: AtomicBool,
    reporter: Reporter,
    /// Why registries do not know this instance, by their addresses; under none while none was asked.
    unregistered: Mutex<BTreeMap<String, String>>,
    trouble: Option<watch::Receiver<Option<String>>>,
}

impl State {
    #[cfg(test)]
    pub(super) fn new(registers: bool, reporter: Reporter) -> Self {
        Self::with(registers, reporter, None)
    }

    /// Of a server that is in trouble while `trouble` holds a reason.
    pub(super) fn with(
        registers: bool,
        reporter: Reporter,
        trouble: Option<watch::Receiver<Option<String>>>,
    ) -> Self {
        let first = registers.then(|| (String::new(), NOT_YET.to_owned()));
        Self(Arc::new(Shared {
            started: Instant::now(),
            draining: AtomicBool::new(false),
            reporter,
            unregistered: Mutex::new(first.into_iter().collect()),
            trouble,
        }))
    }

    /// It is on its way out; calls are still served.
    pub(super) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// A registry knows the instance. One is enough: the others are asked when that one is lost.
    pub(super) fn registered(&self) {
        self.0.unregistered.lock().clear();
    }

    /// This registry does not know it, or hands out another under its id: why.
    pub(super) fn unregistered(&self, registry: &str, reason: &str) {
        let mut unregistered = self.0.unregistered.lock();
        unregistered.remove("");
        unregistered.insert(
            registry.to_owned(),
            format!("registry {registry}: {reason}"),
        );
    }

    /// Why it is in trouble, though calls are served.
    fn trouble(&self) -> Option<String> {
        let told = self
            .0
            .trouble
            .as_ref()
            .and_then(|told| told.borrow().clone());
        let unregistered = self.0.unregistered.lock();
        let all: Vec<_> = told.iter().chain(unregistered.values()).cloned().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Healthy; degraded while the registry does not know us, or while the service itself says that it
    /// is in trouble, though calls are served; unhealthy while draining, or while every call is refused.
    fn status(&self) -> (&'static str, StatusCode) {
        if self.0.draining.load(Ordering::Relaxed) || !self.0.reporter.standing().serves() {
            ("unhealthy", StatusCode::SERVICE_UNAVAILABLE)
        } else if self.trouble().is_none() {
            ("healthy", StatusCode::OK)
        } else {
            ("degraded", StatusCode::OK)
        }
    }
}

pub(super) fn router(state: State) -> Router {
    Router::new().route("/health", get(move || async move { answer(&state) }))
}

fn answer(state: &State) -> impl IntoResponse + use<> {
    let (status, code) = state.status();
    let timestamp = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let mut body = serde_json::json!({
        "status": status,
        "uptime": words(state.0.started.elapsed()),
        "timestamp": timestamp,
    });
    if let Some(trouble) = state.trouble() {
        body["reason"] = trouble.into();
    }
    (code, [(CONTENT_TYPE, "application/json")], body.to_string())
}

/// A duration as `1h2m3s`, leading zeros left out.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_like_a_duration() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m1s"),
            (3600, "1h0m0s"),
            (3723, "1h2m3s"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn an_instance_the_registry_lost_is_degraded_and_one_that_drains_or_refuses_all_unhealthy() {
        let reporter = Reporter::new();
        let state = State::new(true, reporter.clone());
        assert_eq!(state.status(), ("degraded", StatusCode::OK));
        assert_eq!(state.trouble().as_deref(), Some(NOT_YET));
        state.registered();
        assert_eq!(state.status(), ("healthy", StatusCode::OK));
        let unhealthy = ("unhealthy", StatusCode::SERVICE_UNAVAILABLE);
        assert!(reporter.refuses(true));
        assert_eq!(state.status(), unhealthy);
        assert!(reporter.refuses(false) && !reporter.refuses(false));
        assert_eq!(state.status(), ("healthy", StatusCode::OK));
        state.drain();
        assert_eq!(state.status(), unhealthy);
    }

    #[test]
    fn why_each_registry_does_not_know_it_is_told_until_one_does() {
        let (trouble, told) = watch::channel(None);
        let state = State::with(true, Reporter::new(), Some(told));
        state.unregistered("a:1", "another process has its id");
        let first = "registry a:1: another process has its id";
        assert_eq!(state.trouble().as_deref(), Some(first));
        state.unregistered("b:2", "connection refused");
        trouble.send_replace(Some("the disk is full".to_owned()));
        let all = format!("the disk is full; {first}; registry b:2: connection refused");
        assert_eq!(state.trouble(), Some(all));
        assert_eq!(state.status(), ("degraded", StatusCode::OK));
        state.registered();
        assert_eq!(state.trouble().as_deref(), Some("the disk is full"));
        trouble.send_replace(None);
        assert_eq!(state.status(), ("healthy", StatusCode::OK));
    }

    #[test]
    fn a_service_in_trouble_is_degraded_until_it_is_not() {
        let (trouble, told) = watch::channel(None);
        let state = State::with(false, Reporter::new(), Some(told));
        assert_eq!(state.status(), ("healthy", StatusCode::OK));
        trouble.send_replace(Some("the disk is full".to_owned()));
        assert_eq!(state.status(), ("degraded", StatusCode::OK));
        assert_eq!(state.trouble().as_deref(), Some("the disk is full"));
        trouble.send_replace(None);
        assert_eq!(state.status(), ("healthy", StatusCode::OK));
    }
}
