//! The coordinator: runs the payments of this process, each in a task of its own that outlives the
//! call that began it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use dashmap::DashMap;
use mizan::{CallContext, request::micros, status};
use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Code, Status};

use super::{Outside, metrics, sort, table};
use crate::{
    answer,
    domain::{
        Accept, Accepted, Body, Command, Ended, Outcome, Payment, Policy, Saved, Steer, Steered,
        Step, Verb,
    },
    store::Error,
};

/// The most steps that are done at once; further ones wait their turn. Bounds how much a recovery
/// adds to the load.
const RUNNING_MAX: usize = 512;

/// The most payments that this process drives at once, a few kilobytes each; no more are accepted
/// or taken over until some are at rest.
const DRIVEN_MAX: usize = 50_000;

/// When to come again with one more.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);

/// How a coordinator works.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// This worker's name: of one process, once.
    pub(crate) worker: String,
    pub(crate) policy: Policy,
    /// The pause before a step is repeated: doubles from the first to the second.
    pub(crate) pause_min: Duration,
    pub(crate) pause_max: Duration,
}

/// How a payment that is being driven goes.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// On its way.
    Running,
    /// A step could not be done for now; it is going to be repeated.
    Trouble(Status),
    /// Final, or parked.
    Rested(Box<Payment>),
    /// Another worker has it now, or this one is stopping.
    Dropped,
}

/// Drives payments; clones share the work.
#[derive(Debug, Clone)]
pub(crate) struct Coordinator {
    outside: Arc<dyn Outside>,
    settings: Arc<Settings>,
    running: Arc<DashMap<String, watch::Receiver<Progress>>>,
    /// For steps whose outcome is open: they may wait for a limiter.
    turns: Arc<Semaphore>,
    /// For what is decided, voiding and settling, which waits for none of them.
    decided: Arc<Semaphore>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Coordinator {
    pub(crate) fn new(outside: Arc<dyn Outside>, settings: Settings) -> Self {
        Self {
            outside,
            settings: Arc::new(settings),
            running: Arc::default(),
            turns: Arc::new(Semaphore::new(RUNNING_MAX)),
            decided: Arc::new(Semaphore::new(RUNNING_MAX)),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    pub(crate) fn worker(&self) -> &str {
        &self.settings.worker
    }

    /// How a payment goes, if this process drives it.
    pub(crate) fn progress(&self, id: &str) -> Option<watch::Receiver<Progress>> {
        self.running.get(id).map(|entry| entry.clone())
    }

    /// Accepts a payment or a refund and, if it is this worker's, begins to drive it.
    pub(crate) async fn submit(&self, body: Body, request: Vec<u8>) -> Result<Accepted, Status> {
        if self.is_full() {
            return Err(status::retry_later(
                Code::ResourceExhausted,
                "OVERLOADED",
                "as many payments are on their way as this instance drives; nothing was done",
                OVERLOADED_RETRY,
            ));
        }
        let accept = Command::Accept(Box::new(Accept {
            request,
            body,
            worker: self.settings.worker.clone(),
            now: now(),
        }));
        match self.write(accept).await? {
            Outcome::Accepted(accepted) => Ok(accepted),
            _ => Err(other_answer()),
        }
    }

    /// Does what a person decided and, if the payment goes on, begins to drive it.
    pub(crate) async fn steer(
        &self,
        request_id: String,
        id: String,
        verb: Verb,
    ) -> Result<Steered, Status> {
        let steer = Command::Steer(Box::new(Steer {
            request_id,
            id,
            verb,
            worker: self.settings.worker.clone(),
            now: now(),
        }));
        match self.write(steer).await? {
            Outcome::Steered(steered) => Ok(steered),
            _ => Err(other_answer()),
        }
    }

    /// Takes a payment that nobody drives though it is not at rest.
    pub(crate) async fn adopt(&self, id: String, version: i64) -> Result<(), Status> {
        let adopt = Command::Adopt {
            id,
            version,
            worker: self.settings.worker.clone(),
            now: now(),
        };
        self.write(adopt).await.map(drop)
    }

    /// Takes over up to `most` payments whose workers are gone. How many it took.
    pub(crate) async fn take_over(&self, most: u32) -> Result<usize, Status> {
        if self.is_full() {
            return Ok(0);
        }
        let take_over = Command::TakeOver {
            most,
            worker: self.settings.worker.clone(),
            now: now(),
        };
        match self.write(take_over).await? {
            Outcome::Taken(taken) => Ok(taken.len()),
            _ => Err(other_answer()),
        }
    }

    fn is_full(&self) -> bool {
        self.running.len() >= DRIVEN_MAX
    }

    /// Writes, and begins to drive what that made this worker's. In a task of its own: a caller who
    /// leaves in the middle must not leave a payment that is durable and driven by nobody.
    async fn write(&self, command: Command) -> Result<Outcome, Status> {
        let this = self.clone();
        let write = async move {
            let outcome = this.outside.write(command).await?;
            let mine: &[Payment] = match &outcome {
                Outcome::Accepted(Accepted::Mine(payment))
                | Outcome::Steered(Steered::Done(payment))
                | Outcome::Adopted(Some(payment)) => std::slice::from_ref(payment),
                Outcome::Taken(payments) => payments,
                _ => &[],
            };
            for payment in mine {
                this.drive(payment.clone());
            }
            Ok::<_, Error>(outcome)
        };
        let written = match CallContext::current() {
            Some(caller) => self.tasks.spawn(caller.scope(write)),
            None => self.tasks.spawn(write),
        };
        let written = written
            .await
            .map_err(|_| Status::internal("the work was cut off"))?;
        written.map_err(answer::store_error)
    }

    /// Drives a payment that is this worker's, in the background, until it is at rest. An attempt
    /// at its step is noted already.
    fn drive(&self, payment: Payment) {
        if payment.state.is_at_rest() {
            return;
        }
        let (report, progress) = watch::channel(Progress::Running);
        let id = payment.intent.id.clone();
        self.running.insert(id.clone(), progress.clone());
        let entry = Entry {
            running: self.running.clone(),
            id,
            progress,
        };
        let this = self.clone();
        let work = async move {
            let last = tokio::select! {
                last = this.run(payment, &report) => last,
                () = this.stopping.cancelled() => Progress::Dropped,
            };
            drop(entry);
            report.send_replace(last);
        };
        // Keeps the trace, not the deadline: the caller may leave, the payment goes on.
        match CallContext::current() {
            Some(caller) => self.tasks.spawn(caller.with_deadline(None).scope(work)),
            None => self.tasks.spawn(work),
        };
    }

    async fn run(&self, mut payment: Payment, report: &watch::Sender<Progress>) -> Progress {
        let mut pause = self.settings.pause_min;
        while let Some(step) = payment.state.step() {
            // For the step, not for the pause after it: payments that wait for something to come
            // back do not hold up those that can go on.
            let turns = if step.is_bounded() {
                &self.turns
            } else {
                &self.decided
            };
            let Ok(turn) = turns.acquire().await else {
                return Progress::Dropped;
            };
            let (ended, trouble) = self.attempt(step, &payment).await;
            drop(turn);
            payment.conclude(&ended, &self.settings.policy, now());
            payment = match self.save(payment, report).await {
                Some(saved) => saved,
                None => return Progress::Dropped,
            };
            if payment.is_begun() || payment.state.is_at_rest() {
                pause = self.settings.pause_min;
                report.send_if_modified(|progress| {
                    let changed = matches!(progress, Progress::Trouble(_));
                    *progress = Progress::Running;
                    changed
                });
                continue;
            }
            let trouble = trouble.unwrap_or_else(|| Status::unavailable("not done yet"));
            tracing::debug!(
                payment = %payment.intent.id, step = payment.intent.step_name(step), ?pause,
                code = ?trouble.code(), message = trouble.message(), "step to be repeated",
            );
            let told = status::retry_after(&trouble).unwrap_or_default();
            report.send_replace(Progress::Trouble(trouble));
            sleep(spread(
                &payment,
                pause.max(told).min(self.settings.pause_max),
            ))
            .await;
            pause = (pause * 2).min(self.settings.pause_max);
            payment.begin(now());
            payment = match self.save(payment, report).await {
                Some(saved) => saved,
                None => return Progress::Dropped,
            };
        }
        told(&payment);
        Progress::Rested(Box::new(payment))
    }

    /// One attempt at a step: its calls in order, as far as they go. Gives the status that ended it
    /// as well, for those who wait.
    async fn attempt(&self, step: Step, payment: &Payment) -> (Ended, Option<Status>) {
        let mut left_something = false;
        let calls = match table::calls(payment, step) {
            Ok(calls) => calls,
            Err(status) => return (sort::ended(step, left_something, &status), Some(status)),
        };
        for call in calls {
            let leaves_something = call.leaves_something();
            if let Err(status) = self.outside.call(call).await {
                return (sort::ended(step, left_something, &status), Some(status));
            }
            left_something |= leaves_something;
        }
        (Ended::Done, None)
    }

    /// Writes how far a payment got, for as long as it takes. `None` when another worker changed it
    /// meanwhile: then this one must let go of it.
    async fn save(&self, payment: Payment, report: &watch::Sender<Progress>) -> Option<Payment> {
        let mut pause = self.settings.pause_min;
        let mut uncertain = false;
        loop {
            let save = Command::Save {
                payment: Box::new(payment.clone()),
                now: now(),
            };
            match self.outside.write(save).await {
                Ok(Outcome::Saved(Saved::Yes(saved))) => return Some(*saved),
                // What failed before was written after all.
                Ok(Outcome::Saved(Saved::Stale {
                    payment: written,
                    worker,
                })) if uncertain
                    && worker == self.settings.worker
                    && is_written(&payment, &written) =>
                {
                    return Some(*written);
                }
                Ok(_) => {
                    tracing::info!(payment = %payment.intent.id, "another worker has it now");
                    return None;
                }
                Err(error) => {
                    uncertain = true;
                    report.send_replace(Progress::Trouble(answer::store_error(error)));
                    sleep(spread(&payment, pause)).await;
                    pause = (pause * 2).min(self.settings.pause_max);
                }
            }
        }
    }

    /// Ends the driving when it is dropped, like [`stop`](Self::stop) but without waiting or leaving:
    /// for a service that is cut off.
    pub(crate) fn cut_on_drop(&self) -> DropGuard {
        self.stopping.clone().drop_guard()
    }

    /// Stops driving: what is unfinished is left for another worker, or for the next start.
    pub(crate) async fn stop(&self) {
        self.halt().await;
        let leave = Command::Leave {
            worker: self.settings.worker.clone(),
        };
        if let Err(error) = self.outside.write(leave).await {
            tracing::warn!(%error, "this worker could not say that it leaves");
        }
    }

    /// Stops driving as a process does that is killed: nobody is told.
    pub(crate) async fn halt(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The entry of a payment that is driven; gone with the task, however that ends.
struct Entry {
    running: Arc<DashMap<String, watch::Receiver<Progress>>>,
    id: String,
    progress: watch::Receiver<Progress>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Not the entry of a later drive of the same payment.
        self.running
            .remove_if(&self.id, |_, entry| entry.same_channel(&self.progress));
    }
}

/// Whether what is stored is what was to be written.
fn is_written(wanted: &Payment, written: &Payment) -> bool {
    let same_but_for_the_write = Payment {
        version: written.version,
        update_micros: written.update_micros,
        ..wanted.clone()
    };
    written.version == wanted.version + 1 && same_but_for_the_write == *written
}

/// The same, give or take a fifth by the payment's id, so that payments that failed together do not
/// come back together.
fn spread(payment: &Payment, pause: Duration) -> Duration {
    let bytes = payment.intent.id.bytes();
    let sum = bytes.fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    pause * (80 + sum % 41) / 100
}

/// Says what people should know of.
fn told(payment: &Payment) {
    metrics::rested(payment.state);
    if let Some((state, why)) = &payment.parked {
        tracing::error!(
            payment = %payment.intent.id, ?state, step = %why.step, reason = %why.reason,
            message = %why.message, "payment needs attention",
        );
    } else if let Some(failure) = &payment.failure {
        tracing::debug!(
            payment = %payment.intent.id, state = ?payment.state, reason = %failure.reason, "payment refused",
        );
    }
}

fn now() -> i64 {
    micros(SystemTime::now())
}

fn other_answer() -> Status {
    Status::internal("the store answered something else than it was asked")
}
