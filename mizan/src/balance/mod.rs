//! Balancing: which of the healthy, connected instances carries the next attempt.
//!
//! *What it does.* One task keeps the instances of a service connected and publishes, whenever
//! something changes, a snapshot of those that can carry calls; the [policy] picks among
//! them. A pick takes no lock, wakes nobody and allocates nothing: it reads one atomically swapped
//! snapshot. An instance is used only once connected, which means that its SETTINGS arrived and its
//! health watch, if one is asked for, said SERVING; it is left out the moment its connection, its
//! health watch, discovery or outlier detection says so, and what it carries then is finished.
//!
//! *When nobody is ready.* While something is being connected for the first time, a pick waits;
//! when everything failed, it fails at once with NO_INSTANCES, or waits on if it was asked to.
//!
//! *When everybody is full.* A peer says how many streams it takes on a connection. A pick takes one
//! of those, and passes over instances that have none; when nobody has, it waits for the first that
//! is free of whichever instance, in a bounded crowd, and meanwhile another connection to the full
//! ones is opened (gRFC A105), up to a bound.
//!
//! *What it does not do.* There is no queue between a caller and a connection, and a failed call is
//! not sent again: that is for the layers around it.

mod health;
mod instance;
pub mod load;
mod member;
mod members;
pub mod outlier;
mod outliers;
pub mod policy;
mod settings;
mod slow_start;
mod snapshot;
mod stats;

use std::{pin::pin, sync::Arc};

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Code, Status};

use crate::{
    Connection,
    breaker::Breaker,
    connection::{Freed, Incoming, Payload, SendError, Slot, Waiting},
    deadline,
    discover::Discovery,
    status,
    telemetry::metrics::ClientMetrics,
};
use policy::Call;
use snapshot::{Rest, Snapshot};

pub use load::Load;
pub(crate) use member::Ready;
pub(crate) use settings::Settings;
pub use stats::{InstanceState, InstanceStats};

/// How often a pick that found nobody looks again, at once, while somebody is usable: breakers
/// change beside it. More would be a policy that picks nobody.
const LOOKS_MAX: u32 = 8;

/// The instances of one service, as they are now.
#[derive(Debug)]
pub(crate) struct Balancer {
    service: Arc<str>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    changed: watch::Receiver<()>,
    settings: watch::Sender<Arc<Settings>>,
    /// The calls that wait for a stream of whichever instance.
    freed: Arc<Freed>,
}

/// How long a pick may wait for an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// Not beyond this.
    pub(crate) deadline: Option<Instant>,
    /// Also while everything fails (gRPC's `wait_for_ready`); otherwise only while the first
    /// connections are being made.
    pub(crate) for_ready: bool,
}

/// The instance that a pick chose, and a stream's place on one of its connections.
#[derive(Debug)]
pub(crate) struct Picked {
    ready: Arc<Ready>,
    connection: Connection,
    slot: Slot,
}

impl std::ops::Deref for Picked {
    type Target = Ready;

    fn deref(&self) -> &Ready {
        &self.ready
    }
}

impl Picked {
    fn at(ready: &Arc<Ready>) -> Option<Self> {
        let (connection, slot) = ready.place()?;
        Some(Self {
            ready: ready.clone(),
            connection: connection.clone(),
            slot,
        })
    }

    /// Sends one request in its place.
    pub(crate) async fn exchange(
        self,
        request: Request<()>,
        payload: Payload,
    ) -> Result<Response<Incoming>, SendError> {
        self.connection.exchange(self.slot, request, payload).await
    }

    #[cfg(test)]
    async fn send(
        self,
        request: Request<tonic::body::Body>,
    ) -> Result<Response<tonic::body::Body>, SendError> {
        self.connection.send_in(self.slot, request).await
    }
}

impl Balancer {
    /// Connects to what is known of `service`, and keeps doing so until it is dropped.
    pub(crate) fn start(
        service: &str,
        settings: Settings,
        discovery: Discovery,
        metrics: Arc<ClientMetrics>,
    ) -> Self {
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::nothing()));
        let (notify, changed) = watch::channel(());
        let (settings, current) = watch::channel(Arc::new(settings));
        let freed = Arc::new(Freed::default());
        let members = members::Members::new(service, current, discovery, metrics, freed.clone());
        tokio::spawn(members.keep(snapshot.clone(), notify));
        Self {
            service: service.into(),
            snapshot,
            changed,
            settings,
            freed,
        }
    }

    /// Whether discovery says that there is nobody, and that is doubted.
    pub(crate) fn is_doubted(&self) -> bool {
        self.snapshot.load().is_doubted()
    }

    /// How many calls wait for a stream.
    pub(crate) fn waiting(&self) -> u32 {
        self.freed.waiting()
    }

    /// Goes on with other settings. No connection is lost by it.
    pub(crate) fn set(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// The settings in force.
    #[cfg(test)]
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    /// Every instance that is known, in the order of their authorities.
    pub(crate) fn stats(&self) -> Vec<InstanceStats> {
        self.snapshot.load().stats()
    }

    /// The breakers of the instances, if each has its own.
    pub(crate) fn breakers(&self) -> Vec<Breaker> {
        self.snapshot.load().breakers()
    }

    /// An instance for the next attempt, one not in `tried` if there is such a one.
    ///
    /// # Errors
    /// NO_INSTANCES when nobody is ready and waiting is no use or not wanted; DEADLINE_EXCEEDED
    /// when it took too long. Both say how the instances stand.
    pub(crate) async fn pick(
        &self,
        call: &Call,
        tried: &[Arc<str>],
        wait: Wait,
    ) -> Result<Picked, Status> {
        if let Some(picked) = self.snapshot.load().pick(call, tried) {
            return Ok(picked);
        }
        // Apart, so that the future of a pick that need not wait stays small.
        Box::pin(self.wait(call, tried, wait)).await
    }

    async fn wait(&self, call: &Call, tried: &[Arc<str>], wait: Wait) -> Result<Picked, Status> {
        let mut changed = self.changed.clone();
        let mut looks = 0;
        let mut place = None;
        loop {
            // Marked before looking, so that no change falls between.
            changed.borrow_and_update();
            let mut told = pin!(self.freed.told());
            if place.is_some() {
                told.as_mut().enable();
            }
            let snapshot = self.snapshot.load_full();
            // Anew: a wait may have been long, and a breaker goes by this time.
            let now = Instant::now().into_std();
            if let Some(picked) = snapshot.pick(&Call { now, ..*call }, tried) {
                return Ok(picked);
            }
            if snapshot.is_full(now) {
                if place.is_none() {
                    place = Some(self.join()?);
                    continue;
                }
                self.freed.want();
                looks = 0;
                let news = async {
                    tokio::select! {
                        () = told => Ok(()),
                        changed = changed.changed() => changed,
                    }
                };
                let waited = match wait.deadline {
                    Some(deadline) => timeout_at(deadline, news).await,
                    None => Ok(news.await),
                };
                match waited {
                    Err(_) => return Err(self.late("a free stream at an instance", &self.crowd())),
                    Ok(Err(_)) => return Err(self.nobody("discovery ended")),
                    Ok(Ok(())) => continue,
                }
            }
            if let Some(open) = snapshot.spared(now) {
                return Err(open.into());
            }
            // A breaker admitted nobody a moment ago and does now; of that no change will tell.
            if looks < LOOKS_MAX && snapshot.has_usable(now) {
                looks += 1;
                continue;
            }
            looks = 0;
            let standing = match snapshot.rest() {
                Rest::Failed(reason) if !wait.for_ready => return Err(self.nobody(reason)),
                Rest::Failed(standing) | Rest::Connecting(standing) => standing,
            };
            let waited = match wait.deadline {
                Some(deadline) => timeout_at(deadline, changed.changed()).await,
                None => Ok(changed.changed().await),
            };
            match waited {
                Err(_) => return Err(self.late("an instance", standing)),
                Ok(Err(_)) => return Err(self.nobody("discovery ended")),
                Ok(Ok(())) => {}
            }
        }
    }

    /// A place among those who wait for a stream.
    fn join(&self) -> Result<Waiting<'_>, Status> {
        let max = self.settings.borrow().connection.waiting_max;
        self.freed.join(max).ok_or_else(|| {
            let message = format!(
                "every instance of {} carries as many streams as it takes, and {}",
                self.service,
                self.crowd()
            );
            status::refused(Code::ResourceExhausted, "STREAMS_TAKEN", message)
        })
    }

    fn crowd(&self) -> String {
        format!("{} calls wait", self.freed.waiting())
    }

    fn late(&self, what: &str, standing: &str) -> Status {
        let service = &self.service;
        deadline::elapsed(&format!("waiting for {what} of {service}: {standing}"))
    }

    fn nobody(&self, reason: &str) -> Status {
        let message = format!("no instance of {} is ready: {reason}", self.service);
        status::refused(Code::Unavailable, "NO_INSTANCES", message)
    }
}

#[cfg(test)]
mod tests;
