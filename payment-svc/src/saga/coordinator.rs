//! The coordinator: runs the payments of this process, each in a task of its own that outlives the
//! call that began it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use dashmap::DashMap;
use mizan::{CallContext, request::micros};
use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::Status;

use super::Peers;
use crate::{
    answer,
    domain::{Intent, Payment, Step, Stuck},
    store::{Accepted, Store},
};

/// The most steps that are done at once; further ones wait their turn. Bounds how much a recovery
/// adds to the load.
const RUNNING_MAX: usize = 512;

/// The pause before a step is repeated, doubling.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a payment that is being driven goes.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// On its way.
    Running,
    /// A step could not be done for now; it is going to be repeated.
    Trouble(Status),
    /// Final.
    Ended(Box<Payment>),
    /// Another worker has it now, or this one is stopping.
    Dropped,
}

/// Drives payments; clones share the work.
#[derive(Debug, Clone)]
pub(crate) struct Coordinator {
    store: Store,
    peers: Peers,
    running: Arc<DashMap<String, watch::Receiver<Progress>>>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Coordinator {
    pub(crate) fn new(store: Store, peers: Peers) -> Self {
        Self {
            store,
            peers,
            running: Arc::default(),
            turns: Arc::new(Semaphore::new(RUNNING_MAX)),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// How a payment goes, if this process drives it.
    pub(crate) fn progress(&self, id: &str) -> Option<watch::Receiver<Progress>> {
        self.running.get(id).map(|entry| entry.clone())
    }

    /// Accepts a payment and, if it is this worker's, begins to drive it. A task of its own: a
    /// caller who leaves in the middle must not leave a payment that is durable and driven by
    /// nobody.
    pub(crate) async fn submit(
        &self,
        intent: Intent,
        request: Vec<u8>,
    ) -> Result<Accepted, Status> {
        let this = self.clone();
        let submit = async move {
            let accepted = this
                .store
                .accept(intent, request, micros(SystemTime::now()))
                .await?;
            if let Accepted::Mine(payment) = &accepted {
                this.drive(payment.clone());
            }
            Ok(accepted)
        };
        let submitted = match CallContext::current() {
            Some(caller) => self.tasks.spawn(caller.scope(submit)),
            None => self.tasks.spawn(submit),
        };
        let accepted = submitted
            .await
            .map_err(|_| Status::internal("the payment was not accepted"))?;
        accepted.map_err(answer::store_error)
    }

    /// Drives a payment that is this worker's, in the background, to its end.
    pub(crate) fn drive(&self, payment: Payment) -> watch::Receiver<Progress> {
        let (report, progress) = watch::channel(Progress::Running);
        let id = payment.intent.id.clone();
        self.running.insert(id.clone(), progress.clone());
        let this = self.clone();
        let own = progress.clone();
        let work = async move {
            let last = tokio::select! {
                last = this.run(payment, &report) => last,
                () = this.stopping.cancelled() => Progress::Dropped,
            };
            // Not the entry of a later drive of the same payment.
            this.running
                .remove_if(&id, |_, entry| entry.same_channel(&own));
            report.send_replace(last);
        };
        // Keeps the trace, not the deadline: the caller may leave, the payment goes on.
        match CallContext::current() {
            Some(caller) => self.tasks.spawn(caller.with_deadline(None).scope(work)),
            None => self.tasks.spawn(work),
        };
        progress
    }

    async fn run(&self, mut payment: Payment, report: &watch::Sender<Progress>) -> Progress {
        let mut pause = PAUSE_MIN;
        while let Some(step) = payment.state.step() {
            // For the step, not for the pause after it: payments that wait for something to come
            // back do not hold up those that can go on.
            let Ok(turn) = self.turns.acquire().await else {
                return Progress::Dropped;
            };
            let advanced = self.advance(step, payment.clone()).await;
            drop(turn);
            match advanced {
                Ok(Some(next)) => {
                    payment = next;
                    if pause > PAUSE_MIN {
                        pause = PAUSE_MIN;
                        report.send_replace(Progress::Running);
                    }
                }
                Ok(None) => {
                    tracing::info!(payment = %payment.intent.id, "taken over by another worker");
                    return Progress::Dropped;
                }
                Err(trouble) => {
                    tracing::debug!(
                        payment = %payment.intent.id, step = step.name(), ?pause,
                        code = ?trouble.code(), message = trouble.message(), "step to be repeated",
                    );
                    report.send_replace(Progress::Trouble(trouble));
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        Progress::Ended(Box::new(payment))
    }

    /// One step, and its outcome made durable.
    async fn advance(&self, step: Step, payment: Payment) -> Result<Option<Payment>, Status> {
        let outcome = self.peers.run(step, &payment).await?;
        let next = payment.after(outcome).map_err(stuck)?;
        if let Some(failure) = &next.failure {
            tracing::debug!(
                payment = %next.intent.id, state = ?next.state, reason = %failure.reason, "payment refused",
            );
        }
        let now = micros(SystemTime::now());
        self.store
            .advance(next, now)
            .await
            .map_err(answer::store_error)
    }

    /// Ends the driving when it is dropped, like [`stop`](Self::stop) but without waiting or leaving:
    /// for a service that is cut off.
    pub(crate) fn cut_on_drop(&self) -> DropGuard {
        self.stopping.clone().drop_guard()
    }

    /// Stops driving: what is unfinished is left for another worker, or for the next start.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.store.leave().await {
            tracing::warn!(%error, "this worker could not say that it leaves");
        }
    }
}

/// A step that has to succeed in the end was refused: somebody else changed the invoice. Said
/// loudly, and repeated, in case a person mends it.
fn stuck(Stuck(failure): Stuck) -> Status {
    tracing::error!(step = %failure.step, reason = %failure.reason, message = %failure.message, "payment is stuck");
    Status::unavailable(format!("{}: {}", failure.step, failure.message))
}
